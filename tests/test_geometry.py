"""Slices to grids and grids to grids: one right volume at every patient coordinate, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.core.errors import RecordError
from petct_cli.volume.geometry import Grid, SlicePlane, extent_mm, stack_slices, to_canonical
from petct_cli.volume.resample import even_slices, isotropic_grid, resample, straight_grid
from petct_cli.volume.separable import AxisWeights, axis_weights, separable_integers

PLANE = SlicePlane((0, 0, 0), (1, 0, 0), (0, 1, 0), (2.0, 1.5), (4, 5))


def planes(z: Sequence[float], **fields: Any) -> list[SlicePlane]:
    return [replace(PLANE, position=(-10.0, 20.0, value), number=i + 1, **fields) for i, value in enumerate(z)]


def grid(shape: Sequence[int], spacing: Sequence[float], origin: Sequence[float] = (0, 0, 0)) -> Grid:
    """A grid along the patient axes; `origin` is (x, y, z) mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * np.array(spacing)
    affine[:3, 3] = origin
    return Grid((shape[0], shape[1], shape[2]), affine)


def coordinates(of: Grid) -> np.ndarray:
    """LPS mm of every voxel, shape (3, z, y, x)."""
    index = np.indices(of.shape).reshape(3, -1)
    return (of.affine[:3, :3] @ index + of.affine[:3, 3:]).reshape(3, *of.shape)


def linear_field(of: Grid) -> np.ndarray:
    x, y, z = coordinates(of)
    return (0.5 * x - 0.25 * y + 2.0 * z + 7.0).astype(np.float32)


def rotation(angles: Sequence[float]) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [i for i in range(3) if i != axis]
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return turn


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(range(6)),
    st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    st.floats(0.5, 8.0),
    st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_any_order_and_orientation_keeps_every_coordinate(
    order: list[int], angles: tuple[float, ...], gap: float, corner: tuple[float, ...]
) -> None:
    turn = rotation(angles)
    row, column, normal = turn.T
    stack_in = [
        replace(PLANE, position=tuple(np.array(corner) + k * gap * normal), row=tuple(row), column=tuple(column))
        for k in order
    ]
    stack = stack_slices(stack_in)
    assert [order[i] for i in stack.order] == list(range(6))
    assert (stack.verdict, stack.tilt_deg) == ("even", 0.0)
    assert stack.deviation_mm < 1e-6
    labels = np.arange(6 * 4 * 5).reshape(6, 4, 5)
    turned, where = to_canonical(labels, stack.grid)
    # Each voxel still lies where its slice put it.
    world = coordinates(where).reshape(3, -1)
    k, i, j = np.unravel_index(turned.ravel(), labels.shape)
    expected = (
        np.array(corner)[:, None] + np.outer(normal, k * gap) + np.outer(row, j * 1.5) + np.outer(column, i * 2.0)
    )
    np.testing.assert_allclose(world, expected, atol=1e-6)
    # No other choice of axes would run more to the head, to the back and to the left.
    along = [where.directions[2 - axis, axis] for axis in range(3)]
    assert min(along) >= -1e-9
    assert sum(along) >= np.sqrt(3) - 0.8


def test_series_stored_from_the_head_down_ends_head_last() -> None:
    stack = stack_slices(planes([30, 27, 24, 21], row=(1, 0, 0), column=(0, 1, 0)))
    _, where = to_canonical(np.zeros((4, 4, 5)), stack.grid)
    assert stack.order == (3, 2, 1, 0)
    assert where.affine[2, 0] == 3.0
    assert list(where.affine[:3, 3]) == [-10.0, 20.0, 21.0]


def test_feet_first_prone_is_flipped_not_mirrored() -> None:
    stack = stack_slices(planes([0, 3, 6], row=(-1, 0, 0), column=(0, -1, 0)))
    labels = np.arange(60).reshape(3, 4, 5)
    turned, where = to_canonical(labels, stack.grid)
    np.testing.assert_array_equal(turned, labels[:, ::-1, ::-1])
    np.testing.assert_allclose(where.affine[:3, 3], [-10 - 4 * 1.5, 20 - 3 * 2.0, 0])


