"""Metrics against their reference implementations, controls and statistics against what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from petct_cli.metrics.controls import exchange, folds, most_frequent_site, shuffles, templates
from petct_cli.metrics.families import Fact, Item
from petct_cli.metrics.lesion_sites import SiteFamily, chance_f1, true_facts
from petct_cli.metrics.registry import PRESETS
from petct_cli.metrics.stock import without_stock
from petct_cli.metrics.text import TextFamily
from petct_cli.metrics.vimed import VimedFamily
from petct_cli.report.normalise import DEFAULT

WORDS = [*DEFAULT.tokens("không phát hiện nốt phổi phải trái 12 mm tăng chuyển hóa gan"), "3,2", "SUVmax", ".", ","]
texts = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def item(number: int, reference: str | None, hypothesis: str = "", **changes: Any) -> Item:
    plain: dict[str, Any] = {
        "id": f"i{number}",
        "patient": f"p{number}",
        "group": "all",
        "system": None,
        "reference": reference,
        "hypothesis": hypothesis,
    }
    return Item(**{**plain, **changes})


def total(family: Any, metric: str, items: list[Item], hypotheses: list[str] | None = None) -> float:
    rows = family.rows(items, hypotheses or [one.hypothesis for one in items])
    return float(family.value(metric, rows.sum(0)))


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_bleu_is_sacrebleu_on_the_same_tokens(given_pairs: list[tuple[str, str]]) -> None:
    tokens = [(DEFAULT.tokens(a), DEFAULT.tokens(b)) for a, b in given_pairs]
    ours = total(TextFamily(("bleu4",)), "bleu4", [item(number, b, a) for number, (a, b) in enumerate(given_pairs)])
    theirs = sacrebleu.corpus_bleu(
        [" ".join(a) for a, _ in tokens], [[" ".join(b) for _, b in tokens]], tokenize="none", force=True
    )
    if all(count > 0 for count in theirs.totals):
        assert ours == pytest.approx(theirs.score, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_rouge_of_the_preset_is_rouge_score(given_pairs: list[tuple[str, str]]) -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"])
    items = [item(number, b, a) for number, (a, b) in enumerate(given_pairs)]
    family = VimedFamily(("rouge1", "rougeL"))
    for metric in family.wanted:
        theirs = np.mean([scorer.score(b, a)[metric].fmeasure for a, b in given_pairs])
        assert total(family, metric, items) == pytest.approx(100 * theirs, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_bleu_of_the_preset_is_nltk(given_pairs: list[tuple[str, str]]) -> None:
    translate = pytest.importorskip("nltk.translate.bleu_score")
    items = [item(number, b, a) for number, (a, b) in enumerate(given_pairs)]
    ours = total(VimedFamily(("bleu4",)), "bleu4", items)
    theirs = translate.corpus_bleu(
        [[b.split()] for _, b in given_pairs],
        [a.split() for a, _ in given_pairs],
        smoothing_function=translate.SmoothingFunction().method4,
    )
    if any(a.split() for a, _ in given_pairs):
        assert ours == pytest.approx(100 * theirs, abs=1e-9)


@pytest.mark.parametrize("metric", PRESETS["vi"].families[0].metrics)
@pytest.mark.parametrize(
    "text", ["Không.", "Nốt phổi phải 12 mm.", "Gan bình thường. Lách bình thường. Não bình thường."]
)
def test_a_text_against_itself_is_100(metric: str, text: str) -> None:
    if metric == "rouge2" and len(DEFAULT.tokens(text)) < 2:
        pytest.skip("one syllable has no pairs")
    assert total(TextFamily((metric,)), metric, [item(0, text, text)]) == pytest.approx(100)


@pytest.mark.parametrize("metric", PRESETS["vi"].families[0].metrics)
def test_an_empty_hypothesis_is_0_and_stays_in_the_mean(metric: str) -> None:
    family = TextFamily((metric,))
    text = "Nốt mờ phổi phải kích thước 12 mm."
    assert total(family, metric, [item(0, text, "")]) == 0
    both = total(family, metric, [item(0, text, text), item(1, text, "")])
    assert 0 < both < 100


LUNG = Fact("lung", "right", 12, 3.0)
LIVER = Fact("liver", None, 20, 5.0)


def test_site_f1_counts_pairs_of_site_and_side() -> None:
    items = [
        item(0, None, "Nốt phổi phải 10 mm, SUVmax 4.", truth=(LUNG,)),
        item(1, None, "Nốt phổi trái 10 mm, SUVmax 4.", truth=(LUNG,)),
        item(2, None, "Không thấy tổn thương.", truth=(LIVER,)),
        item(3, None, "Không thấy tổn thương.", truth=()),
    ]
    family = SiteFamily(("site_f1", "size_mae_mm", "suv_mae", "size_r"))
    sums = family.rows(items, [one.hypothesis for one in items]).sum(0)
    counts = family.counts("site_f1", sums)
    assert (counts["tp"], counts["fp"], counts["fn"]) == (1, 1, 2)
    assert float(family.value("site_f1", sums)) == pytest.approx(100 * 2 / 5)
    assert float(family.value("size_mae_mm", sums)) == 2
    assert float(family.value("suv_mae", sums)) == 1
    assert np.isnan(float(family.value("size_r", sums)))
    assert family.size("size_mae_mm", sums) == 1


def test_without_a_true_lesion_there_is_no_f1() -> None:
    family = SiteFamily(("site_f1",))
    sums = family.rows([item(0, "Gan bình thường.", "Nốt gan 12 mm.")], ["Nốt gan 12 mm."]).sum(0)
    assert np.isnan(float(family.value("site_f1", sums)))
    assert family.size("site_f1", sums) == 0


def test_r_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    said, meant = rng.uniform(8, 40, 30).round(), rng.uniform(8, 40, 30).round()
    items = [
        item(i, None, f"Nốt gan {a:.0f} mm.", truth=(Fact("liver", None, b),))
        for i, (a, b) in enumerate(zip(said, meant, strict=True))
    ]
    assert total(SiteFamily(("size_r",)), "size_r", items) == pytest.approx(np.corrcoef(said, meant)[0, 1])


def test_chance_is_what_guessing_at_the_base_rate_scores() -> None:
    rng = np.random.default_rng(1)
    rates = {"lung": 0.5, "liver": 0.2, "spleen": 0.05}

    def draw() -> tuple[Fact, ...]:
        return tuple(Fact(site, None) for site, rate in rates.items() if rng.uniform() < rate)

    items = [item(number, None, truth=draw()) for number in range(4000)]
    chance = chance_f1(items)
    family = SiteFamily(("site_f1",))
    guessed = family.rows_of_facts(items, [draw() for _ in items]).sum(0)
    assert chance == pytest.approx(float(family.value("site_f1", guessed)), abs=1.5)
    assert chance_f1([item(0, None, truth=())]) is None


def test_chance_knows_the_region() -> None:
    items = [item(n, None, truth=(LUNG,) if n % 2 else (LIVER,), group="a" if n % 2 else "b") for n in range(10)]
    assert chance_f1(items) == 100


def grouped(number: int, groups: int, per_patient: int) -> list[Item]:
    return [item(n, f"Câu {n}.", patient=f"p{n // per_patient}", group=f"g{n % groups}") for n in range(number)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.integers(0, 5))
def test_exchange_stays_in_the_group_and_leaves_the_patient(
    number: int, groups: int, per_patient: int, seed: int
) -> None:
    items = grouped(number, groups, per_patient)
    partner = exchange(items, seed)
    assert partner == exchange(items, seed)
    for index, other in enumerate(partner):
        if other is None:
            same = [one for one in items if one.group == items[index].group]
            assert len({one.patient for one in same}) == 1
        else:
            assert items[other].group == items[index].group
            assert items[other].patient != items[index].patient


def test_exchange_uses_every_item_once() -> None:
    partner = exchange(grouped(30, 3, 3), 0)
    assert sorted(index for index in partner if index is not None) == list(range(30))


def test_exchange_gives_the_same_partners_in_any_order_and_others_in_another() -> None:
    items = grouped(40, 2, 2)
    partners = {items[a].id: items[b].id for a, b in enumerate(exchange(items, 0)) if b is not None}
    turned = items[::-1]
    assert {turned[a].id: turned[b].id for a, b in enumerate(exchange(turned, 0)) if b is not None} == partners
    assert exchange(items, 0, order=1) != exchange(items, 0)


def test_exchange_with_a_patient_who_is_most_of_the_group() -> None:
    items = [item(n, "Gan to.", patient="p" if n < 40 else f"q{n}") for n in range(50)]
    partner = exchange(items, 0)
    assert all(items[other or 0].patient != "p" for other in partner[:40])
    assert {items[other or 0].patient for other in partner[40:]} == {"p"}


def test_many_items_are_shuffled_less_often() -> None:
    assert [shuffles(grouped(number, 1, 1)) for number in (1, 1000, 3000, 20_000)] == [10, 10, 3, 1]


def test_stock_sentences_go_from_both_sides_however_they_are_spelled() -> None:
    items = [item(n, f"Não bình thường. Nốt {n} mm.", f"Nốt {n} mm. NÃO BÌNH THƯỜNG") for n in range(10)]
    items.append(item(10, "Não bình thường!", "Gan to. Não  bình thường."))
    rest = without_stock(items)
    assert [one.reference for one in rest.items] == [*(f"Nốt {n} mm." for n in range(10)), None]
    assert list(rest.hypotheses) == [*(f"Nốt {n} mm." for n in range(10)), "Gan to."]
    assert (rest.sentences, rest.emptied) == (1, 1)
    assert rest.share == pytest.approx(100 * 33 / 63)


def test_what_two_patients_say_is_no_stock() -> None:
    items = [item(n, "Não bình thường.", patient=f"p{n % 2}") for n in range(30)]
    assert without_stock(items).sentences == 0


def test_the_template_is_made_without_the_patients_it_is_for() -> None:
    common = "Não bình thường. Tim bình thường."
    items = [item(n, f"{common} Nốt {n} mm.") for n in range(40)]
    chosen = templates(items)
    by_fold = dict(zip(folds(items), chosen, strict=True))
    assert len(set(chosen)) <= 2
    assert by_fold.keys() == {0, 1}
    assert all(common in (text or "") for text in chosen)
    marked = [item(n, f"{common} Dấu {fold}.") for n, fold in enumerate(folds(items))]
    for fold, text in zip(folds(marked), templates(marked), strict=True):
        assert f"Dấu {fold}" not in (text or "")


def test_the_most_frequent_site() -> None:
    items = [item(n, None, truth=(LUNG,) if n % 4 else (LIVER,)) for n in range(40)]
    assert {fact for facts in most_frequent_site(items, true_facts) for fact in facts or ()} == {Fact("lung", "right")}
