"""F1-T, F1-TP, F1-TF and F1-TPF: micro-averaged F1 over lesions by type, position and FDG uptake.

The rule and why it is so: `petct_cli.metrics.clinical_match`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from petct_cli.metrics.clinical_detail import compared
from petct_cli.metrics.clinical_match import F1_ATTRIBUTES, Floats, agreement, count_f1
from petct_cli.metrics.clinical_options import (
    SHARED_COLUMNS,
    ClinicalOptions,
    Sides,
    lesion_reader,
    shared_counts,
    shared_signature,
)
from petct_cli.metrics.families import Family, Item, Part, ratio

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

_SCORABLE = 2  # after hits and false ones; then what is out: true, stated
_PER_METRIC = 5
_START = {metric: SHARED_COLUMNS + _PER_METRIC * place for place, metric in enumerate(F1_ATTRIBUTES)}
_COLUMNS = SHARED_COLUMNS + _PER_METRIC * len(F1_ATTRIBUTES)


@dataclass(frozen=True)
class ClinicalF1Family(Family):
    """The F1s; a column each for hits, false ones, scorable true lesions, and what is out on either side."""

    wanted: tuple[str, ...]
    options: ClinicalOptions

    def applicable(self, items: Sequence[Item]) -> tuple[str, ...]:
        """Return all, unless there are only questions."""
        return self.wanted if any(item.is_report for item in items) else ()

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), _COLUMNS))
        for row, (sides, shared) in zip(rows, lesion_reader(self.options).read_all(items, hypotheses), strict=True):
            row[:SHARED_COLUMNS] = shared
            self._count(row, sides)
        return rows

    def _count(self, row: Floats, sides: Sides | None) -> None:
        if sides is None or not (sides.true or sides.said):
            return
        agree = agreement(sides.true, sides.said, self.options.tolerance)
        for metric in self.wanted:
            found = count_f1(metric, sides.true, sides.said, agree)
            start = _START[metric]
            row[start : start + _PER_METRIC] = (
                found.tp,
                found.fp,
                found.tp + found.fn,
                found.unscorable,
                found.only_said,
            )

    def parts(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Iterator[Part]:
        """Yield a part per organ: the lesions of both sides that have a place there, in order of the organs' names."""
        if not self.options.by_organ:
            return
        read = lesion_reader(self.options).read_all(items, hypotheses)
        having: dict[str, list[int]] = {}
        for index, (sides, _) in enumerate(read):
            if sides is not None:
                for organ in {organ for one in (*sides.true, *sides.said) for organ in one.organs}:
                    having.setdefault(organ, []).append(index)
        for organ in sorted(having):
            rows = np.zeros((len(having[organ]), _COLUMNS))
            for row, index in zip(rows, having[organ], strict=True):
                sides, shared = read[index]
                row[:SHARED_COLUMNS] = shared
                self._count(row, sides and sides.at(organ))
            yield Part(f"organ:{organ}", self.wanted, tuple(having[organ]), rows)

    def value(self, metric: str, sums: Floats) -> Floats:
        tp, fp, scorable = np.moveaxis(sums[..., _START[metric] : _START[metric] + _SCORABLE + 1], -1, 0)
        return ratio(200 * tp, np.where(scorable > 0, tp + fp + scorable, 0))

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[_START[metric] + _SCORABLE])

    def signature(self, metric: str, sums: Floats) -> str:
        asked = "+".join(F1_ATTRIBUTES[metric])
        return (
            f"f1:micro|lesions:{asked}|match:optimal|{self.options.tolerance.signature()}|unstated-in-reference:out"
            f"|unknown:miss|{shared_signature(self.options, sums)}"
        )

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        start = _START[metric]
        tp, fp, scorable, unscorable, only_said = (float(number) for number in sums[start : start + _PER_METRIC])
        return {
            "tp": tp,
            "fp": fp,
            "fn": scorable - tp,
            "precision": 100 * tp / (tp + fp) if tp + fp else 0.0,
            "recall": 100 * tp / scorable if scorable else 0.0,
            "unstated_in_reference": unscorable,
            "stated_only_in_hypothesis": only_said,
            **shared_counts(sums),
        }

    def detail(self, item: Item, hypothesis: str) -> dict[str, Any]:
        """Return the lesions of both sides, which is which, and the hits of each F1."""
        sides, shared = lesion_reader(self.options).read(item, hypothesis)
        told = {"clinical": compared(sides, shared, self.options)} if shared.any() else {}
        if sides is not None:
            agree = agreement(sides.true, sides.said, self.options.tolerance)
            found = {metric: count_f1(metric, sides.true, sides.said, agree) for metric in self.wanted}
            told["clinical_f1"] = {
                metric: {"pairs": one.pairs, "tp": one.tp, "fp": one.fp, "fn": one.fn} for metric, one in found.items()
            }
        return told


def f1_family(wanted: tuple[str, ...], options: MetricOptions) -> ClinicalF1Family:
    """Return the family for `wanted`."""
    return ClinicalF1Family(wanted, options.clinical or ClinicalOptions())