def test_coronal_slices_become_axes_z_y_x() -> None:
    slices = [replace(PLANE, position=(0.0, 5.0 * k, 0.0), row=(1, 0, 0), column=(0, 0, -1)) for k in range(3)]
    turned, where = to_canonical(np.zeros((3, 4, 5)), stack_slices(slices).grid)
    assert turned.shape == where.shape == (4, 3, 5)
    assert where.spacing_mm == (2.0, 5.0, 1.5)


def test_rounded_positions_are_kept_as_stored() -> None:
    positions = np.round(np.arange(40) * 3.27, 1)
    stack = stack_slices(planes(positions))
    assert stack.verdict == "even"
    assert 0 < stack.deviation_mm <= 0.1


@pytest.mark.parametrize("jitter", [0.2, 1.4])
def test_uneven_gaps_are_resampled_and_said(jitter: float) -> None:
    positions = np.array([0.0, 3.0, 6.0 + jitter, 9.0, 12.0, 15.0])
    stack = stack_slices(planes(positions))
    assert stack.verdict == "uneven"
    assert stack.deviation_mm > 0.1
    field = (2 * positions)[:, None, None] + np.zeros((1, 4, 5))
    even = even_slices(field.astype(np.float32), stack.positions, stack.grid.shape[0])
    z = stack.grid.affine[2, 3] + stack.grid.affine[2, 0] * np.arange(stack.grid.shape[0])
    np.testing.assert_allclose(even[:, 0, 0], 2 * z, atol=1e-5)
    assert (z[0], z[-1]) == (0.0, pytest.approx(15.0))


def test_wide_gap_between_consecutive_numbers_was_scanned_so() -> None:
    slices = planes([0, 5, 10, 20])
    assert stack_slices(slices).verdict == "uneven"
    assert stack_slices(slices).grid.shape[0] == 5
    unnumbered = [replace(plane, number=None) for plane in slices]
    with pytest.raises(RecordError, match="missing"):
        stack_slices(unnumbered)


@pytest.mark.parametrize("gone", [[5], [5, 6], [3, 9], list(range(4, 9))])
def test_missing_slices_are_refused(gone: list[int]) -> None:
    slices = [plane for i, plane in enumerate(planes(np.arange(20) * 3.0)) if i not in gone]
    with pytest.raises(RecordError) as fault:
        stack_slices(slices)
    assert fault.value.code == "geometry_missing_slice"


@pytest.mark.parametrize(
    "positions",
    [[0, 3, 9], [0, 6, 9], [0, 3, 6, 9, 15, 21, 27, 33, 39], [0, 6, 12, 18, 21], [0, 3, 6, 11.2, 14.2, 17.2]],
)
def test_gaps_where_numbers_are_skipped_are_missing_slices(positions: list[float]) -> None:
    slices = [replace(plane, number=round(z / 3)) for plane, z in zip(planes(positions), positions, strict=True)]
    with pytest.raises(RecordError) as fault:
        stack_slices(slices)
    assert fault.value.code == "geometry_missing_slice"


