"""Analytic shapes painted onto a voxel grid, with partial coverage at their edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Window = tuple[slice, slice, slice]
Channel = Literal["hu", "suv"]


@dataclass(frozen=True)
class Grid:
    """An axial voxel grid in DICOM patient coordinates.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    spacing_mm
        Distance of voxel centres (z, y, x).
    origin_mm
        LPS coordinates (x, y, z) of the centre of voxel (0, 0, 0); x grows to the patient's left, y to the back,
        z to the head.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @property
    def affine(self) -> list[list[float]]:
        """The 4x4 matrix from array index (z, y, x, 1) to LPS mm (x, y, z, 1)."""
        dz, dy, dx = self.spacing_mm
        x, y, z = self.origin_mm
        return [[0.0, 0.0, dx, x], [0.0, dy, 0.0, y], [dz, 0.0, 0.0, z], [0.0, 0.0, 0.0, 1.0]]

    def axis_mm(self, axis: int) -> FloatArray:
        """Return the patient coordinates of the voxel centres along array axis 0 (z), 1 (y) or 2 (x)."""
        start = self.origin_mm[2 - axis]
        return (start + np.arange(self.shape[axis]) * self.spacing_mm[axis]).astype(np.float32)

    def window(self, centre_mm: Sequence[float], half_mm: Sequence[float]) -> Window | None:
        """Return the slices (z, y, x) of voxels that a box can touch, or None when it misses the grid.

        `centre_mm` and `half_mm` are in (x, y, z).
        """
        slices = []
        for axis in range(3):
            step = self.spacing_mm[axis]
            middle = (centre_mm[2 - axis] - self.origin_mm[2 - axis]) / step
            reach = half_mm[2 - axis] / step + 1.0
            first = max(0, math.ceil(middle - reach))
            stop = min(self.shape[axis], math.floor(middle + reach) + 1)
            if first >= stop:
                return None
            slices.append(slice(first, stop))
        return slices[0], slices[1], slices[2]


@dataclass(frozen=True)
class Shape:
    """One homogeneous body part: an ellipsoid, or an upright elliptic cylinder; all in LPS mm (x, y, z)."""

    kind: Literal["ellipsoid", "cylinder"]
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    suv: float


@dataclass(frozen=True)
class Outline:
    """The skin of neck, trunk and thighs: an ellipse at each height `z_mm` (ascending), fat outside, muscle inside."""

    z_mm: tuple[float, ...]
    half_width_mm: tuple[float, ...]
    half_depth_mm: tuple[float, ...]
    centre_y_mm: tuple[float, ...]
    centre_x_mm: float
    muscle_fraction: float
    fat: tuple[float, float]
    muscle: tuple[float, float]


@dataclass(frozen=True)
class Ribs:
    """Slanted bony stripes in an elliptic shell between two heights; they show on CT only."""

    z_mm: tuple[float, float]
    centre_mm: tuple[float, float]
    half_width_mm: float
    half_depth_mm: float
    inner: float
    pitch_mm: float
    slant: float
    hu: float


def cover(shape: Shape, grid: Grid) -> tuple[Window, FloatArray] | None:
    """Return the window of `grid` around `shape` and how much of each voxel it fills (0..1), or None outside."""
    window = grid.window(shape.centre_mm, shape.radii_mm)
    if window is None:
        return None
    terms = []
    edges = []
    for axis in range(3):
        radius = shape.radii_mm[2 - axis]
        offset = grid.axis_mm(axis)[window[axis]] - np.float32(shape.centre_mm[2 - axis])
        terms.append(offset / np.float32(radius))
        edges.append(radius / grid.spacing_mm[axis])
    z, y, x = terms
    # Close to the surface the distance to it in voxels is (1 - q) / 2 * radius / spacing, without a square root.
    if shape.kind == "cylinder":
        slope = np.float32(min(edges[1:]) / 2)
        disc = np.clip(0.5 + slope - slope * ((y * y)[:, None] + (x * x)[None, :]), 0, 1)
        ends = np.clip(np.float32(edges[0]) * (1 - np.abs(z)) + np.float32(0.5), 0, 1)
        return window, ends[:, None, None] * disc[None]
    slope = np.float32(min(edges) / 2)
    quadric = (z * z)[:, None, None] + ((y * y)[:, None] + (x * x)[None, :])[None]
    return window, np.clip(np.float32(0.5) + slope - slope * quadric, 0, 1)


