"""Where in two texts their lesions stand, and how those of one agree with those of the other: for a person's eye."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from petct_cli.report.lesions import ExtractedLesion, extract_lesions

Fault = Literal["side", "size", "SUV", "FDG"]
Agreement = Literal["matched", "differs", "alone"]
SIZE_TOLERANCE = 0.2
SIZE_TOLERANCE_MM = 3.0
SUV_TOLERANCE = 0.2


@dataclass(frozen=True)
class LesionMark:
    """One lesion of one text.

    Attributes
    ----------
    lesion
        As the extractor found it, with its spans.
    agreement
        ``matched``; ``differs`` from its partner in `faults`; ``alone``: without a partner, which is a lesion omitted
        when it stands in the reference and one made up when it stands in the hypothesis.
    number
        The same for both lesions of a pair, 0 for one that is alone.
    faults
        What the two say differently.
    """

    lesion: ExtractedLesion
    agreement: Agreement
    number: int = 0
    faults: tuple[Fault, ...] = ()


def mark_lesions(reference: str, hypothesis: str) -> tuple[list[LesionMark], list[LesionMark]]:
    """Return the lesions of both texts in the order of the texts, those of the same place paired.

    Lesions at one place are paired so that those which differ least come together; a lesion of the same place on the
    other side is a partner only where there is no better one.
    """
    mine, theirs = extract_lesions(reference), extract_lesions(hypothesis)
    pairs = sorted(_pairs(mine, theirs), key=lambda pair: pair[0])
    marks: tuple[dict[int, LesionMark], dict[int, LesionMark]] = ({}, {})
    for number, (left, right, faults) in enumerate(pairs, 1):
        agreement: Agreement = "differs" if faults else "matched"
        marks[0][left] = LesionMark(mine[left], agreement, number, faults)
        marks[1][right] = LesionMark(theirs[right], agreement, number, faults)
    return (
        [marks[0].get(index) or LesionMark(lesion, "alone") for index, lesion in enumerate(mine)],
        [marks[1].get(index) or LesionMark(lesion, "alone") for index, lesion in enumerate(theirs)],
    )


def _pairs(
    mine: Sequence[ExtractedLesion], theirs: Sequence[ExtractedLesion]
) -> Iterator[tuple[int, int, tuple[Fault, ...]]]:
    candidates = sorted(
        (_distance(left, right, faults), at_left, at_right, faults)
        for at_left, left in enumerate(mine)
        for at_right, right in enumerate(theirs)
        if _same_place(left, right)
        for faults in (_faults(left, right),)
    )
    taken: tuple[set[int], set[int]] = (set(), set())
    for _, at_left, at_right, faults in candidates:
        if at_left in taken[0] or at_right in taken[1]:
            continue
        taken[0].add(at_left)
        taken[1].add(at_right)
        yield at_left, at_right, faults


def _same_place(one: ExtractedLesion, other: ExtractedLesion) -> bool:
    if one.site is not None or other.site is not None:
        return one.site == other.site
    return one.organ is not None and one.organ == other.organ


def _faults(one: ExtractedLesion, other: ExtractedLesion) -> tuple[Fault, ...]:
    """Return what both state and state differently; what one leaves unstated is no fault."""
    found: list[Fault] = []
    if None not in (one.side, other.side) and one.side != other.side:
        found.append("side")
    if one.size_mm is not None and other.size_mm is not None:
        allowed = max(SIZE_TOLERANCE_MM, SIZE_TOLERANCE * one.size_mm)
        found += ["size"] if abs(one.size_mm - other.size_mm) > allowed else []
    if one.suv_max is not None and other.suv_max is not None:
        found += ["SUV"] if abs(one.suv_max - other.suv_max) > SUV_TOLERANCE * one.suv_max else []
    if None not in (one.fdg, other.fdg) and one.fdg != other.fdg:
        found.append("FDG")
    return tuple(found)


def _distance(one: ExtractedLesion, other: ExtractedLesion, faults: Sequence[Fault]) -> tuple[int, int, float]:
    apart = sum(
        abs(mine - theirs) / max(mine, theirs)
        for mine, theirs in ((one.size_mm, other.size_mm), (one.suv_max, other.suv_max))
        if mine and theirs
    )
    return ("side" in faults) + ("FDG" in faults), one.kind != other.kind, apart