def test_rotations_of_a_sequential_scanner_are_one_stack() -> None:
    slices = [replace(plane, acquisition=1 + i // 2) for i, plane in enumerate(planes(np.arange(12) * 3.0))]
    assert stack_slices(slices).verdict == "even"


def tilted(count: int = 6, degrees: float = 12.0) -> list[SlicePlane]:
    angle = np.radians(degrees)
    return planes(np.arange(count) * 4.0, row=(1, 0, 0), column=(0.0, float(np.cos(angle)), -float(np.sin(angle))))


def test_gantry_tilt_is_measured() -> None:
    stack = stack_slices(tilted())
    assert stack.verdict == "tilt"
    assert stack.tilt_deg == pytest.approx(12.0, abs=1e-6)
    np.testing.assert_allclose(stack.grid.affine[:3, 0], [0, 0, 4.0], atol=1e-9)


def test_tilted_stack_comes_out_straight() -> None:
    stack = stack_slices([replace(plane, shape=(40, 30)) for plane in tilted(20)])
    leaning = to_canonical(np.zeros((20, 40, 30)), stack.grid)[1]
    straight = straight_grid(leaning)
    np.testing.assert_allclose(straight.directions, np.fliplr(np.eye(3)), atol=1e-9)
    result = resample(linear_field(leaning), leaning, straight, -999.0)
    inside = result != -999.0
    assert inside.mean() > 0.5
    core = inside & np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
    np.testing.assert_allclose(result[core], linear_field(straight)[core], atol=4.1)
    centre = tuple(n // 2 for n in straight.shape)
    assert result[centre] == pytest.approx(linear_field(straight)[centre], abs=1e-3)


@pytest.mark.parametrize(
    ("code", "slices"),
    [
        ("geometry_duplicate_slice", planes([0, 3, 6, 6, 9])),
        ("geometry_duplicate_slice", planes([0, 0, 3, 3, 6, 6])),
        ("geometry_missing_slice", planes([0, 3, 6, 60, 63])),
        ("geometry_mixed_orientation", [*planes([0, 3, 6]), replace(PLANE, row=(0, 1, 0), column=(0, 0, -1))]),
        ("geometry_mixed_size", [*planes([0, 3, 6]), replace(planes([9])[0], shape=(5, 5))]),
        ("geometry_mixed_spacing", [*planes([0, 3, 6]), replace(planes([9])[0], spacing=(2.0, 2.0))]),
        ("geometry_absurd_spacing", planes([0, 3, 6], spacing=(2.0, 0.0))),
        ("geometry_absurd_spacing", planes([0, 3, 6], spacing=(1e30, 1e30))),
        ("geometry_bad_orientation", planes([0, 3, 6], column=(0.5, 0.5, 0.0))),
        ("geometry_shifted_slice", [*planes([0, 3, 6]), replace(planes([9])[0], position=(-10.0, 26.0, 9.0))]),
        ("geometry_single_slice", planes([0])),
        ("geometry_single_slice", []),
    ],
)
def test_refusals(code: str, slices: list[SlicePlane]) -> None:
    with pytest.raises(RecordError) as fault:
        stack_slices(slices)
    assert fault.value.code == code


def test_one_slice_of_known_thickness_is_a_volume() -> None:
    stack = stack_slices(planes([7.0], thickness_mm=5.0))
    assert (stack.verdict, stack.grid.shape, stack.grid.spacing_mm) == ("single", (1, 4, 5), (5.0, 2.0, 1.5))


def test_same_grid_returns_the_same_voxels() -> None:
    volume = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    where = grid((3, 4, 5), (3, 2, 1.5), (5, 6, 7))
    assert resample(volume, where, where, 0) is volume


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(0.6, 9.0)] * 3), st.tuples(*[st.floats(-4, 4)] * 3))
def test_linear_fields_survive_any_aligned_grid(spacing: tuple[float, ...], shift: tuple[float, ...]) -> None:
    source, target = grid((24, 24, 24), (3, 2, 2)), grid((4, 4, 4), spacing, np.array([20, 20, 30]) + shift)
    result = resample(linear_field(source), source, target, np.nan)
    # Near the border the average is one-sided; inside it is exact.
    index = np.linalg.solve(source.affine, np.vstack([coordinates(target).reshape(3, -1), np.ones(64)]))[:3]
    margin = (np.array(spacing) / np.array(source.spacing_mm))[:, None] / 2 + 1
    core = ((index > margin) & (index < 23 - margin)).all(axis=0).reshape(4, 4, 4)
    np.testing.assert_allclose(result[core], linear_field(target)[core], atol=1e-3)


def test_outside_is_filled_and_integers_are_rounded() -> None:
    source, target = grid((4, 4, 4), (2, 2, 2)), grid((6, 6, 6), (2, 2, 2), (-2, -2, -2))
    result = resample(np.full((4, 4, 4), 41, np.int16), source, target, -1024)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[1:5, 1:5, 1:5], 41)
    result[1:5, 1:5, 1:5] = -1024
    assert (result == -1024).all()


