"""Lesion-site F1 and the agreement of sizes and SUVmax: whether what the text says is true of the patient.

A sample's lesions are (site, side) pairs that take up FDG (`petct_cli.report.lesions.lesion_sites`). The truth is the
sample's ``lesions`` where they are known, else what the same extractor finds in the reference.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from petct_cli.metrics.controls import most_frequent_site
from petct_cli.metrics.families import Fact, Family, FamilyControl, Item, ratio
from petct_cli.metrics.lesion_language import lesion_language, read_language
from petct_cli.metrics.reading import read_by_rules
from petct_cli.report.language import ENGLISH, VIETNAMESE
from petct_cli.report.lesions import EXTRACTOR_VERSION

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

Floats = NDArray[np.float64]
Pair = tuple[str, str | None]

_PAIR_SUMS = 6  # n, x, y, xx, yy, xy
_TP, _FP, _FN = 0, 1, 2
_SIZE = 3
_SUV = _SIZE + _PAIR_SUMS + 1
_FROM_TRUTH = _SUV + _PAIR_SUMS + 1
_ENGLISH = _FROM_TRUTH + 1
_SAMPLES = _ENGLISH + 1
_COLUMNS = _SAMPLES + 1
_MIN_PAIRS = 3


def true_facts(item: Item) -> tuple[Fact, ...]:
    """Return the lesions that are true of `item`."""
    if item.truth is not None:
        return item.truth
    return read_by_rules(item.reference, read_language(item.reference)).facts if item.reference else ()


def sites_of(facts: Iterable[Fact]) -> frozenset[Pair]:
    """Return the (site, side) pairs."""
    return frozenset((fact.site, fact.side) for fact in facts)


@dataclass(frozen=True)
class SiteFamily(Family):
    """Micro-averaged F1 over (site, side), and MAE and Pearson's r of size and SUVmax on matched lesions."""

    wanted: tuple[str, ...]
    jobs: int = 1

    def applicable(self, items: Sequence[Item]) -> tuple[str, ...]:
        """Return all, unless there are only questions."""
        return self.wanted if any(item.is_report for item in items) else ()

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        languages = [lesion_language(item, text) for item, text in zip(items, hypotheses, strict=True)]
        told = [(str(text), lang) for text, lang in zip(hypotheses, languages, strict=True)]
        references = [item.reference for item in items if item.truth is None and item.reference]
        read = read_by_rules.all([*told, *((text, read_language(text)) for text in references)], self.jobs)
        rows = self.rows_of_facts(items, [said.facts for said in read[: len(told)]])
        rows[:, _ENGLISH] = rows[:, _SAMPLES] * [lang == ENGLISH for lang in languages]
        return rows

    def rows_of_facts(self, items: Sequence[Item], stated: Sequence[tuple[Fact, ...]]) -> Floats:
        """Return the rows for lesions that are given as facts."""
        rows = np.zeros((len(items), _COLUMNS))
        for row, item, given in zip(rows, items, stated, strict=True):
            if not item.is_report or (item.truth is None and item.reference is None):
                continue
            true = true_facts(item)
            mine, theirs = sites_of(given), sites_of(true)
            row[[_TP, _FP, _FN]] = len(mine & theirs), len(mine - theirs), len(theirs - mine)
            row[_FROM_TRUTH] = item.truth is not None
            row[_ENGLISH] = lesion_language(item, "") == ENGLISH
            row[_SAMPLES] = 1
            for said, meant in _matched(given, true):
                _add_measure(row, _SIZE, said.size_mm, meant.size_mm)
                _add_measure(row, _SUV, said.suv_max, meant.suv_max)
        return rows

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric == "site_f1":
            tp, fp, fn = sums[..., _TP], sums[..., _FP], sums[..., _FN]
            return ratio(200 * tp, np.where(tp + fn > 0, 2 * tp + fp + fn, 0))
        start = _SIZE if metric.startswith("size") else _SUV
        n = sums[..., start]
        if "mae" in metric:
            return ratio(sums[..., start + _PAIR_SUMS], n)
        _, x, y, xx, yy, xy = np.moveaxis(sums[..., start : start + _PAIR_SUMS], -1, 0)
        spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
        return ratio(n * xy - x * y, np.where((n >= _MIN_PAIRS) & (spread > 1e-9), np.sqrt(spread), 0))

    def size(self, metric: str, sums: Floats) -> float:
        if metric == "site_f1":
            return float(sums[_SAMPLES]) if sums[_TP] + sums[_FN] > 0 else 0.0
        return float(sums[_SIZE if metric.startswith("size") else _SUV])

    def signature(self, metric: str, sums: Floats) -> str:
        own = _SIGNATURES["r" if metric.endswith("_r") else metric]
        known = sums[_FROM_TRUTH]
        truth = "reference" if known == 0 else "lesions" if known == sums[_SAMPLES] else "mixed"
        english = sums[_ENGLISH]
        lang = VIETNAMESE if english == 0 else ENGLISH if english == sums[_SAMPLES] else f"{VIETNAMESE}+rules-{ENGLISH}"
        return f"{own}|over:reports|lesions:fdg-avid|extractor:rules-{lang}-{EXTRACTOR_VERSION}|truth:{truth}"

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        tp, fp, fn = (float(sums[index]) for index in (_TP, _FP, _FN))
        truth = {
            "truth_from_lesions": float(sums[_FROM_TRUTH]),
            "truth_from_reference": float(sums[_SAMPLES] - sums[_FROM_TRUTH]),
        }
        if metric != "site_f1":
            return {"matched_sites": tp, "measured_in_both": self.size(metric, sums), **truth}
        precision = 100 * tp / (tp + fp) if tp + fp else 0.0
        recall = 100 * tp / (tp + fn) if tp + fn else 0.0
        return {"tp": tp, "fp": fp, "fn": fn, "precision": precision, "recall": recall, **truth}

    def higher_is_better(self, metric: str) -> bool:
        return "mae" not in metric

    def controls(self, items: Sequence[Item]) -> Iterator[FamilyControl]:
        """Yield the chance level, and always naming the site that is most frequent among the other patients."""
        if "site_f1" not in self.wanted:
            return
        chance = chance_f1([item for item in items if item.is_report])
        level = {"site_f1": math.nan if chance is None else chance}
        yield FamilyControl("chance", ("site_f1",), values=level, note="chance:sum_p2/sum_p|by:group")
        named = most_frequent_site(items, true_facts)
        rows = self.rows_of_facts(items, [facts or () for facts in named])
        rows[[facts is None for facts in named]] = 0
        yield FamilyControl("frequent_site", ("site_f1",), rows)


