"""Volumes from one grid to another: linear where samples get denser, box-averaged where they get sparser.

Along each axis an output voxel is the mean of the input's linear interpolation over a width that grows with its own, so
that coarser grids average noise away instead of picking samples. Grids with parallel axes are done axis by axis
(`petct_cli.volume.separable`); others (oblique against straight, gantry tilt) go through SimpleITK after a Gaussian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.volume.geometry import Array, Grid
from petct_cli.volume.separable import as_type, axis_weights, separable_floats, separable_integers

_PARALLEL = 1e-4
_FWHM_TO_SIGMA = 1.0 / 2.354820045


def resample(array: npt.NDArray[Any], source: Grid, target: Grid, fill: float, threads: int = 1) -> npt.NDArray[Any]:
    """Return `array` on another grid, in its own type (integers are rounded).

    Parameters
    ----------
    array
        Shape ``source.shape``, axes (z, y, x). Where the grids are parallel and differ, anything that gives its slices
        by number will do.
    fill
        Value where the centre of an output voxel lies outside of the source volume.
    threads
        How many to use; the result does not depend on it.
    """
    if is_same_grid(source, target):
        return array
    if is_parallel(source, target):
        return _separable(array, source, target, fill, threads)
    return _oblique(array, source, target, fill)


def is_same_grid(one: Grid, other: Grid) -> bool:
    """Say whether voxels of two grids lie at the same places."""
    return one.shape == other.shape and np.allclose(one.affine, other.affine, atol=1e-6)


def is_parallel(source: Grid, target: Grid) -> bool:
    """Say whether the axes of two grids run the same way, as near as it shows in their voxels."""
    relative = np.linalg.solve(source.affine[:3, :3], target.affine[:3, :3])
    steps = np.abs(relative).max(axis=0)
    off_axis = relative - np.diag(np.diag(relative))
    # What matters is how far an axis strays over the whole volume, in source voxels.
    stray = np.abs(off_axis) * np.array(target.shape)
    return bool((np.diag(relative) > 0).all() and (stray <= np.maximum(0.02, _PARALLEL * steps)).all())


def _separable(array: npt.NDArray[Any], source: Grid, target: Grid, fill: float, threads: int) -> npt.NDArray[Any]:
    relative = np.linalg.solve(source.affine, target.affine)
    z, y, x = (
        axis_weights(source.shape[axis], target.shape[axis], relative[axis, axis], relative[axis, 3])
        for axis in range(3)
    )
    result = np.full(target.shape, fill, array.dtype)
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        separable_integers(array, (z, y, x), result[z.inside, y.inside, x.inside], threads)
    else:
        separable_floats(array, (z, y, x), result[z.inside, y.inside, x.inside], threads)
    return result


def _oblique(array: npt.NDArray[Any], source: Grid, target: Grid, fill: float) -> npt.NDArray[Any]:
    import SimpleITK

    relative = np.linalg.solve(source.affine, target.affine)
    step = np.linalg.norm(relative[:3, :3], axis=1)
    image = SimpleITK.GetImageFromArray(array.astype(np.float32))
    # A Gaussian as wide as what the output voxel adds to the input voxel, in voxels (x, y, z) of the source.
    widths = [float(_FWHM_TO_SIGMA * np.sqrt(max(s * s - 1.0, 0.0))) for s in step]
    variance = [widths[2] ** 2, widths[1] ** 2, widths[0] ** 2]
    if max(variance) > 0.01:
        smooth = SimpleITK.DiscreteGaussianImageFilter()
        smooth.SetNumberOfThreads(1)  # --jobs is how petct uses more cores
        smooth.SetUseImageSpacing(False)
        smooth.SetVariance(variance)
        image = smooth.Execute(image)
    # Both grids are given to ITK as bare indices; the transform between them may shear, which image directions may not.
    flip = [2, 1, 0]
    matrix = relative[:3, :3][np.ix_(flip, flip)]
    transform = SimpleITK.AffineTransform(matrix.ravel().tolist(), relative[:3, 3][flip].tolist())
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetSize([int(target.shape[i]) for i in flip])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(SimpleITK.sitkLinear)
    resampler.SetDefaultPixelValue(fill)
    return as_type(SimpleITK.GetArrayFromImage(resampler.Execute(image)), array.dtype)


def even_slices(array: npt.NDArray[Any], positions: Array, count: int) -> npt.NDArray[Any]:
    """Return slices at 0, 1, ... `count` - 1 along the first axis, linear between slices at `positions` (ascending)."""
    upper = np.clip(np.searchsorted(positions, np.arange(count)), 1, len(positions) - 1)
    lower = upper - 1
    share = np.clip((np.arange(count) - positions[lower]) / (positions[upper] - positions[lower]), 0.0, 1.0)
    result = np.empty((count, *array.shape[1:]), array.dtype)
    for z in range(count):
        low, high = array[lower[z]].astype(np.float32), array[upper[z]].astype(np.float32)
        result[z] = as_type(low + np.float32(share[z]) * (high - low), array.dtype)
    return result


def straight_grid(grid: Grid) -> Grid:
    """Return the grid along the patient axes that covers a sheared one, with its spacings.

    `grid` has axes (z, y, x) towards head, back and left (`canonical_axes`): the table moves along z, only the slices
    of a tilted gantry lean.
    """
    spacing = np.array(grid.spacing_mm)
    axes = np.fliplr(np.eye(3))
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape], indexing="ij")).reshape(3, -1)
    world = grid.affine[:3, :3] @ corners + grid.affine[:3, 3:]
    along = axes.T @ world
    low, high = along.min(axis=1), along.max(axis=1)
    shape = np.maximum(np.rint((high - low) / spacing), 1).astype(int)
    return _axis_grid(axes, spacing, low, high, shape)


def isotropic_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Return a grid of cubic voxels over the extent of `grid`, along its axes."""
    extent = np.array(grid.shape) * np.array(grid.spacing_mm)
    shape = np.maximum(np.ceil(extent / spacing_mm - 1e-6), 1).astype(int)
    directions = grid.directions
    centre = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2.0) + grid.affine[:3, 3]
    along = directions.T @ centre if _is_orthonormal(directions) else np.linalg.solve(directions, centre)
    half = shape * spacing_mm / 2.0
    return _axis_grid(directions, np.full(3, spacing_mm), along - half, along + half, shape)


def _is_orthonormal(directions: Array) -> bool:
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-6))


def _axis_grid(directions: Array, spacing: Array, low: Array, high: Array, shape: npt.NDArray[np.int_]) -> Grid:
    first = (low + high) / 2.0 - spacing * (shape - 1) / 2.0
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = directions @ first
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
