"""The stacks of a multi-frame series: those that continue each other stay together, others are series of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from petct_cli.dicom.read import Instance
from petct_cli.dicom.values import text
from petct_cli.volume.geometry import SlicePlane
from petct_cli.volume.series_choice import slice_plane

_SAME = 1e-4


def split_stacks(instances: Sequence[Instance]) -> list[tuple[Instance, ...]]:
    """Return the images of a series by stack (Stack ID (0020,9056), PS3.3 C.7.6.16.2.2.4).

    Stacks of one orientation, size and pixel spacing that do not overlap along their normal are parts of one scan.
    Images without a stack belong to one.
    """
    stacks: dict[str | None, list[Instance]] = {}
    for instance in instances:
        stacks.setdefault(text(instance.header, "StackID"), []).append(instance)
    if len(stacks) < 2:
        return [tuple(instances)]
    groups: list[list[_Extent]] = []
    kept: list[set[int]] = []
    for stack in stacks.values():
        mine = _Extent.of(stack)
        home = next((n for n, group in enumerate(groups) if all(map(mine.continues, group))), len(groups))
        if home == len(groups):
            groups.append([])
            kept.append(set())
        groups[home].append(mine)
        kept[home].update(map(id, stack))
    return [tuple(one for one in instances if id(one) in group) for group in kept]


class _Extent:
    """Where a stack lies along its normal."""

    def __init__(self, first: SlicePlane | None, low: float, high: float) -> None:
        self.first, self.low, self.high = first, low, high

    @classmethod
    def of(cls, stack: Sequence[Instance]) -> _Extent:
        planes = [plane for plane in map(slice_plane, stack) if plane is not None]
        if not planes:
            return cls(None, 0.0, 0.0)
        normal = np.cross(planes[0].row, planes[0].column)
        along = [float(np.dot(plane.position, normal)) for plane in planes]
        return cls(planes[0], min(along), max(along))

    def continues(self, other: _Extent) -> bool:
        """Whether both can be parts of one stack."""
        if self.first is None or other.first is None or self.first.shape != other.first.shape:
            return False
        mine = np.array([*self.first.row, *self.first.column, *self.first.spacing])
        theirs = np.array([*other.first.row, *other.first.column, *other.first.spacing])
        return bool(np.abs(mine - theirs).max() <= _SAME) and (self.high < other.low or other.high < self.low)
