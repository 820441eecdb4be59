"""From slice positions to one grid: order, evenness, verdict, and the affine to LPS mm.

Slices are ordered by Image Position (Patient) along the slice normal, never by number or name. A stack becomes one
right volume or a `RecordError`; what was done to get there is in the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError

Array = npt.NDArray[np.float64]
Verdict = Literal["even", "uneven", "tilt", "single", "given", "unknown"]

EVEN_MM = 0.1
EVEN_FRACTION = 0.05
"""An even grid may miss a slice position by min(EVEN_MM, EVEN_FRACTION of the spacing)."""
_SAME_DIRECTION = 1e-4
_SAME_SPACING = 1e-4
_ORTHONORMAL = 1e-3
_DUPLICATE_FRACTION = 0.02
_WIDEST_GAP = 3.5
_TILT_DEGREES = 0.1
_SPACING_MM = (0.01, 100.0)


@dataclass(frozen=True)
class SlicePlane:
    """Where one image lies (PS3.3 C.7.6.2): LPS mm.

    Attributes
    ----------
    position
        Centre of the first voxel, Image Position (Patient).
    row, column
        Directions of increasing column and row index, Image Orientation (Patient).
    spacing
        (between rows, between columns), Pixel Spacing.
    shape
        (rows, columns).
    number
        Instance Number: evidence on whether a wide gap was scanned so, never an order.
    acquisition
        Acquisition Number: slices of two acquisitions may follow each other, not alternate.
    """

    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    number: int | None = None
    acquisition: int | None = None
    thickness_mm: float | None = None


@dataclass(frozen=True)
class Grid:
    """A grid of voxels: `affine` maps index (z, y, x, 1) to LPS mm; it may be sheared (gantry tilt)."""

    shape: tuple[int, int, int]
    affine: Array

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along each axis (z, y, x)."""
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])

    @property
    def directions(self) -> Array:
        """3x3 unit vectors of the axes, in columns."""
        return np.asarray(self.affine[:3, :3] / np.array(self.spacing_mm))


@dataclass(frozen=True)
class Stack:
    """Slices put in order.

    Attributes
    ----------
    order
        Indices into the slices as given, along the normal.
    grid
        Of the ordered slices as stored; for an uneven stack the even grid to resample onto.
    positions
        Where each ordered slice lies along the first axis of `grid`, in index units (0, 1, 2, ... for even stacks).
    verdict
        ``given``: a grid that a file states as a whole; ``unknown``: no file states any.
    deviation_mm
        Largest distance of a slice from the best even grid.
    """

    order: tuple[int, ...]
    grid: Grid
    positions: Array
    verdict: Verdict
    deviation_mm: float
    tilt_deg: float = 0.0


def stated_stack(grid: Grid, *, known: bool = True) -> Stack:
    """Return the stack of a volume that comes as one array: its slices are where the file says, or nobody knows where.

    The first axis of the array may lean on the two others, as slices of a tilted gantry do.
    """
    directions = grid.directions
    normal = np.cross(directions[:, 1], directions[:, 2])
    length = float(np.linalg.norm(normal))
    upright = abs(float(directions[:, 0] @ normal)) / length if known and length else 1.0
    lean = float(np.degrees(np.arccos(min(1.0, upright))))
    count = grid.shape[0]
    tilt = lean if lean > _TILT_DEGREES else 0.0
    verdict: Verdict = "unknown" if not known else "tilt" if tilt else "given"
    return Stack(tuple(range(count)), grid, np.arange(count, dtype=np.float64), verdict, 0.0, tilt)


def stack_slices(planes: Sequence[SlicePlane]) -> Stack:
    """Put the slices of one series in order and judge their geometry.

    Raises
    ------
    RecordError
        ``geometry_mixed_orientation``, ``geometry_mixed_size``, ``geometry_mixed_spacing``,
        ``geometry_absurd_spacing``, ``geometry_bad_orientation``, ``geometry_duplicate_slice``,
        ``geometry_missing_slice``, ``geometry_shifted_slice``, ``geometry_mixed_acquisitions``,
        ``geometry_single_slice``: there is no one right volume of these slices.
    """
    first = _require_alike(planes)
    row, column, normal = _axes(first)
    position = np.array([plane.position for plane in planes], dtype=np.float64)
    along = position @ normal
    order = np.argsort(along, kind="stable")
    position, along = position[order], along[order]
    numbers = [planes[i].number for i in order]
    if len(planes) == 1:
        thickness = first.thickness_mm
        if thickness is None or thickness <= 0:
            _refuse("geometry_single_slice", "one slice of unknown thickness is no volume")
        grid = _grid(position[0], normal * thickness, column, row, first, 1)
        return Stack((0,), grid, np.zeros(1), "single", 0.0)
    _require_distinct(along)
    _require_acquisitions_apart([planes[i].acquisition for i in order])
    count, deviation = _even_count(along, numbers)
    direction, tilt = _stacking_direction(position, along, normal)
    verdict: Verdict = "even"
    if count is None:
        count, verdict = len(along), "tilt" if tilt else "even"
    else:
        verdict = "uneven"
    origin, step = _even_line(along, count, exact=verdict == "uneven")
    start = position[0] + (origin - along[0]) * direction
    grid = _grid(start, step * direction, column, row, first, count)
    positions = (along - origin) / step if verdict == "uneven" else np.arange(count, dtype=np.float64)
    return Stack(tuple(int(i) for i in order), grid, positions, verdict, deviation, tilt)


