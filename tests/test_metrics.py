"""Metrics against their reference implementations, controls and statistics against what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from petct_cli.metrics.controls import exchange, fold_of, most_frequent_site, templates
from petct_cli.metrics.families import Fact, Item
from petct_cli.metrics.lesion_sites import SiteFamily, chance_f1, true_facts
from petct_cli.metrics.registry import PRESETS
from petct_cli.metrics.statistics import bootstrap_ci, paired_p_value, sum_by_unit
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


def test_the_template_is_made_without_the_patients_it_is_for() -> None:
    common = "Não bình thường. Tim bình thường."
    items = [item(n, f"{common} Nốt {n} mm.") for n in range(40)]
    chosen = templates(items)
    by_fold = {fold_of(one.patient): text for one, text in zip(items, chosen, strict=True)}
    assert len(set(chosen)) <= 2
    assert by_fold.keys() == {0, 1}
    assert all(common in text for text in chosen)
    marked = [item(n, f"{common} Dấu {fold_of(f'p{n}')}.") for n in range(40)]
    for one, text in zip(marked, templates(marked), strict=True):
        assert f"Dấu {fold_of(one.patient)}" not in text


def test_the_most_frequent_site() -> None:
    items = [item(n, None, truth=(LUNG,) if n % 4 else (LIVER,)) for n in range(40)]
    assert {fact for facts in most_frequent_site(items, true_facts) for fact in facts} == {Fact("lung", "right")}


def mean(sums: Any) -> Any:
    return sums[..., 0] / sums[..., 1]


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        rows = np.column_stack([rng.normal(1, 1, 60), np.ones(60)])
        interval = bootstrap_ci(rows, mean, 300, trial)
        assert interval is not None
        covered += interval[0] <= 1 <= interval[1]
    assert 175 <= covered <= 200


def test_the_unit_is_the_patient() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(0, 1, 40)
    rows = np.column_stack([np.repeat(values, 5), np.ones(200)])
    patients = [f"p{n // 5}" for n in range(200)]
    alone = bootstrap_ci(rows, mean, 500, 0)
    clustered = bootstrap_ci(sum_by_unit(rows, patients), mean, 500, 0)
    assert alone is not None
    assert clustered is not None
    assert clustered[1] - clustered[0] > 1.6 * (alone[1] - alone[0])
    order = rng.permutation(200)
    assert bootstrap_ci(sum_by_unit(rows[order], [patients[n] for n in order]), mean, 500, 0) == pytest.approx(
        clustered
    )
    assert bootstrap_ci(rows[:1], mean, 500, 0) is None


def test_the_paired_test_sees_a_difference_and_not_noise() -> None:
    rng = np.random.default_rng(5)
    one = np.column_stack([rng.normal(1, 1, 80), np.ones(80)])
    better = np.column_stack([one[:, 0] + 0.5, one[:, 1]])
    noisy = np.column_stack([rng.normal(1, 1, 80), np.ones(80)])
    assert (paired_p_value(better, one, mean, 999, 0) or 1) <= 0.002
    assert (paired_p_value(noisy, one, mean, 999, 0) or 0) > 0.05
    assert paired_p_value(one, one, mean, 999, 0) == 1
