"""chrF++, CIDEr-D and METEOR against their definitions, and what must hold of every text metric."""

from __future__ import annotations

import math
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import sacrebleu
from conftest import clean_environment
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.metrics import rarity
from petct_cli.metrics.families import Family, Item
from petct_cli.metrics.registry import MetricOptions, build_families
from petct_cli.metrics.tokens import Tokens
from petct_cli.report.normalise import DEFAULT, Canonical
from tests.ngram_reference import ngrams
from tests.samples import lines

WORDS = [
    *DEFAULT.tokens("không phát hiện nốt phổi phải trái tăng chuyển gan"),
    "hoá",
    "FDG",
    "3,2",
    "(12",
    "mm).",
    "-",
    "SUV:",
]
words = st.sampled_from(WORDS)
texts = st.one_of(st.lists(words, max_size=25).map(" ".join), st.text(max_size=20))
worded = st.lists(words, min_size=1, max_size=25).map(" ".join).filter(DEFAULT.tokens)
pairs = st.lists(st.tuples(texts, worded), min_size=1, max_size=6)
OFFLINE = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL", "chrf", "meteor", "cider_d")


def items_of(given_pairs: list[tuple[str, str]]) -> list[Item]:
    return [Item(str(n), str(n), "all", None, wanted, given) for n, (given, wanted) in enumerate(given_pairs)]


def family_of(metric: str, options: MetricOptions | None = None) -> Family:
    [family] = build_families((metric,), "vi", options or MetricOptions())
    return family


def each(metric: str, given_pairs: list[tuple[str, str]], options: MetricOptions | None = None) -> list[float]:
    family = family_of(metric, options)
    return family.value(metric, family.rows(items_of(given_pairs), [given for given, _ in given_pairs])).tolist()


def total(metric: str, given_pairs: list[tuple[str, str]], options: MetricOptions | None = None) -> float:
    family = family_of(metric, options)
    rows = family.rows(items_of(given_pairs), [given for given, _ in given_pairs])
    return float(family.value(metric, rows.sum(0)))


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_chrf_is_sacrebleu_on_the_same_text(given_pairs: list[tuple[str, str]]) -> None:
    chrf = sacrebleu.CHRF(word_order=2)
    canonical = [(DEFAULT(a), DEFAULT(b)) for a, b in given_pairs]
    theirs = chrf.corpus_score([a for a, _ in canonical], [[b for _, b in canonical]]).score
    assert total("chrf", given_pairs) == pytest.approx(theirs, abs=1e-9)
    single = [chrf.sentence_score(a, [b]).score for a, b in canonical]
    assert each("chrf", given_pairs) == pytest.approx(single, abs=1e-9)


def cider_d(given_pairs: list[tuple[str, str]]) -> list[float]:
    """The formulas of the paper (section 3 and CIDEr-D in section 5), an n-gram at a time; m = 1 reference."""
    tokens = [(DEFAULT.tokens(a), DEFAULT.tokens(b)) for a, b in given_pairs]
    scores = []
    for candidate, reference in tokens:
        by_order = []
        for order in range(1, 5):
            holders = Counter(ngram for _, other in tokens for ngram in set(ngrams(other, order)))
            vectors = [
                {
                    ngram: count * math.log(len(tokens) / max(1, holders[ngram]))
                    for ngram, count in ngrams(side, order).items()
                }
                for side in (candidate, reference)
            ]
            norm = math.prod(math.sqrt(sum(weight**2 for weight in vector.values())) for vector in vectors)
            dot = sum(
                min(weight, vectors[1].get(ngram, 0)) * vectors[1].get(ngram, 0) for ngram, weight in vectors[0].items()
            )
            by_order.append(dot / norm if norm else 0.0)
        penalty = math.exp(-((len(candidate) - len(reference)) ** 2) / (2 * 6**2))
        scores.append(10 * penalty * sum(by_order) / 4)
    return scores


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(texts, worded), min_size=2, max_size=8))
def test_cider_is_the_papers(given_pairs: list[tuple[str, str]]) -> None:
    assert each("cider_d", given_pairs) == pytest.approx(cider_d(given_pairs), abs=1e-9)


def test_cider_counts_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    given_pairs = [tuple(" ".join(rng.choice(WORDS, 12)) for _ in range(2)) for _ in range(40)]
    monkeypatch.setattr(rarity, "_TEXTS_AT_ONCE", 7)
    monkeypatch.setattr(rarity, "_UNMERGED", 50)
    assert each("cider_d", given_pairs) == pytest.approx(cider_d(given_pairs), abs=1e-9)


