"""NIfTI volumes as others deliver them: read whole, placed as their header says, or refused with a code."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import InputError, RecordError
from petct_cli.volume import nifti
from petct_cli.volume.geometry import Array, Grid

SAME_PLACE = 0.1
"""The two transforms of a header may place a corner of the volume this far from each other, in voxels."""
_SPACING_MM = (0.01, 100.0)
_MILLIMETRES, _UNKNOWN = 2, 0
_SPACE_UNITS = 7


def read_nifti(path: Path) -> tuple[npt.NDArray[Any], Grid]:
    """Return the voxels as stored (scaled where the header scales them), axes (z, y, x), and where they lie.

    Parameters
    ----------
    path
        A NIfTI-1 single file, ``.nii`` or ``.nii.gz``.

    Raises
    ------
    RecordError
        ``nifti_damaged``: cut short, a damaged gzip stream, not NIfTI-1, not one volume. ``nifti_no_geometry``: neither
        transform of the header is set, so that nobody knows which way is up. ``nifti_transforms_disagree``: sform and
        qform place the volume differently. ``nifti_bad_affine``: no grid in mm. ``array_not_finite``.
    """
    try:
        data = nifti.read_bytes(path)
        array, affine = nifti.decode(data, read_only=True)
    except InputError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise RecordError("nifti_damaged", message, "copy the file again") from None
    except (struct.error, ValueError, OverflowError, EOFError):
        raise RecordError("nifti_damaged", f"{path}: the header is none of NIfTI-1") from None
    if affine is None:
        raise RecordError(
            "nifti_no_geometry", f"{path}: neither sform nor qform is set, so the orientation is unknown", "set one"
        )
    shape = (array.shape[0], array.shape[1], array.shape[2])
    _require_grid(path, data, affine)
    _require_agreement(path, data, affine, shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RecordError("array_not_finite", f"{path}: there are voxels that are no numbers (NaN or infinite)")
    return array, Grid(shape, affine)


def _require_grid(path: Path, data: bytes, affine: Array) -> None:
    units = data[123] & _SPACE_UNITS
    steps = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    in_range = bool(((steps >= _SPACING_MM[0]) & (steps <= _SPACING_MM[1])).all())
    if units not in (_UNKNOWN, _MILLIMETRES) or not in_range:
        raise RecordError("nifti_bad_affine", f"{path}: the voxels have no size in mm")
    if abs(float(np.linalg.det(affine[:3, :3] / steps))) < 0.1:
        raise RecordError("nifti_bad_affine", f"{path}: the axes of the volume do not span space")


def _require_agreement(path: Path, data: bytes, affine: Array, shape: tuple[int, int, int]) -> None:
    """Hold sform and qform, where both are set, against each other at every corner of the volume."""
    other = nifti.qform_affine(data)
    if other is None:
        return
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    ones = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.linalg.norm(((other - affine) @ ones)[:3], axis=0).max()
    if not apart <= SAME_PLACE * float(np.linalg.norm(affine[:3, :3], axis=0).min()):
        raise RecordError(
            "nifti_transforms_disagree",
            f"{path}: sform and qform place the volume differently, by up to {apart:.1f} mm",
            "unset the wrong one",
        )