def lesion_cover(
    centre_mm: Sequence[float], radii_mm: Sequence[float], grid: Grid, fwhm_mm: float
) -> tuple[Window, FloatArray] | None:
    """Return the share of each voxel's signal that comes from a lesion, blurred by a Gaussian of `fwhm_mm`.

    The ellipsoid is drawn on sub-voxels of at most 2 mm, blurred there and averaged, so that the partial-volume loss
    of a lesion as small as the voxels is right. `fwhm_mm` 0 leaves it sharp. None when the grid does not show it.
    """
    from scipy.ndimage import gaussian_filter

    margin = 1.5 * fwhm_mm
    window = grid.window(centre_mm, [radius + margin for radius in radii_mm])
    if window is None:
        return None
    quadric: FloatArray = np.zeros((1, 1, 1), np.float32)
    factors = []
    for axis in range(3):
        factor = math.ceil(grid.spacing_mm[axis] / 2)
        step = grid.spacing_mm[axis] / factor
        middle = grid.axis_mm(axis)[window[axis]].astype(np.float64)
        fine = (middle[:, None] + (np.arange(factor) - (factor - 1) / 2) * step).ravel()
        term = ((fine - centre_mm[2 - axis]) / radii_mm[2 - axis]) ** 2
        quadric = quadric + term.astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        factors.append((factor, step))
    slope = np.float32(min(radii_mm) / 2 / 2)
    inside = np.clip(np.float32(0.5) + slope - slope * quadric, 0, 1)
    if fwhm_mm:
        sigma = fwhm_mm / math.sqrt(8 * math.log(2))
        inside = gaussian_filter(inside, [sigma / step for _, step in factors], mode="constant", truncate=3)
    counts = [size // factor for size, (factor, _) in zip(inside.shape, factors, strict=True)]
    (fz, _), (fy, _), (fx, _) = factors
    blocks = inside.reshape(counts[0], fz, counts[1], fy, counts[2], fx)
    return window, blocks.mean(axis=(1, 3, 5), dtype=np.float32)


def paint(
    grid: Grid, outline: Outline, parts: Sequence[Shape], ribs: Ribs, channels: Sequence[Channel]
) -> dict[Channel, FloatArray]:
    """Draw the body on `grid`; later parts cover earlier ones.

    Returns
    -------
    dict
        For each of `channels` a float32 volume (z, y, x): ``hu`` (air -1000) or ``suv`` (air 0), without noise or blur.
    """
    volumes: dict[Channel, FloatArray] = {}
    for channel in channels:
        volumes[channel] = np.full(grid.shape, -1000 if channel == "hu" else 0, np.float32)
    skin, muscle = _outline_cover(outline, grid)
    for channel, volume in volumes.items():
        fat_value, muscle_value = (pair[0 if channel == "hu" else 1] for pair in (outline.fat, outline.muscle))
        volume += skin * np.float32(fat_value - (-1000 if channel == "hu" else 0))
        volume += muscle * np.float32(muscle_value - fat_value)
    for part in parts:
        covered = cover(part, grid)
        if covered is None:
            continue
        window, share = covered
        for channel, volume in volumes.items():
            blend(volume[window], share, part.hu if channel == "hu" else part.suv)
    if "hu" in volumes:
        covered = _rib_cover(ribs, grid)
        if covered is not None:
            blend(volumes["hu"][covered[0]], covered[1], ribs.hu)
    return volumes


def blend(target: FloatArray, share: FloatArray, value: float) -> None:
    """Move `target` towards `value` in place, by `share` (0..1) of each voxel."""
    target += share * (np.float32(value) - target)


def _outline_cover(outline: Outline, grid: Grid) -> tuple[FloatArray, FloatArray]:
    z = grid.axis_mm(0).astype(np.float64)

    def at(values: Sequence[float]) -> FloatArray:
        return np.interp(z, outline.z_mm, values, left=values[0], right=values[-1]).astype(np.float32)

    width, depth, middle = at(outline.half_width_mm), at(outline.half_depth_mm), at(outline.centre_y_mm)
    x = (grid.axis_mm(2) - np.float32(outline.centre_x_mm))[None, :] / width[:, None]
    y = (grid.axis_mm(1)[None, :] - middle[:, None]) / depth[:, None]
    quadric: FloatArray = (y * y)[:, :, None] + (x * x)[:, None, :]
    slope: FloatArray = np.asarray(np.minimum(width, depth), np.float32)[:, None, None]
    slope = slope / np.float32(2 * max(grid.spacing_mm[1:]))
    in_body: FloatArray = (z <= outline.z_mm[-1])[:, None, None].astype(np.float32)
    skin = np.clip(np.float32(0.5) + slope * (1 - quadric), 0, 1) * in_body
    inner = np.float32(outline.muscle_fraction)
    muscle = np.clip(np.float32(0.5) + slope * (inner - quadric), 0, 1) * in_body
    return skin, muscle


def _rib_cover(ribs: Ribs, grid: Grid) -> tuple[Window, FloatArray] | None:
    low, high = ribs.z_mm
    centre = (*ribs.centre_mm, (low + high) / 2)
    window = grid.window(centre, (ribs.half_width_mm, ribs.half_depth_mm, (high - low) / 2))
    if window is None:
        return None
    z, y, x = (grid.axis_mm(axis)[window[axis]] for axis in range(3))
    across = (x - np.float32(centre[0])) / np.float32(ribs.half_width_mm)
    back = (y - np.float32(centre[1])) / np.float32(ribs.half_depth_mm)
    quadric = (back * back)[:, None] + (across * across)[None, :]
    shell = ((quadric <= 1) & (quadric >= ribs.inner)).astype(np.float32)
    phase = (z[:, None] + np.float32(ribs.slant) * (y - np.float32(centre[1]))[None, :]) / np.float32(ribs.pitch_mm)
    stripe = (np.abs(phase - np.round(phase)) < 0.22).astype(np.float32)
    return window, stripe[:, :, None] * shell[None]
