"""Which stated lesion is meant to be which true one, and what is wrong with it.

The F1s ask for agreement, each with a matching of its own. Errors need one matching in which a lesion on the wrong
side is still the same lesion: two can be the same where they have an organ in common and are not a lymph node here
and something else there. As many are matched as can be, by the matching among those in which they are most alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from petct_cli.metrics.clinical_lesions import ClinicalLesion, Lesions
from petct_cli.metrics.clinical_match import Floats, Tolerance, best_matching, position_share, within
from petct_cli.metrics.severity import Severity

_TYPE, _PLACES, _FDG, _SIZE, _SUV = 64, 32, 16, 8, 8
_ALL = _TYPE + _PLACES + _FDG + _SIZE + _SUV


@dataclass(frozen=True)
class Difference:
    """What is wrong with a stated lesion against the true one that it is meant to be.

    Attributes
    ----------
    side
        ``right``, ``partly`` (one of two sides), ``wrong``, or None where either does not state it.
    wrong
        Attributes that are stated otherwise: place, side, type, fdg, size, suv.
    unsaid
        Attributes that the reference states and the hypothesis does not.
    """

    side: str | None
    wrong: tuple[str, ...]
    unsaid: tuple[str, ...]


def _may_be_same(true: str | None, said: str | None, placed: bool) -> bool:
    """Whether the types are no hindrance; of a true lesion without a place, its type is all that can be asked for."""
    if not placed:
        return true in (None, said)
    return None in (true, said) or (true == "node") == (said == "node")


def align(true: Lesions, said: Lesions, tolerance: Tolerance) -> list[tuple[int, int]]:
    """Return the (true, stated) pairs of indices."""
    gain = np.zeros((len(true), len(said)), dtype=np.int64)
    base = _ALL * max(1, min(gain.shape)) + 1
    for i, j, one, other in _candidates(true, said):
        gain[i, j] = base + _likeness(one, other, tolerance)
    return best_matching(gain)


def _candidates(true: Lesions, said: Lesions) -> list[tuple[int, int, ClinicalLesion, ClinicalLesion]]:
    organs = [one.organs for one in said]
    return [
        (i, j, t, s)
        for i, (t, own) in enumerate((t, t.organs) for t in true)
        for j, s in enumerate(said)
        if (not own or not own.isdisjoint(organs[j])) and _may_be_same(t.kind, s.kind, bool(own))
    ]


def _likeness(true: ClinicalLesion, said: ClinicalLesion, tolerance: Tolerance) -> int:
    return (
        _TYPE * (true.kind is not None and true.kind == said.kind)
        + math.floor(_PLACES * position_share(true, said))
        + _FDG * (true.fdg is not None and true.fdg == said.fdg)
        + _SIZE * (true.size_mm is not None and within(true.size_mm, said.size_mm, tolerance.size))
        + _SUV * (true.suv_max is not None and within(true.suv_max, said.suv_max, tolerance.suv))
    )


def side_of_pair(true: ClinicalLesion, said: ClinicalLesion) -> str | None:
    """Return right, partly or wrong for the organs that both name with a side, the worst; None without one."""
    verdicts = set()
    for organ in true.organs & said.organs:
        mine, theirs = ({side for name, side in one.places if name == organ} for one in (true, said))
        if None not in mine and None not in theirs:
            verdicts.add("right" if mine == theirs else "partly" if mine & theirs else "wrong")
    return next((verdict for verdict in ("wrong", "partly", "right") if verdict in verdicts), None)


def difference(true: ClinicalLesion, said: ClinicalLesion, tolerance: Tolerance) -> Difference:
    """Compare a pair attribute by attribute; what the reference does not state cannot be wrong."""
    side = side_of_pair(true, said)
    wrong, unsaid = [], []
    if true.places and not said.places:
        unsaid.append("place")
    elif side == "wrong":
        wrong.append("side")
    elif true.places and position_share(true, said) < tolerance.overlap - 1e-9:
        wrong.append("side" if side == "partly" else "place")
    for name, mine, theirs in (("type", true.kind, said.kind), ("fdg", true.fdg, said.fdg)):
        if mine is not None and mine != theirs:
            (unsaid if theirs is None else wrong).append(name)
    measures = (
        ("size", true.size_mm, said.size_mm, tolerance.size),
        ("suv", true.suv_max, said.suv_max, tolerance.suv),
    )
    for name, meant, told, share in measures:
        if meant is not None and not within(meant, told, share):
            (unsaid if told is None else wrong).append(name)
    return Difference(side, tuple(wrong), tuple(unsaid))


def quality(true: ClinicalLesion, said: ClinicalLesion, tolerance: Tolerance) -> float | None:
    """Return the quality of one pair, 0 to 1, in the form of RoIQ; None where the reference states no type or no place.

    sqrt(region x lesion) x mean of the attributes: region is the Jaccard index of the places, lesion 1 for the
    right type, the attributes are FDG uptake, size and SUVmax where the reference states them: 1 for right (within
    tolerance), 0 for wrong or unsaid.

    Notes
    -----
    The form and the matching before it are those of RoIQ (arXiv 2604.18145). How the paper scores regions, types and
    attributes, which attributes it takes, and its extractor (a language model) could not be established from what is
    public, so these numbers are not the paper's.
    """
    if true.kind is None or not true.places:
        return None
    parts = [
        float(good)
        for stated, good in (
            (true.fdg, true.fdg == said.fdg),
            (true.size_mm, true.size_mm is not None and within(true.size_mm, said.size_mm, tolerance.size)),
            (true.suv_max, true.suv_max is not None and within(true.suv_max, said.suv_max, tolerance.suv)),
        )
        if stated is not None
    ]
    core = math.sqrt(position_share(true, said) * (true.kind == said.kind))
    return core * (sum(parts) / len(parts) if parts else 1.0)


def weighted_errors(true: Lesions, said: Lesions, tolerance: Tolerance, severity: Severity) -> float:
    """Return the least sum of weights that explains what is said: pairs with what is wrong in them, and the rest."""
    omitted = [severity.weight("omitted", one) for one in true]
    hallucinated = [severity.weight("hallucinated", one) for one in said]
    saved: Floats = np.zeros((len(true), len(said)))
    for i, j, one, other in _candidates(true, said):
        cost = _pair_weight(one, difference(one, other, tolerance), severity)
        saved[i, j] = max(0.0, omitted[i] + hallucinated[j] - cost)
    return math.fsum([*omitted, *hallucinated, *(-float(saved[pair]) for pair in best_matching(saved))])


def _pair_weight(lesion: ClinicalLesion, found: Difference, severity: Severity) -> float:
    errors = [*found.wrong, *("unsaid" for _ in found.unsaid)]
    return math.fsum(severity.weight(error, lesion) for error in errors)