def test_cider_needs_two_references() -> None:
    assert math.isnan(total("cider_d", [("gan to", "gan to")]))
    assert total("cider_d", [("gan to ra thêm", "gan to ra thêm"), ("", "phổi")]) == pytest.approx(5)


def test_cider_weighs_stock_sentences_little() -> None:
    stock = "Không thấy bất thường ở não. Tim bình thường."
    references = [f"{stock} Nốt {word} phải." for word in ("phổi", "gan", "thận", "lách")]
    right = [(text, text) for text in references]
    template = [(f"{stock} Nốt vú trái.", text) for text in references]
    assert total("cider_d", right) == pytest.approx(10)
    assert total("cider_d", template) < 3
    assert total("rouge1", template) > 75


def test_meteor_is_the_papers() -> None:
    # Lavie and Agarwal 2007: 4 of 5 and 4 of 4 words match, in 2 chunks.
    precision, recall = 4 / 5, 4 / 4
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    expected = 100 * mean * (1 - 0.5 * (2 / 4) ** 3)
    assert total("meteor", [("nốt phổi rất phải trên", "nốt phổi phải trên")]) == pytest.approx(expected)
    # No stemmer and no synonyms of another language.
    assert total("meteor", [("lesions", "lesion")]) == 0


def test_meteor_needs_no_data_of_nltk(petct: Any, tmp_path: Path) -> None:
    record = {"id": "1", "reference": "Nốt phổi phải.", "hypothesis": "Phổi phải có nốt."}
    nowhere = {"NLTK_DATA": str(tmp_path), "HOME": str(tmp_path)}
    done = petct("score", "--metrics", "meteor", "--no-controls", stdin=lines(record), env=nowhere)
    assert done.code == 0, done.stderr
    assert "meteor:nltk-" in done.records[0]["signature"]
    assert 0 < done.records[0]["value"] < 100


SWITCHES = ("case", "decimal", "tone", "unicode")
MAXIMUM = {**dict.fromkeys(OFFLINE, 100.0), "cider_d": 10.0}
SHORTEST = {"rouge2": 2, "cider_d": 4}


@pytest.mark.parametrize("metric", [name for name in OFFLINE if name != "meteor"])
@settings(max_examples=40, deadline=None)
@given(given=st.lists(worded, min_size=2, max_size=5, unique_by=DEFAULT))
def test_a_text_against_itself_has_the_maximum(metric: str, given: list[str]) -> None:
    # CIDEr-D gives n-grams that stand in every text no weight, so each text needs one of its own.
    marked = [f"{text} riêng{n} một{n} hai{n} ba{n}" for n, text in enumerate(given)] if metric == "cider_d" else given
    for text, found in zip(marked, each(metric, [(text, text) for text in marked]), strict=True):
        if len(DEFAULT.tokens(text)) >= SHORTEST.get(metric, 1):
            assert found == pytest.approx(MAXIMUM[metric])


@pytest.mark.real
@pytest.mark.parametrize("metric", [name for name in OFFLINE if name != "meteor"])
def test_each_real_reference_against_itself_has_the_maximum(metric: str, real_data: Path) -> None:
    for name in ("reports", "vqa"):
        rows = [orjson.loads(line) for line in (real_data / "vimed" / f"{name}.jsonl").read_bytes().splitlines()]
        references = [row["reference"] for row in rows]
        found = each(metric, [(text, text) for text in references])
        enough = [len(DEFAULT.tokens(text)) >= SHORTEST.get(metric, 1) for text in references]
        assert sum(enough) > 50
        assert np.array(found)[enough] == pytest.approx(MAXIMUM[metric])


def respelt(text: str, how: str) -> str:
    if how == "unicode":
        return unicodedata.normalize("NFD", text)
    if how == "case":
        return text.upper()
    if how == "tone":
        return text.replace("hoá", "hóa").replace("HOÁ", "HÓA")
    return text.replace(",", ".") if how == "decimal" else text


@pytest.mark.parametrize("tokens", ["syllable", "pyvi"])
@pytest.mark.parametrize("metric", OFFLINE)
@settings(max_examples=25, deadline=None)
@given(
    given=st.lists(st.tuples(worded, worded), max_size=4),
    hows=st.lists(st.sampled_from(["unicode", "case", "tone", "decimal"]), unique=True),
)
def test_spelling_changes_nothing(metric: str, tokens: str, given: list[tuple[str, str]], hows: set[str]) -> None:
    other = given
    for how in sorted(hows):
        other = [(respelt(a, how), b) for a, b in other]
    options = MetricOptions(Tokens(kind=tokens))
    assert each(metric, other, options) == pytest.approx(each(metric, given, options), nan_ok=True)


