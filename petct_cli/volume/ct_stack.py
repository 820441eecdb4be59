"""CT slices of any orientation, looked at coarsely in patient coordinates: little memory, one slice read at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.geometry import Array, SlicePlane

HuSlice = npt.NDArray[np.int16]
AIR_HU = -1024
_COARSE_MM = 1.6
_SAME = 1e-3
_SAME_PLACE_MM = 0.01
_FEWEST_SLICES = 3


@dataclass(frozen=True)
class CtSlice:
    """One image: where it lies, and how to read it in HU, (rows, columns)."""

    plane: SlicePlane
    read: Callable[[], HuSlice]


@dataclass(frozen=True)
class Box:
    """A straight grid in LPS mm: voxel (z, y, x) lies at `origin` (x, y, z) + `step` * index, z towards the head."""

    origin: tuple[float, float, float]
    shape: tuple[int, int, int]
    step: float

    def axis(self, number: int) -> Array:
        """Return the coordinates of array axis 0 (z), 1 (y) or 2 (x)."""
        return np.asarray(self.origin[2 - number] + np.arange(self.shape[number]) * self.step, np.float64)


@dataclass(frozen=True)
class CtStack:
    """Parallel slices in order along their normal, in-plane averaged to about 2 mm.

    Attributes
    ----------
    along
        Position of each slice along the normal, ascending.
    corners
        Centre of the first averaged pixel of each slice, LPS mm; a tilted gantry shifts them against each other.
    steps
        Vectors from row to row and from column to column.
    """

    volume: npt.NDArray[np.int16]
    along: Array
    corners: Array
    normal: Array
    steps: Array

    @property
    def box(self) -> tuple[Array, Array]:
        """Lowest and highest LPS coordinates of the pixel centres."""
        rows, columns = self.volume.shape[1:]
        edges = [i * (rows - 1) * self.steps[0] + j * (columns - 1) * self.steps[1] for i in (0, 1) for j in (0, 1)]
        points = np.concatenate([self.corners + edge for edge in edges])
        return points.min(axis=0), points.max(axis=0)

    def sample(self, box: Box) -> npt.NDArray[np.int16]:
        """Return HU on a straight grid, linear between voxels, air outside."""
        from scipy.ndimage import map_coordinates

        found = np.full(box.shape, AIR_HU, np.int16)
        y, x = np.meshgrid(box.axis(1), box.axis(2), indexing="ij")
        gap = float(np.diff(self.along).min()) / 2
        index = np.arange(len(self.along))
        spacing = (self.steps**2).sum(axis=1)
        for number, z in enumerate(box.axis(0)):
            points = np.stack([x, y, np.full_like(x, z)], axis=-1)
            t = points @ self.normal
            if t.max() < self.along[0] - gap or t.min() > self.along[-1] + gap:
                continue
            outside = (t < self.along[0] - gap) | (t > self.along[-1] + gap)
            place = np.interp(t, self.along, index)
            corner = np.stack([np.interp(place, index, self.corners[:, axis]) for axis in range(3)], axis=-1)
            row, column = ((points - corner) @ self.steps[i] / spacing[i] for i in (0, 1))
            plane = map_coordinates(self.volume, [place, row, column], order=1, mode="constant", cval=AIR_HU)
            plane[outside] = AIR_HU
            found[number] = plane
        return found

    def box_of(self, step: float, low: Array | None = None, high: Array | None = None) -> Box:
        """Return the straight grid over the stack, or over a part of it."""
        lowest, highest = self.box
        low = lowest if low is None else np.maximum(lowest, low)
        high = highest if high is None else np.minimum(highest, high)
        counts = [max(1, math.floor((b - a) / step) + 1) for a, b in zip(low, high, strict=True)]
        return Box((float(low[0]), float(low[1]), float(low[2])), (counts[2], counts[1], counts[0]), step)


def stack_of(slices: Sequence[CtSlice]) -> CtStack:
    """Read slices one by one and stack them coarsely. Of slices at one place the first counts; gaps are bridged.

    Raises
    ------
    RecordError
        ``face_geometry``: too few slices, or not parallel ones of one size. What reading raises goes through.
    """
    first = slices[0].plane if slices else None
    if first is None or len(slices) < _FEWEST_SLICES or not all(_alike(first, one.plane) for one in slices):
        raise RecordError("face_geometry", "the images of a CT series are no stack of parallel slices")
    row, column = np.array(first.row, np.float64), np.array(first.column, np.float64)
    normal = np.cross(row, column)
    if abs(float(row @ column)) > _SAME or abs(float(np.linalg.norm(normal)) - 1) > _SAME:
        raise RecordError("face_geometry", "the orientation of a CT series is none")
    positions = np.array([one.plane.position for one in slices], np.float64)
    along = positions @ normal
    order = [int(i) for i in np.argsort(along, kind="stable")]
    kept = [i for n, i in enumerate(order) if n == 0 or along[i] - along[order[n - 1]] > _SAME_PLACE_MM]
    if len(kept) < _FEWEST_SLICES:
        raise RecordError("face_geometry", "the images of a CT series lie at one place")
    factor = max(1, math.ceil(_COARSE_MM / max(first.spacing)))
    rows, columns = (size // factor for size in first.shape)
    volume = np.empty((len(kept), rows, columns), np.int16)
    for number, i in enumerate(kept):
        hu = slices[i].read()[: rows * factor, : columns * factor]
        volume[number] = hu.reshape(rows, factor, columns, factor).mean(axis=(1, 3), dtype=np.float32)
    steps = np.stack([column * first.spacing[0], row * first.spacing[1]])
    corners = positions[kept] + (factor - 1) / 2 * steps.sum(axis=0)
    return CtStack(volume, along[kept], corners, normal, steps * factor)


def _alike(first: SlicePlane, other: SlicePlane) -> bool:
    mine = np.array([*first.row, *first.column, *first.spacing])
    theirs = np.array([*other.row, *other.column, *other.spacing])
    return first.shape == other.shape and float(np.abs(mine - theirs).max()) <= _SAME
