"""Where the PET is unusual: candidate spots of a region, found without labels and without parameters to train.

A calibration remembers, for each place of a region's body box, how high SUV usually is among the training volumes.
Spots of a new volume are ranked by how far they exceed what is usual at their place, so that a warm brain or bladder
does not crowd out a faint node. The spots are voxels of the native grid: no SUVmax is lost to resampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

from petct_cli.model.inputs import FloatArray, RegionVolume

IntArray = npt.NDArray[np.int64]

CELL_MM = 10.0
"""Aimed-at edge of a cell of the coarse grid on which spots are sought."""

_FRAME_CELL_MM = 8.0
_BODY_HU = -300.0
_LUNG_HU = -500.0
_SEEN_FRACTION = 0.02
_SD_FLOOR = 0.07
_GRID_LIMITS = (6, 64)


@dataclass(frozen=True)
class Frame:
    """Boxes that say where in the body a voxel is: ``low`` and ``high`` edges in voxels, axes ``(z, y, x)``.

    `lung` is None where the region shows too little lung.
    """

    body: tuple[FloatArray, FloatArray]
    lung: tuple[FloatArray, FloatArray] | None


@dataclass(frozen=True)
class RegionCalibration:
    """What is usual in one region.

    Attributes
    ----------
    grid
        Cells of the coarse grid over the body box, ``(z, y, x)``.
    mean, sd
        Of log(1 + SUVmax) per pair of cells in each direction, half as fine as `grid`.
    """

    grid: tuple[int, int, int]
    mean: FloatArray
    sd: FloatArray


@dataclass(frozen=True)
class Spots:
    """The candidate spots of one volume, head to pelvis.

    Attributes
    ----------
    index
        ``(n, 3)`` voxels.
    score
        ``(n,)`` standard deviations above what is usual there.
    """

    index: IntArray
    score: FloatArray


def find_frame(volume: RegionVolume) -> Frame:
    """Return the body's and the lungs' bounding boxes (the largest connected body, so that a table is left out)."""
    pairs = zip(volume.spacing_mm, volume.ct.shape, strict=True)
    steps = [max(1, min(round(_FRAME_CELL_MM / edge), count)) for edge, count in pairs]
    coarse = volume.ct[tuple(slice(step // 2, None, step) for step in steps)]
    labels, count = ndimage.label(coarse > _BODY_HU)
    if count == 0:
        shape = np.array(volume.ct.shape, dtype=np.float32)
        return Frame((np.zeros(3, np.float32), shape), None)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = labels == sizes.argmax()
    lung = (coarse < _LUNG_HU) & _between(body, 1) & _between(body, 2)
    scale = np.array(steps, dtype=np.float32)
    limit = np.array(volume.ct.shape, dtype=np.float32)
    boxes = [_box(mask) for mask in (body, lung)]
    low, high = boxes[0] if boxes[0] is not None else (np.zeros(3), np.array(coarse.shape))
    found = boxes[1]
    return Frame(
        _edges(low, high, scale, limit),
        None if found is None else _edges(*found, scale, limit),
    )


def _edges(
    low: npt.NDArray[Any], high: npt.NDArray[Any], scale: FloatArray, limit: FloatArray
) -> tuple[FloatArray, FloatArray]:
    return (low * scale).astype(np.float32), np.minimum(high * scale, limit).astype(np.float32)


def _between(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """True where `mask` is seen on both sides along `axis`."""
    ahead = np.logical_or.accumulate(mask, axis=axis)
    behind = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return np.asarray(ahead & behind)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    low, high = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        share = mask.mean(axis=others)
        seen = np.flatnonzero(share > _SEEN_FRACTION * share.max(initial=0.0))
        if share.max(initial=0.0) < 1e-3 or seen.size == 0:
            return None
        low.append(seen[0])
        high.append(seen[-1] + 1)
    return np.array(low), np.array(high)


def coarse_maxima(
    volume: RegionVolume, frame: Frame, grid: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, tuple[slice, slice, slice]]:
    """Max-pool the PET of the body box to `grid`.

    Returns
    -------
    values, indices, box
        log(1 + SUVmax) per cell, the flat index of that voxel within the box, and the box. Axes ``(z, y, x)``.
    """
    low = np.floor(frame.body[0]).astype(int)
    high = np.maximum(np.ceil(frame.body[1]).astype(int), low + 1)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    pet = torch.from_numpy(np.ascontiguousarray(volume.pet[box]))
    values, indices = functional.adaptive_max_pool3d(pet[None], grid, return_indices=True)
    return torch.log1p(values[0].clamp(min=0)), indices[0], box


class Calibrator:
    """Collects what is usual in one region, volume by volume."""

    def __init__(self, grid: tuple[int, int, int]) -> None:
        self.grid = grid
        self._count = 0
        self._sum: npt.NDArray[np.float64] | None = None
        self._squares: npt.NDArray[np.float64] | None = None

    def add(self, maxima: FloatArray) -> None:
        """Take in one volume, as `pair_maxima` returns it."""
        values = maxima.astype(np.float64)
        self._sum = values if self._sum is None else self._sum + values
        self._squares = values**2 if self._squares is None else self._squares + values**2
        self._count += 1

    def finish(self) -> RegionCalibration:
        """Return the calibration.

        Raises
        ------
        ValueError
            Nothing was added.
        """
        if self._sum is None or self._squares is None:
            raise ValueError("nothing to calibrate on")
        mean = self._sum / self._count
        sd = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.0)) + _SD_FLOOR
        return RegionCalibration(self.grid, mean.astype(np.float32), sd.astype(np.float32))


def choose_grid(boxes_mm: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    """Return a grid of about 10 mm cells for body boxes of these edge lengths, ``(n, 3)`` in mm."""
    cells = np.clip(np.round(np.median(boxes_mm, axis=0) / CELL_MM), *_GRID_LIMITS).astype(int)
    return int(cells[0]), int(cells[1]), int(cells[2])


def box_mm(volume: RegionVolume) -> npt.NDArray[np.float64]:
    """Return the edge lengths of the body box, ``(z, y, x)`` in mm."""
    low, high = find_frame(volume).body
    return np.asarray((high - low) * np.array(volume.spacing_mm), dtype=np.float64)


def pair_maxima(volume: RegionVolume, grid: tuple[int, int, int]) -> FloatArray:
    """Return log(1 + SUVmax) per pair of cells, what a `Calibrator` takes in."""
    values, _, _ = coarse_maxima(volume, find_frame(volume), grid)
    return np.asarray(functional.max_pool3d(values[None], 2, ceil_mode=True)[0].numpy())


def find_spots(
    volume: RegionVolume, frame: Frame, calibration: RegionCalibration, most: int, floor_suv: float
) -> Spots:
    """Return up to `most` spots that exceed what is usual by the most, head to pelvis.

    A spot is a maximum over its 3x3x3 coarse cells, of SUV above `floor_suv`.
    """
    values, indices, box = coarse_maxima(volume, frame, calibration.grid)
    usual = [
        functional.interpolate(torch.from_numpy(part)[None, None], size=calibration.grid, mode="trilinear")[0, 0]
        for part in (calibration.mean, calibration.sd)
    ]
    score = (values - usual[0]) / usual[1]
    peak = score >= functional.max_pool3d(score[None], 3, 1, 1)[0]
    peak &= values > float(np.log1p(floor_suv))
    flat = indices[peak].numpy()
    scores = score[peak].numpy()
    # Cells of an adaptive pool overlap by a voxel: the same voxel may be the maximum of two.
    order = np.lexsort((flat, -scores))
    _, first = np.unique(flat[order], return_index=True)
    chosen = order[np.sort(first)][:most]
    shape = tuple(part.stop - part.start for part in box)
    index = np.stack(np.unravel_index(flat[chosen], shape), axis=-1) + np.array([part.start for part in box])
    down = np.lexsort((index[:, 2], index[:, 1], -index[:, 0]))
    return Spots(index[down].astype(np.int64), np.asarray(scores[chosen][down], dtype=np.float32))


def pack_calibrations(regions: Mapping[str, RegionCalibration]) -> dict[str, npt.NDArray[Any]]:
    """Return the calibrations as named arrays, to be saved with a model."""
    packed: dict[str, npt.NDArray[Any]] = {}
    for name, part in sorted(regions.items()):
        packed[f"{name}.grid"] = np.array(part.grid, dtype=np.int64)
        packed[f"{name}.mean"] = part.mean
        packed[f"{name}.sd"] = part.sd
    return packed


def unpack_calibrations(packed: Mapping[str, npt.NDArray[Any]]) -> dict[str, RegionCalibration]:
    """Undo `pack_calibrations`."""
    names = sorted(key.removesuffix(".grid") for key in packed if key.endswith(".grid"))
    regions = {}
    for name in names:
        depth, height, width = (int(cells) for cells in packed[f"{name}.grid"])
        regions[name] = RegionCalibration((depth, height, width), packed[f"{name}.mean"], packed[f"{name}.sd"])
    return regions