_SIGNATURES = {
    "site_f1": "f1:micro|match:site+side",
    "size_mae_mm": "mae:mm|match:site+side|size:largest-diameter",
    "suv_mae": "mae:suvmax|match:site+side",
    "r": "r:pearson|match:site+side",
}


def _add_measure(row: Floats, start: int, said: float | None, meant: float | None) -> None:
    if said is None or meant is None:
        return
    row[start : start + _PAIR_SUMS] += 1, said, meant, said * said, meant * meant, said * meant
    row[start + _PAIR_SUMS] += abs(said - meant)


def _matched(given: Sequence[Fact], true: Sequence[Fact]) -> list[tuple[Fact, Fact]]:
    """Pair lesions of the same site and side, the larger with the larger."""
    pairs: list[tuple[Fact, Fact]] = []
    by_pair: dict[Pair, list[Fact]] = defaultdict(list)
    for fact in true:
        by_pair[fact.site, fact.side].append(fact)
    said: dict[Pair, list[Fact]] = defaultdict(list)
    for fact in given:
        said[fact.site, fact.side].append(fact)
    for pair, facts in said.items():
        pairs += zip(_by_size(facts), _by_size(by_pair.get(pair, [])), strict=False)
    return pairs


def _by_size(facts: Iterable[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: (-(fact.size_mm or 0), -(fact.suv_max or 0)))


def chance_f1(items: Sequence[Item]) -> float | None:
    """Return the F1 (0-100) of guessing every (site, side) at its own rate: sum p^2 / sum p.

    The rate is that among the samples of the same group, since a guesser may know which region it looks at. None when
    there is no true lesion.
    """
    sizes = Counter(item.group for item in items)
    found: dict[str, Counter[Pair]] = defaultdict(Counter)
    for item in items:
        found[item.group].update(sites_of(true_facts(item)))
    expected = sum(count for pairs in found.values() for count in pairs.values())
    hits = sum(count * count / sizes[group] for group, pairs in found.items() for count in pairs.values())
    return 100 * hits / expected if expected else None


def site_family(wanted: tuple[str, ...], options: MetricOptions) -> SiteFamily:
    """Return the family for `wanted`."""
    return SiteFamily(wanted, options.jobs)