def _require_alike(planes: Sequence[SlicePlane]) -> SlicePlane:
    if not planes:
        _refuse("geometry_single_slice", "the series has no slices")
    first = planes[0]
    orientation = np.array([*first.row, *first.column])
    for plane in planes[1:]:
        same = (plane.row, plane.column, plane.shape, plane.spacing)
        if same == (first.row, first.column, first.shape, first.spacing):
            continue
        if np.abs(np.array([*plane.row, *plane.column]) - orientation).max() > _SAME_DIRECTION:
            _refuse("geometry_mixed_orientation", "the slices of the series have different orientations")
        if plane.shape != first.shape:
            _refuse("geometry_mixed_size", "the slices of the series have different numbers of rows or columns")
        if not np.allclose(plane.spacing, first.spacing, rtol=_SAME_SPACING, atol=0):
            _refuse("geometry_mixed_spacing", "the slices of the series have different pixel spacings")
    if not all(_SPACING_MM[0] <= spacing <= _SPACING_MM[1] for spacing in first.spacing):
        _refuse("geometry_absurd_spacing", "Pixel Spacing (0028,0030) is no distance in mm")
    return first


def _axes(plane: SlicePlane) -> tuple[Array, Array, Array]:
    row, column = np.array(plane.row, dtype=np.float64), np.array(plane.column, dtype=np.float64)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > _ORTHONORMAL or abs(lengths[1] - 1) > _ORTHONORMAL or abs(row @ column) > _ORTHONORMAL:
        _refuse("geometry_bad_orientation", "Image Orientation (Patient) is not a pair of perpendicular unit vectors")
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal)


def _require_distinct(along: Array) -> None:
    gaps = np.diff(along)
    closest = max(0.01, _DUPLICATE_FRACTION * float(np.median(gaps)))
    repeated = int(np.count_nonzero(gaps < closest))
    if repeated:
        _refuse("geometry_duplicate_slice", f"{repeated} slice positions of the series are taken twice")


def _require_acquisitions_apart(acquisitions: Sequence[int | None]) -> None:
    """Refuse two acquisitions of the same region whose slices happen to lie between each other.

    Beds and helical parts follow each other, perhaps with an overlap of some slices. Sequential scanners number every
    rotation anew; those numbers do not come back further on.
    """
    turns = [number for place, number in enumerate(acquisitions) if place == 0 or number != acquisitions[place - 1]]
    different = len(set(turns))
    if different > 1 and len(turns) >= len(acquisitions) / 2 and len(turns) >= 2 * different:
        _refuse("geometry_mixed_acquisitions", "the slices of several acquisitions alternate in one series")


def _even_count(along: Array, numbers: Sequence[int | None]) -> tuple[int | None, float]:
    """Return (slices of the even grid to resample onto, or None where the stack is even already; deviation in mm)."""
    gaps = np.diff(along)
    typical = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    origin, step = _even_line(along, len(along))
    deviation = float(np.abs(along - origin - step * np.arange(len(along))).max())
    if deviation <= min(EVEN_MM, EVEN_FRACTION * step):
        return None, deviation
    for index, gap in enumerate(gaps):
        if gap / typical > _WIDEST_GAP:
            _refuse("geometry_missing_slice", f"a gap of {gap / typical:.1f} slices in the series")
        # Where half of the slices are gone, the typical gap is a wide one itself.
        for unit in (typical, float(gaps.min())):
            missing = round(gap / unit) - 1
            is_multiple = abs(gap / unit - missing - 1) <= 0.1
            skips = _step_in_number(numbers, index)
            if missing >= 1 and (skips not in (None, 1) or (is_multiple and skips is None)):
                _refuse("geometry_missing_slice", f"{missing} or more slices are missing in the series")
    return round((along[-1] - along[0]) / typical) + 1, deviation


