"""What a report gets wrong about the lesions: omitted, hallucinated, on the wrong side, mismeasured, and how gravely.

Lesions are matched as `petct_cli.metrics.clinical_align` says. A true lesion without a place cannot be looked for: it
is neither omitted nor found, and a stated one that is matched with it is not hallucinated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from petct_cli.metrics.clinical_align import align, quality, side_of_pair, weighted_errors
from petct_cli.metrics.clinical_detail import compared
from petct_cli.metrics.clinical_lesions import Lesions, scopes_of
from petct_cli.metrics.clinical_match import Floats, within
from petct_cli.metrics.clinical_options import (
    SAMPLES,
    SHARED_COLUMNS,
    ClinicalOptions,
    Sides,
    known_scopes,
    lesion_reader,
    shared_counts,
    shared_signature,
)
from petct_cli.metrics.families import Family, Item, Part, ratio

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

(
    _TRUE,
    _SAID,
    _MATCHED,
    _UNPLACED,
    _SIDE,
    _SIDE_WRONG,
    _SIDE_PARTLY,
    _SIZE,
    _SIZE_OFF,
    _SIZE_STATED,
    _SIZE_WITHIN,
    _SUV,
    _SUV_OFF,
    _SUV_STATED,
    _SUV_WITHIN,
    _QUALITY,
    _QUALITY_SUM,
    _WEIGHT,
    _ABNORMAL,
    _FALSE_ALARM,
    _OVERLOOKED,
    _NORMAL,
    _UNDECIDED,
    _COLUMNS,
) = range(SHARED_COLUMNS, SHARED_COLUMNS + 24)

# Metric -> (factor, the columns above and below the line, what it is over).
_RATIOS: dict[str, tuple[float, tuple[int, ...], tuple[int, ...]]] = {
    "hallucinated_per_report": (1, (_SAID,), (SAMPLES,)),
    "omitted_per_report": (1, (_TRUE,), (SAMPLES,)),
    "laterality_errors": (100, (_SIDE_WRONG, _SIDE_PARTLY), (_SIDE,)),
    "lesion_size_mae_mm": (1, (_SIZE_OFF,), (_SIZE,)),
    "lesion_size_within": (100, (_SIZE_WITHIN,), (_SIZE_STATED,)),
    "lesion_suv_mae": (1, (_SUV_OFF,), (_SUV,)),
    "lesion_suv_within": (100, (_SUV_WITHIN,), (_SUV_STATED,)),
    "roiq_rules": (100, (_QUALITY_SUM,), (_QUALITY,)),
    "weighted_errors": (1, (_WEIGHT,), (SAMPLES,)),
    "abnormal_accuracy": (100, (_ABNORMAL, _NORMAL), (_ABNORMAL, _NORMAL, _FALSE_ALARM, _OVERLOOKED)),
    "abnormal_sensitivity": (100, (_ABNORMAL,), (_ABNORMAL, _OVERLOOKED)),
    "abnormal_specificity": (100, (_NORMAL,), (_NORMAL, _FALSE_ALARM)),
    "omitted_lesions": (100, (_TRUE,), (_TRUE,)),
    "hallucinated_lesions": (100, (_SAID,), (_SAID,)),
    "roi_f1_rules": (200, (_MATCHED,), (_TRUE, _SAID)),
}
_LESS_MATCHED = ("hallucinated_per_report", "omitted_per_report", "omitted_lesions", "hallucinated_lesions")
_LOWER = (*_LESS_MATCHED, "laterality_errors", "lesion_size_mae_mm", "lesion_suv_mae", "weighted_errors")
_BY_SCOPE = ("abnormal_accuracy", "abnormal_sensitivity", "abnormal_specificity")
_SKELETON = "musculoskeletal"


@dataclass(frozen=True)
class ClinicalErrorFamily(Family):
    """Errors over matched lesions, and whether a region is said to be abnormal."""

    wanted: tuple[str, ...]
    options: ClinicalOptions

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), _COLUMNS))
        read = lesion_reader(self.options).read_all(items, hypotheses)
        for row, item, (sides, shared) in zip(rows, items, read, strict=True):
            row[:SHARED_COLUMNS] = shared
            if sides is not None:
                self._count(row, sides)
                for scopes in self._scopes(item).values():
                    _count_abnormal(row, sides, scopes)
        return rows

    def _count(self, row: Floats, sides: Sides) -> None:
        tolerance = self.options.tolerance
        pairs = align(sides.true, sides.said, tolerance)
        for true, said in ((sides.true[i], sides.said[j]) for i, j in pairs):
            side = side_of_pair(true, said)
            row[_SIDE] += side is not None
            row[_SIDE_WRONG] += side == "wrong"
            row[_SIDE_PARTLY] += side == "partly"
            _count_measure(row, _SIZE, true.size_mm, said.size_mm, tolerance.size)
            _count_measure(row, _SUV, true.suv_max, said.suv_max, tolerance.suv)
            if (found := quality(true, said, tolerance)) is not None:
                row[[_QUALITY, _QUALITY_SUM]] += 1, found
        placed = [bool(one.places) for one in sides.true]
        matched = sum(placed[i] for i, _ in pairs)
        row[[_TRUE, _MATCHED, _UNPLACED]] = sum(placed), matched, len(placed) - sum(placed)
        row[_SAID] = len(sides.said) - (len(pairs) - matched)
        row[_WEIGHT] = weighted_errors(sides.true, sides.said, tolerance, self.options.severity)

    def _scopes(self, item: Item) -> dict[str, frozenset[str]]:
        """Return the regions that a sample is about, its own where it has one, else all, with the scopes in them.

        The text of a sample of one region tells of the bones in it, too (`petct_cli.dataset.samples.region_text`).
        """
        own = item.group.rpartition("/")[2]
        regional = own in known_scopes()
        about = {own: {own, _SKELETON}} if regional else {one: {one} for one in known_scopes()}
        return {name: frozenset(scopes) for name, scopes in about.items() if self.options.scope in (None, *scopes)}

    def parts(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Iterator[Part]:
        """Yield a part per scope, with what is normal and abnormal there."""
        metrics = tuple(metric for metric in self.wanted if metric in _BY_SCOPE)
        if not metrics:
            return
        read = lesion_reader(self.options).read_all(items, hypotheses)
        for scope in known_scopes():
            scopes = [self._scopes(item).get(scope) for item in items]
            about = [index for index, known in enumerate(scopes) if known and read[index][0]]
            rows = np.zeros((len(about), _COLUMNS))
            for row, index in zip(rows, about, strict=True):
                sides, row[:SHARED_COLUMNS] = read[index]
                if sides is not None and (known := scopes[index]) is not None:
                    _count_abnormal(row, sides, known)
            if about:
                yield Part(f"scope:{scope}", metrics, tuple(about), rows)

    def value(self, metric: str, sums: Floats) -> Floats:
        factor, above, below = _RATIOS[metric]
        top = sums[..., list(above)].sum(-1)
        if metric in _LESS_MATCHED:
            top = top - sums[..., _MATCHED]
        bottom = sums[..., list(below)].sum(-1)
        return ratio(factor * top, bottom)

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[list(_RATIOS[metric][2])].sum())

    def signature(self, metric: str, sums: Floats) -> str:
        own = _SIGNATURES[metric].format(
            size=f"{100 * self.options.tolerance.size:g}%",
            suv=f"{100 * self.options.tolerance.suv:g}%",
            severity=f"{self.options.severity.name}@{self.options.severity.digest}",
        )
        if metric not in _BY_SCOPE:
            own += f"|match:organ+node,most-then-most-alike|{self.options.tolerance.signature(measures=True)}"
        return f"{own}|{shared_signature(self.options, sums)}"

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        def number(column: int) -> float:
            return float(sums[column])

        if metric in _BY_SCOPE:
            told = {
                "abnormal_found": number(_ABNORMAL),
                "false_alarms": number(_FALSE_ALARM),
                "overlooked": number(_OVERLOOKED),
                "normal_found": number(_NORMAL),
                "uptake_unstated": number(_UNDECIDED),
            }
        else:
            told = {
                "true_lesions": number(_TRUE),
                "stated_lesions": number(_SAID),
                "matched": number(_MATCHED),
                "omitted": number(_TRUE) - number(_MATCHED),
                "hallucinated": number(_SAID) - number(_MATCHED),
                "unplaced_in_reference": number(_UNPLACED),
            }
        if metric == "laterality_errors":
            told |= {"wrong_side": number(_SIDE_WRONG), "partly_right_side": number(_SIDE_PARTLY)}
        if metric.startswith("lesion_"):
            start = _SIZE if "size" in metric else _SUV
            told |= {"stated_in_both": number(start), "stated_in_reference": number(start + 2)}
        if metric == "roi_f1_rules":
            told["precision"] = 100 * number(_MATCHED) / number(_SAID) if number(_SAID) else 0.0
            told["recall"] = 100 * number(_MATCHED) / number(_TRUE) if number(_TRUE) else 0.0
        return {**told, **shared_counts(sums)}

    def higher_is_better(self, metric: str) -> bool:
        return metric not in _LOWER

    def detail(self, item: Item, hypothesis: str) -> dict[str, Any]:
        """Return the lesions of both sides, which is which, and what is wrong."""
        sides, shared = lesion_reader(self.options).read(item, hypothesis)
        return {"clinical": compared(sides, shared, self.options)} if shared.any() else {}


_SIGNATURES = {
    "omitted_lesions": "share:omitted/true-lesions",
    "omitted_per_report": "omitted-lesions/report",
    "hallucinated_lesions": "share:hallucinated/stated-lesions",
    "hallucinated_per_report": "hallucinated-lesions/report",
    "laterality_errors": "share:wrong-or-partly-wrong-side/matched-with-a-side-in-both",
    "lesion_size_mae_mm": "mae:mm|size:largest-diameter",
    "lesion_size_within": "share:within-{size}/matched-with-a-true-size",
    "lesion_suv_mae": "mae:suvmax",
    "lesion_suv_within": "share:within-{suv}/matched-with-a-true-suvmax",
    "roi_f1_rules": "f1:matched-lesions|form:RoI-coverage-of-2604.18145|not-the-papers-extractor",
    "roiq_rules": (
        "mean:sqrt(jaccard-of-places*type)*mean(fdg,size-{size},suvmax-{suv};stated)"
        "|over:matched|form:RoIQ-of-2604.18145|not-the-papers-scores"
    ),
    "weighted_errors": "weights/report|severity:{severity}|within:size-{size},suvmax-{suv}",
    "abnormal_accuracy": "accuracy:region-with-an-fdg-avid-lesion|uptake-unstated-in-reference:out",
    "abnormal_sensitivity": "sensitivity:region-with-an-fdg-avid-lesion|uptake-unstated-in-reference:out",
    "abnormal_specificity": "specificity:region-with-an-fdg-avid-lesion|uptake-unstated-in-reference:out",
}


def _count_measure(row: Floats, start: int, true: float | None, said: float | None, share: float) -> None:
    if true is None:
        return
    if said is not None:
        row[[start, start + 1]] += 1, abs(said - true)
    row[[start + 2, start + 3]] += 1, within(true, said, share)


def _count_abnormal(row: Floats, sides: Sides, scopes: frozenset[str]) -> None:
    true, said = _avid(sides.true, scopes), _avid(sides.said, scopes)
    if true is None:
        row[_UNDECIDED] += 1
        return
    column = (_ABNORMAL if said else _OVERLOOKED) if true else (_FALSE_ALARM if said else _NORMAL)
    row[column] += 1


def _avid(lesions: Lesions, scopes: frozenset[str]) -> bool | None:
    """Whether a lesion there takes up FDG; None where there are some and of none the uptake is stated to be so."""
    there = [one for one in lesions if not scopes.isdisjoint(scopes_of(one))]
    if any(one.fdg == "increased" or (one.fdg is None and one.suv_max is not None) for one in there):
        return True
    return None if any(one.fdg is None for one in there) else False


def error_family(wanted: tuple[str, ...], options: MetricOptions) -> ClinicalErrorFamily:
    """Return the family for `wanted`."""
    return ClinicalErrorFamily(wanted, options.clinical or ClinicalOptions())