def test_coarser_grid_averages_noise_away() -> None:
    noise = np.rint(np.random.default_rng(1).normal(50, 20, (24, 96, 96))).astype(np.int16)
    source = grid(noise.shape, (3, 1, 1))
    target = grid((24, 20, 20), (3, 4, 4), (8, 8, 0))
    coarse = resample(noise, source, target, -1024)
    assert coarse.mean() == pytest.approx(50, abs=0.5)
    assert coarse.std() < 20 / 3


def test_oblique_target_agrees_with_the_field() -> None:
    source = grid((30, 40, 40), (3, 2, 2))
    turn = rotation((0.2, -0.1, 0.15))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.fliplr(np.eye(3)) * np.array([3.0, 3.0, 3.0])
    affine[:3, 3] = [25, 25, 30]
    target = Grid((6, 6, 6), affine)
    np.testing.assert_allclose(resample(linear_field(source), source, target, np.nan), linear_field(target), atol=0.05)


def test_isotropic_grid_covers_the_same_box() -> None:
    source = grid((10, 20, 30), (3, 2, 1.5), (-5, 6, 7))
    target = isotropic_grid(source, 4.0)
    assert target.spacing_mm == pytest.approx((4.0, 4.0, 4.0))
    assert target.shape == (8, 10, 12)
    low, high = extent_mm(source)
    new_low, new_high = extent_mm(target)
    assert (new_low <= low).all()
    assert (high <= new_high).all()
    np.testing.assert_allclose(new_low + new_high, low + high)


def exact_by_fractions(array: np.ndarray, axes: tuple[AxisWeights, ...]) -> np.ndarray:
    """What `separable_integers` promises, in Python's own integers."""
    total = array.astype(object)
    for axis, weights in enumerate(axes):
        total = np.moveaxis(np.tensordot(weights.dense.astype(int).astype(object), total, (1, axis)), 0, axis)
    return total


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(2, 9)] * 3),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.floats(0.3, 4.0)] * 3),
    st.sampled_from([(np.int16, 4096), (np.int16, 32767), (np.uint16, 65535), (np.uint8, 255)]),
    st.integers(0, 99),
)
def test_integers_are_weighted_exactly(
    shape: tuple[int, ...], out: tuple[int, ...], scale: tuple[float, ...], kind: tuple[type, int], seed: int
) -> None:
    """Whatever the order of additions: the result is the exact weighted mean, rounded half to even."""
    dtype, most = kind
    lowest = max(-most, int(np.iinfo(dtype).min))
    array = np.random.default_rng(seed).integers(lowest, most, shape, endpoint=True).astype(dtype)
    axes = tuple(axis_weights(n, m, s, -0.4) for n, m, s in zip(shape, out, scale, strict=True))
    for weights in axes:
        assert (weights.parts.sum(axis=1) == 4096).all()
        assert np.abs(weights.parts / 4096 - weights.weight).max(initial=0) <= 1 / 4096
    inside = [axis.inside.stop - axis.inside.start for axis in axes]
    result = np.zeros(inside, dtype)
    separable_integers(array, axes, result, 1)
    expected = [round(Fraction(int(value), 4096**3)) for value in exact_by_fractions(array, axes).ravel()]
    np.testing.assert_array_equal(result.ravel(), expected)
    again = np.zeros(inside, dtype)
    separable_integers(array, axes, again, 3)
    np.testing.assert_array_equal(again, result)


def test_threads_do_not_show_in_floats() -> None:
    array = np.random.default_rng(0).random((40, 20, 20)).astype(np.float32)
    source = Grid((40, 20, 20), np.diag([1.0, 1.0, 1.0, 1.0]))
    target = Grid((70, 13, 9), np.diag([0.5, 1.5, 2.3, 1.0]))
    one, many = (resample(array, source, target, 0.0, threads) for threads in (1, 3))
    assert one.tobytes() == many.tobytes()
