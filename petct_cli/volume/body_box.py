"""The box around the body, for ``--crop body``: from the CT without its couch, from the PET where no CT looks.

The body is found on a coarse even grid in patient coordinates, so that the box does not depend on the pixel size of a
series. In doubt a part is kept: arms beside or above the body belong to it, only what is thin or has one
and the same section along the whole scan (a couch) does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.geometry import Array, Grid
from petct_cli.volume.resample import isotropic_grid, resample, straight_grid

Mask = npt.NDArray[np.bool_]
Region = tuple[slice, slice, slice]
Seen = Literal["CT", "PT", "CT+PT"]
Placed = tuple[npt.NDArray[Any], Grid]

_CT_STEP_MM = 4.0
_PET_STEP_MM = 8.0
_BODY_HU = -400.0
_BODY_SUV = 0.1
"""Below fat and lung of a fasting patient (0.2 and more), above the noise of the air around, averaged over 8 mm."""
_BODY_SHARE = 0.01
"""Where the unit is no SUV: this share of the brightest per mille."""
_PART_CM3 = 50.0
_COUCH_LENGTH_MM = 200.0
_COUCH_SAME = 0.8
_REGROWN = 2
_ROUNDING = 1e-6
_AIR_HU = -1024.0


@dataclass(frozen=True)
class BodyBox:
    """Corners of the box or boxes that hold the body, (n, 3) LPS mm, and what it was seen in."""

    corners: Array
    seen_in: Seen


def find_body(ct: Placed | None, pet: Placed | None, *, is_suv: bool = True) -> BodyBox:
    """Return the box around the body in patient coordinates.

    Parameters
    ----------
    ct
        HU and their grid, axes (z, y, x) towards head, back and left; it may be sheared (gantry tilt).
    pet
        PET and its grid. With a CT, only what lies outside of the CT's field of view counts: arms beyond its edge, legs
        below its end.
    is_suv
        Whether the PET is in SUV.

    Raises
    ------
    RecordError
        ``crop_no_body``: nothing of the size of a body part is in the picture.
    """
    found: list[tuple[Seen, Array]] = []
    if ct is not None:
        coarse = _coarse(*ct, _CT_STEP_MM, _AIR_HU)
        mask = _body_parts(coarse[0] > _BODY_HU, _CT_STEP_MM)
        if not mask.any():
            raise _no_body("CT")
        found.append(("CT", _corners(mask, coarse[1])))
    if pet is not None:
        values, grid = _coarse(*pet, _PET_STEP_MM, 0.0)
        level = _BODY_SUV if is_suv else _BODY_SHARE * float(np.quantile(values, 0.999))
        mask = _body_parts(values > level, _PET_STEP_MM)
        if ct is not None:
            mask &= _outside(grid, ct[1])
        if mask.any():
            found.append(("PT", _corners(mask, grid)))
    if not found:
        raise _no_body("PET")
    seen: Seen = "CT+PT" if len(found) == 2 else found[0][0]
    return BodyBox(np.concatenate([corners for _, corners in found]), seen)


def region_of(box: BodyBox, grid: Grid, margin_mm: float) -> Region:
    """Return the voxels of a grid that cover the body and a margin around it, as far as the grid goes.

    Raises
    ------
    RecordError
        ``crop_no_body``: the grid does not reach the body.
    """
    inverse = np.linalg.inv(grid.affine)
    index = inverse[:3, :3] @ box.corners.T + inverse[:3, 3:]
    margin = margin_mm / np.array(grid.spacing_mm)
    low = np.floor(index.min(axis=1) - margin + 0.5 + _ROUNDING).astype(int)
    high = np.ceil(index.max(axis=1) + margin + 0.5 - _ROUNDING).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
    if (low >= high).any():
        raise _no_body("output grid")
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def cropped_grid(grid: Grid, region: Region) -> Grid:
    """Return the grid of a region: every voxel keeps its patient coordinates."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ np.array([one.start for one in region], np.float64)
    z, y, x = (one.stop - one.start for one in region)
    return Grid((z, y, x), affine)


def _no_body(where: str) -> RecordError:
    return RecordError("crop_no_body", f"no body is seen in the {where}", "convert it with --crop none")


def _coarse(array: npt.NDArray[Any], grid: Grid, step_mm: float, fill: float) -> Placed:
    """Return a volume on an even grid; of voxels much finer than that every so-many-th is enough to tell a body."""
    strides = [max(1, int(step_mm / 2 / spacing)) for spacing in grid.spacing_mm]
    array = array[tuple(slice(None, None, stride) for stride in strides)]
    grid = Grid((array.shape[0], array.shape[1], array.shape[2]), grid.affine @ np.diag([*strides, 1.0]))
    directions = grid.directions
    sheared = not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)
    target = isotropic_grid(straight_grid(grid) if sheared else grid, step_mm)
    return resample(array, grid, target, fill), target


def _body_parts(mask: Mask, step_mm: float) -> Mask:
    """Return the largest part of a mask and what else is as large as an arm, without couch, lines and specks."""
    from scipy.ndimage import binary_dilation, binary_opening, label

    # In-plane, as a couch is thin across and not along: three cells take its shell off the body that it touches.
    labels, count = label(binary_opening(mask, np.ones((1, 3, 3), np.bool_)))
    if not count:
        return np.zeros(mask.shape, np.bool_)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    kept = [
        int(part)
        for part in np.flatnonzero(sizes * (step_mm / 10) ** 3 >= _PART_CM3)
        if part == largest or not _is_couch(labels == part, step_mm)
    ]
    parts = np.isin(labels, [*kept, largest])
    grown: Mask = binary_dilation(parts, iterations=_REGROWN, mask=mask)
    return grown


def _is_couch(part: Mask, step_mm: float) -> bool:
    """Say whether a part goes through the whole scan with one and the same section, as no arm does."""
    planes = np.flatnonzero(part.any(axis=(1, 2)))
    if len(planes) * step_mm < _COUCH_LENGTH_MM or len(planes) < 0.9 * len(part):
        return False
    through = part[planes[0] : planes[-1] + 1]
    return bool(np.median(through, axis=0).sum() > 0 and _sameness(through) > _COUCH_SAME)


def _sameness(part: Mask) -> float:
    """Return the share of the typical section that a section has in common with it, averaged over the sections."""
    typical = part.mean(axis=0) >= 0.5
    both = (part & typical).sum(axis=(1, 2))
    either = np.maximum((part | typical).sum(axis=(1, 2)), 1)
    return float((both / either).mean())


def _corners(mask: Mask, grid: Grid) -> Array:
    edges = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        edges.append((filled[0] - 0.5, filled[-1] + 0.5))
    index = np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1)
    return np.asarray((grid.affine[:3, :3] @ index + grid.affine[:3, 3:]).T, np.float64)


def _outside(grid: Grid, field: Grid) -> Mask:
    """Return which voxel centres of a grid lie outside of another's volume."""
    relative = np.linalg.solve(field.affine, grid.affine)
    z, y, x = (np.arange(n, dtype=np.float64) for n in grid.shape)
    outside = np.zeros(grid.shape, np.bool_)
    for axis in range(3):
        row = relative[axis]
        place = row[0] * z[:, None, None] + row[1] * y[None, :, None] + row[2] * x[None, None, :] + row[3]
        outside |= (place < -0.5) | (place > field.shape[axis] - 0.5)
    return outside