@pytest.mark.parametrize("metric", OFFLINE)
@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_matters_and_is_named(metric: str, switch: str) -> None:
    text = "Nốt phổi phải hoá 3,2 và 1,5 cm."
    given_pairs = [(respelt(text, switch), text), ("gan to", "gan to")]
    off = MetricOptions(Tokens(Canonical(**{switch: False})))
    assert each(metric, given_pairs)[0] > each(metric, given_pairs, off)[0] + 0.01
    sums = np.ones(40)
    assert family_of(metric).signature(metric, sums) != family_of(metric, off).signature(metric, sums)


def test_pyvi_finds_words_and_is_named_with_its_version() -> None:
    from importlib.metadata import version

    tokens = Tokens(kind="pyvi")
    assert tokens("Hình ảnh tăng chuyển hoá FDG, SUVmax: 3,2.") == [
        "hình_ảnh",
        "tăng",
        "chuyển_hóa",
        "fdg",
        "suvmax",
        "3.2",
    ]
    options = MetricOptions(tokens)
    for metric in ("bleu4", "rougeL", "meteor", "cider_d"):
        assert f"tok:pyvi-{version('pyvi')}" in family_of(metric, options).signature(metric, np.ones(40))
    assert each("rouge1", [("hình ảnh", "hình dáng")], options) == [0]
    assert each("rouge1", [("hình ảnh", "hình dáng")]) == [50]


@pytest.mark.parametrize("text", ["", " ", "...", "\u200b", "\x00", "a" * 5000, "🙂 gan", "_", "(" * 300])
def test_pyvi_takes_anything(text: str) -> None:
    assert all(any(map(str.isalnum, token)) for token in Tokens(kind="pyvi")(text))


def test_the_command_takes_pyvi(petct: Any) -> None:
    record = {"id": "1", "reference": "Hình ảnh gan to.", "hypothesis": "hình ảnh gan to"}
    done = petct("score", "--metrics", "bleu1", "--tokens", "pyvi", "--no-controls", stdin=lines(record))
    assert done.code == 0, done.stderr
    assert done.records[0]["value"] == 100
    assert "|tok:pyvi-" in done.records[0]["signature"]
    assert petct("score", "--tokens", "x", stdin=lines(record)).code == 2


@pytest.mark.parametrize("metric", OFFLINE)
def test_the_ends_are_defined(metric: str) -> None:
    report = "Nốt mờ phổi phải kích thước 12 mm, tăng chuyển hóa FDG."
    endless = "nốt " * 20_000
    given_pairs = [("", report), (" \n\t", report), ("...", report), (endless, report), ("nốt", "Nốt."), ("", "gan to")]
    found = each(metric, given_pairs)
    assert found[0] == found[1] == found[5] == 0
    assert 0 <= found[2] < 3  # the final stop is right, for chrF
    assert 0 <= found[3] < 20
    assert all(math.isfinite(value) for value in found)
    assert 0 <= total(metric, given_pairs) <= 100
    if metric in ("bleu1", "bleu4", "rouge1", "rougeL"):
        assert found[4] == pytest.approx(100)


def test_bleu_loads_nothing_heavy_and_comes_before_the_controls() -> None:
    script = (
        "import sys\n"
        "from petct_cli.core.records import AnyRecord\n"
        "from petct_cli.stages.score import Score\n"
        "records = [AnyRecord(id=name, reference='gan to', hypothesis='gan') for name in 'ab']\n"
        "scores = iter(Score(metrics=('bleu4',)).collect(records))\n"
        "assert next(scores).metric == 'bleu4'\n"
        "print('petct_cli.metrics.controls' in sys.modules)\n"
        "assert next(scores).control\n"
        "heavy = 'torch transformers scipy rich pydicom rapidfuzz sacrebleu rouge_score nltk pyvi SimpleITK'.split()\n"
        "print(sorted(set(heavy) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=clean_environment())
    assert done.stdout.splitlines() == ["False", "[]"], done.stderr


def test_an_item_without_reference_is_in_no_mean() -> None:
    for metric in OFFLINE:
        family = family_of(metric)
        items = [
            *items_of([("gan to ra thêm", "gan to ra thêm"), ("phổi", "phổi")]),
            Item("x", "x", "all", None, None, "gan"),
        ]
        rows = family.rows(items, [item.hypothesis for item in items])
        assert rows[2].tolist() == [0] * rows.shape[1]
        assert math.isnan(float(family.value(metric, rows[2])))
        assert family.size(metric, rows.sum(0)) == 2
