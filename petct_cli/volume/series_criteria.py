"""What is asked of several PET and of several CT, in order: the customs of the field, one criterion each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from petct_cli.volume.series_rank import Criterion, each

if TYPE_CHECKING:
    from petct_cli.volume.series_choice import Candidate

_ANOTHER_SCAN = timedelta(minutes=5)
"""Reconstructions of one scan start together; a second scan of a region cannot start so soon after the first."""
_LONG_ENOUGH = 0.9
_ONE_REGION = 0.5
"""Scans are of one region where they share this part of the shorter one."""


def pet_criteria(cts: Sequence[Candidate]) -> list[Criterion[Candidate]]:
    """Return what is asked of several PET, where `cts` are the CT beside them."""

    def with_ct(one: Candidate) -> bool:
        return any(one.study == ct.study and one.shares_frame(ct) for ct in cts)

    def share_with_ct(one: Candidate) -> float:
        return max((round(ct.share_of(one), 1) for ct in cts if one.shares_frame(ct)), default=0.0)

    return [
        Criterion(
            "corrected for attenuation",
            each(lambda one: one.is_attenuation_corrected),
            _said("no attenuation correction"),
        ),
        Criterion("a CT in its frame of reference", each(with_ct), _said("no CT in its frame of reference")),
        Criterion("static", each(lambda one: one.timing == "static"), lambda one, _: _TIMED[one.timing]),
        Criterion("original", each(lambda one: one.is_original), _said("derived image, the original is there")),
        Criterion("over most of the body", _long_enough, why_not_this_scan),
        Criterion("most overlap with a CT", each(share_with_ct), why_not_this_scan),
        Criterion("nearest to the head", _not_below, why_not_this_scan),
        Criterion("the earlier of two scans of one region", _earliest, why_not_this_scan),
        Criterion("most slices", each(lambda one: len(one.instances)), why_not_this_scan),
        Criterion("first UID of equals", _first_uid, why_not_this_scan),
    ]


def ct_criteria(pet: Candidate | None) -> list[Criterion[Candidate]]:
    """Return what is asked of several CT of the study and frame of reference of `pet`."""

    def share(one: Candidate) -> float:
        if pet is None:
            return 1.0
        return 1.0 if one.covers(pet) else round(one.share_of(pet), 2)

    return [
        Criterion("axial", each(lambda one: "AXIAL" in one.image_type), _said("not axial")),
        Criterion(
            "one image of each place", each(lambda one: one.timing == "static"), lambda one, _: _TIMED[one.timing]
        ),
        Criterion("over most of the PET", each(share), _said("covers less of the PET")),
        Criterion("original", each(lambda one: one.is_original), _said("derived image, the original is there")),
        Criterion("most slices", each(lambda one: len(one.instances)), _fewer_or_equal),
        Criterion("first UID of equals", _first_uid, _fewer_or_equal),
    ]


_TIMED = {
    "gated": "gated, a static series is there",
    "dynamic": "dynamic, a static series is there",
    "repeated": "several images of each place",
    "static": "",
}


def why_not_this_scan(one: Candidate, taken: Candidate) -> str:
    """Say why a PET as good as the one taken was not: delayed or early, another region, or another reconstruction."""
    later = _seconds_after(one, taken)
    shared = _shared(one, taken)
    if shared < _ONE_REGION and one.z_range is not None and taken.z_range is not None:
        beyond = max(one.z_range[1] - taken.z_range[1], taken.z_range[0] - one.z_range[0], 0.0)
        return f"another region of the body, {beyond:.0f} mm beyond the one taken: not joined"
    if later is not None and abs(later) > _ANOTHER_SCAN.total_seconds():
        minutes = round(abs(later) / 60)
        when = "delayed" if later > 0 else "earlier"
        return f"{when}: starts {minutes} min {'after' if later > 0 else 'before'} the one taken, in the same region"
    return _fewer_or_equal(one, taken)


def _said(reason: str) -> _Reason:
    return lambda _one, _taken: reason


if TYPE_CHECKING:
    from collections.abc import Callable

    _Reason = Callable[[Candidate, Candidate], str]


def _fewer_or_equal(one: Candidate, taken: Candidate) -> str:
    mine, theirs = len(one.instances), len(taken.instances)
    return f"fewer slices ({mine}, taken: {theirs})" if mine < theirs else "another series of equal rank was taken"


def _shared(one: Candidate, other: Candidate) -> float:
    """Return what part of the shorter one both cover."""
    return other.share_of(one) if _length(one) <= _length(other) else one.share_of(other)


def _length(one: Candidate) -> float:
    return 0.0 if one.z_range is None else one.z_range[1] - one.z_range[0]


def _seconds_after(one: Candidate, other: Candidate) -> float | None:
    return None if one.start is None or other.start is None else (one.start - other.start).total_seconds()


def _long_enough(some: Sequence[Candidate]) -> list[bool]:
    longest = max(map(_length, some))
    return [_length(one) >= _LONG_ENOUGH * longest for one in some]


def _not_below(some: Sequence[Candidate]) -> list[bool]:
    """Of scans of different regions (torso, legs) the upper one stays."""
    return [not any(_is_below(one, other) for other in some) for one in some]


def _is_below(one: Candidate, other: Candidate) -> bool:
    if one.z_range is None or other.z_range is None or _shared(one, other) >= _ONE_REGION:
        return False
    return sum(one.z_range) < sum(other.z_range)


def _earliest(some: Sequence[Candidate]) -> list[bool]:
    starts: list[datetime] = [one.start for one in some if one.start is not None]
    if len(starts) != len(some):
        return [True] * len(some)  # where one does not tell, nobody can say
    first = min(starts)
    return [start - first <= _ANOTHER_SCAN for start in starts]


def _first_uid(some: Sequence[Candidate]) -> list[bool]:
    first = min(one.uid for one in some)
    return [one.uid == first for one in some]