def _step_in_number(numbers: Sequence[int | None], index: int) -> int | None:
    """Return by how much Instance Number steps over a gap: 1 means that it was scanned so; None where it is unknown."""
    below, above = numbers[index], numbers[index + 1]
    return None if below is None or above is None else abs(above - below)


def _even_line(along: Array, count: int, *, exact: bool = False) -> tuple[float, float]:
    """Return (origin, step) of an even grid: through both ends where that fits, else by least squares."""
    origin, step = float(along[0]), float(along[-1] - along[0]) / (count - 1)
    index = np.arange(len(along))
    if exact or np.abs(along - origin - step * index).max() <= min(EVEN_MM, EVEN_FRACTION * step):
        return origin, step
    slope, intercept = np.polyfit(index, along, 1)
    return float(intercept), float(slope)


def _stacking_direction(position: Array, along: Array, normal: Array) -> tuple[Array, float]:
    """Return (step from slice to slice per mm along the normal, tilt in degrees or 0 for none).

    A lateral shift that grows with the position is a tilted gantry; any other shift belongs to no one volume.
    """
    lateral = position - along[:, None] * normal
    centred = along - along.mean()
    growth = centred @ (lateral - lateral.mean(axis=0)) / (centred @ centred)
    residual = lateral - lateral.mean(axis=0) - centred[:, None] * growth
    if np.linalg.norm(residual, axis=1).max() > EVEN_MM:
        _refuse("geometry_shifted_slice", "slices of the series are shifted against each other")
    drift = float(np.linalg.norm(growth)) * float(along[-1] - along[0])
    if drift <= 1e-3:
        return normal, 0.0
    degrees = float(np.degrees(np.arctan(np.linalg.norm(growth))))
    # Below this the drift is the rounding of the orientation; the affine still carries it exactly.
    return normal + growth, degrees if degrees > _TILT_DEGREES and drift > EVEN_MM else 0.0


def _grid(start: Array, step: Array, column: Array, row: Array, plane: SlicePlane, count: int) -> Grid:
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column * plane.spacing[0]
    affine[:3, 2] = row * plane.spacing[1]
    affine[:3, 3] = start
    return Grid((count, *plane.shape), affine)


def canonical_axes(grid: Grid) -> tuple[Grid, tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return the same voxels as axes (z, y, x) that run to the head, back and left, as near as flips and swaps get.

    Returns
    -------
    tuple
        The grid, the order of its axes in the old array, and which of them to flip after that.
    """
    cosines = grid.directions
    order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[2 - i, p[i]]) for i in range(3)))
    flips = tuple(bool(cosines[2 - i, order[i]] < 0) for i in range(3))
    affine = np.eye(4)
    affine[:3, 3] = grid.affine[:3, 3]
    for i, axis in enumerate(order):
        vector = grid.affine[:3, axis]
        affine[:3, i] = -vector if flips[i] else vector
        if flips[i]:
            affine[:3, 3] += vector * (grid.shape[axis] - 1)
    shape = (grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]])
    return Grid(shape, affine + 0.0), (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def axis_names(grid: Grid) -> tuple[str, float]:
    """Return where the axes (z, y, x) of a grid point, and how far the most oblique one is off, in degrees.

    Returns
    -------
    tuple
        Three letters of L(eft), R(ight), P(osterior), A(nterior), S(uperior), I(nferior), one for each axis, and the
        angle: ``SPL`` of a patient on the back.
    """
    cosines = grid.directions
    _, order, flips = canonical_axes(grid)
    names = {axis: pair[flip] for axis, pair, flip in zip(order, ("SI", "PA", "LR"), flips, strict=True)}
    nearest = [abs(float(cosines[2 - i, axis])) for i, axis in enumerate(order)]
    return "".join(names[axis] for axis in range(3)), float(np.degrees(np.arccos(min(1.0, *nearest))))


def to_canonical(array: npt.NDArray[Any], grid: Grid) -> tuple[npt.NDArray[Any], Grid]:
    """Return `array` and its grid with axes (z, y, x) towards head, back and left (`canonical_axes`)."""
    turned, order, flips = canonical_axes(grid)
    view = array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return np.ascontiguousarray(view), turned


def extent_mm(grid: Grid) -> tuple[Array, Array]:
    """Return the lowest and highest LPS x, y and z of the outer faces of a grid."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, -1)
    world = grid.affine[:3, :3] @ corners + grid.affine[:3, 3:]
    return world.min(axis=1), world.max(axis=1)


def _refuse(code: str, message: str) -> NoReturn:
    raise RecordError(code, message)
