"""Which stated lesions are which true ones, and what that makes of the F1s.

The rule (``F1-T``, ``F1-TP``, ``F1-TF``, ``F1-TPF`` after arXiv 2509.24739, without the faults of its public matcher):

- Unknown is never a match. A true lesion that leaves an attribute of an F1 unstated is *out* of that F1, and so is
  the stated lesion that tells of it: one that agrees with what the true lesion does state of the F1's attributes and
  with its place (without either, with what else it states).
- Stated by the reference and not by the hypothesis is a miss: the true lesion is missed, and the stated one is one too
  many, as with a wrong attribute; so nobody gains by keeping vague.
- Each F1 has its own matching, the best for it: as many hits as can be, then as many stated lesions out as can be.
  Both are reached at once (an augmenting path keeps what is matched matched), and a hit is worth more than a lesion
  out: F1 = 2 TP / (scorable true lesions + stated lesions not out), where a hit adds two above and one below.

So a hypothesis that fills in an attribute, drops a lesion that is not there, tells one that was omitted or puts it in
place of a false one never scores lower, and the order of telling changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_cli.metrics.clinical_lesions import ClinicalLesion, Lesions, Place

Floats = NDArray[np.float64]

F1_ATTRIBUTES = {
    "f1_t": ("type",),
    "f1_tp": ("type", "position"),
    "f1_tf": ("type", "fdg"),
    "f1_tpf": ("type", "position", "fdg"),
}


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same.

    Attributes
    ----------
    overlap
        Positions: least share of the places of both that both name (Jaccard, above 0 to 1). A side that the reference
        does not state is not asked for. Above one half, whoever names two places or both sides for one hits nothing.
    size, suv
        Largest difference of diameters and of SUVmax, as a share of the true one.
    """

    overlap: float = 0.6
    size: float = 0.2
    suv: float = 0.2

    def signature(self, *, measures: bool = False) -> str:
        """Return how positions are compared, and `measures` if asked for, as part of a signature."""
        alike = f"|alike:size-{100 * self.size:g}%,suvmax-{100 * self.suv:g}%" if measures else ""
        return f"position:organ+side,jaccard>={self.overlap:g}{alike}"


def position_share(true: ClinicalLesion, said: ClinicalLesion) -> float:
    """Return the Jaccard index of the places; where the reference names an organ without a side, any side is right."""
    if not true.places or not said.places:
        return 0.0
    unsided = {organ for organ, side in true.places if side is None}
    mine: set[Place] = set(true.places)
    theirs: set[Place] = {(organ, None if organ in unsided else side) for organ, side in said.places}
    return len(mine & theirs) / len(mine | theirs)


def within(true: float, said: float | None, share: float) -> bool:
    """Whether a stated measure is within `share` of the true one; one that is not stated is not."""
    return said is not None and abs(said - true) <= share * abs(true) + 1e-9


@dataclass(frozen=True)
class F1Counts:
    """What one report gives to one F1.

    Attributes
    ----------
    pairs
        (true, stated) indices of the hits.
    tp, fp, fn
        Hits, stated lesions without one, scorable true lesions without one.
    unscorable
        True lesions that leave an attribute unstated.
    only_said
        Stated lesions that tell of one of those, and so are out.
    """

    pairs: tuple[tuple[int, int], ...]
    tp: int
    fp: int
    fn: int
    unscorable: int
    only_said: int


def agreement(true: Lesions, said: Lesions, tolerance: Tolerance) -> dict[str, NDArray[np.bool_]]:
    """Return for each attribute a matrix (true, said): whether both state it, and the same."""
    organs = [one.organs for one in said]
    least = tolerance.overlap - 1e-9
    return {
        "type": np.array([[t.kind is not None and t.kind == s.kind for s in said] for t in true], dtype=bool),
        "fdg": np.array([[t.fdg is not None and t.fdg == s.fdg for s in said] for t in true], dtype=bool),
        "position": np.array(
            [
                [not own.isdisjoint(organs[j]) and position_share(t, s) >= least for j, s in enumerate(said)]
                for t, own in ((t, t.organs) for t in true)
            ],
            dtype=bool,
        ),
    }


def states(lesion: ClinicalLesion, attribute: str) -> bool:
    """Whether a lesion states an attribute."""
    if attribute == "position":
        return bool(lesion.places)
    return (lesion.kind if attribute == "type" else lesion.fdg) is not None


def count_f1(metric: str, true: Lesions, said: Lesions, agree: dict[str, NDArray[np.bool_]]) -> F1Counts:
    """Match the lesions of one report as well as can be for `metric`."""
    asked = F1_ATTRIBUTES[metric]
    scorable = [all(states(lesion, attribute) for attribute in asked) for lesion in true]
    if not true or not said:
        n = sum(scorable)
        return F1Counts((), 0, len(said), n, len(true) - n, 0)
    gain = np.where(np.logical_and.reduce([agree[attribute] for attribute in asked]), 2, 0)
    for index, lesion in enumerate(true):
        if scorable[index]:
            continue
        known = [attribute for attribute in {*asked, "position"} if states(lesion, attribute)]
        known = known or [attribute for attribute in agree if states(lesion, attribute)]
        gain[index] = np.logical_and.reduce([agree[attribute][index] for attribute in known], initial=True)
    matched = best_matching(gain)
    hits = tuple(pair for pair in matched if scorable[pair[0]])
    out = len(matched) - len(hits)
    n = sum(scorable)
    return F1Counts(hits, len(hits), len(said) - len(hits) - out, n - len(hits), len(true) - n, out)


def best_matching(gain: NDArray[np.int64] | Floats) -> list[tuple[int, int]]:
    """Return the one-to-one (row, column) pairs with the greatest sum of `gain`, without those that gain nothing."""
    if not gain.any():
        return []
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gain[i, j] > 0]


def in_order(lesions: Sequence[ClinicalLesion]) -> Lesions:
    """Return lesions sorted by what they are."""
    return tuple(sorted(lesions, key=ClinicalLesion.order))
