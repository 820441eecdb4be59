"""One grid, whichever is asked for: right at every patient coordinate, noise averaged, air and nothing outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_series
from in_process import petct_here
from test_convert import converted, only, volume_of

from petct_cli.core.errors import RecordError

GRIDS = ["pet", "ct", "native", "iso:5", "iso:2.5"]
CT_SHAPE, PET_SHAPE = (20, 48, 44), (16, 18, 20)
CT_SPACING, PET_SPACING = (2.5, 1.5, 1.25), (4.0, 5.0, 5.0)
CT_ORIGIN, PET_ORIGIN = (-20.0, -30.0, 1.0), (-45.0, -42.0, -8.0)
GRADIENT = np.array([3.0, -2.0, 4.0])


def field(points: np.ndarray) -> np.ndarray:
    """HU, or stored PET values, linear in LPS mm: interpolation of any kind must keep it."""
    return points @ GRADIENT + 400.0


def turn(degrees: Sequence[float]) -> np.ndarray:
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def series(
    folder: Path,
    modality: str,
    *,
    rotation: np.ndarray | None = None,
    lean: float = 0.0,
    values: np.ndarray | None = None,
) -> np.ndarray:
    """Write a CT or PET of the field and return its affine; `lean` shifts slices along y per mm (gantry tilt)."""
    shape, spacing, origin = (
        (CT_SHAPE, CT_SPACING, CT_ORIGIN) if modality == "CT" else (PET_SHAPE, PET_SPACING, PET_ORIGIN)
    )
    axes = (np.eye(3) if rotation is None else rotation)[:, ::-1].copy()
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 0] += lean * spacing[0] * axes[:, 1]
    affine[:3, 3] = origin
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    stored = field(index @ affine[:3, :3].T + affine[:3, 3]) if values is None else values
    write_series(
        folder,
        modality,
        np.rint(stored).astype(np.int16),
        [list(affine[:3, 3] + k * affine[:3, 0]) for k in range(shape[0])],
        ImageOrientationPatient=[*axes[:, 2], *axes[:, 1]],
        PixelSpacing=[spacing[1], spacing[2]],
    )
    return affine


def in_source(target: np.ndarray, shape: tuple[int, ...], source: np.ndarray) -> np.ndarray:
    """Index (in the source) of every voxel of a target grid, (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    relative = np.linalg.solve(source, target)
    return np.asarray(index @ relative[:3, :3].T + relative[:3, 3])


def check(told: Any, volume: np.ndarray, source: np.ndarray, shape: tuple[int, ...], scale: float, fill: float) -> int:
    """Compare a converted volume with the field where the source reaches, with `fill` where it does not."""
    affine = np.array(told.affine)
    place = in_source(affine, volume.shape, source)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij"), axis=-1)
    expected = scale * field(index @ affine[:3, :3].T + affine[:3, 3])
    step = np.abs(np.linalg.solve(source, affine)[:3, :3]).sum(axis=1)
    depth = np.minimum(place, np.array(shape) - 1 - place)
    core = (depth > 1.5 * np.maximum(step, 1)).all(axis=-1)
    outside = (depth < -0.51).any(axis=-1)
    np.testing.assert_allclose(volume[core], expected[core], rtol=0, atol=1.0 * scale)
    np.testing.assert_array_equal(volume[outside], fill)
    assert (volume[(depth > 0).all(axis=-1)] > min(fill, expected.min()) - 1).all()
    return int(core.sum())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("rotation", "lean"),
    [(None, 0.0), ((0, 0, 9), 0.0), ((7, -5, 11), 0.0), (None, 0.25)],
    ids=["straight", "turned", "oblique", "tilted gantry"],
)
def test_the_field_is_right_everywhere(
    tmp_path: Path, grid: str, rotation: tuple[float, float, float] | None, lean: float
) -> None:
    # Within 1 HU (stored values are rounded to 1) and the same of the PET; air and 0 outside.
    turned = None if rotation is None else turn(rotation)
    ct_affine = series(tmp_path / "in" / "ct", "CT", rotation=turned, lean=lean)
    pet_affine = series(tmp_path / "in" / "pet", "PT")
    record = converted(tmp_path / "out", tmp_path / "in", grid=grid)
    assert record.pet is not None and record.pet.suv is not None and record.pet.suv.factor is not None
    ct, pet = volume_of(record, "ct"), volume_of(record, "pet")
    assert check(*ct, ct_affine, CT_SHAPE, 1.0, -1024) > 50
    assert check(*pet, pet_affine, PET_SHAPE, record.pet.suv.factor, 0.0) > 50
    assert (ct[0].affine == pet[0].affine) == (grid != "native")
    assert (ct[0].shape == pet[0].shape) == (grid != "native")


@pytest.mark.parametrize("grid", ["pet", "iso:5"])
@pytest.mark.parametrize("rotation", [None, (6, 0, 8)], ids=["straight", "oblique"])
def test_noise_is_averaged_not_sampled(tmp_path: Path, grid: str, rotation: tuple[float, float, float] | None) -> None:
    noise = np.random.default_rng(4).normal(40, 30, CT_SHAPE)
    source = series(tmp_path / "in" / "ct", "CT", rotation=None if rotation is None else turn(rotation), values=noise)
    series(tmp_path / "in" / "pet", "PT")
    told, volume = volume_of(converted(tmp_path / "out", tmp_path / "in", grid=grid), "ct")
    place = in_source(np.array(told.affine), volume.shape, source)
    inside = ((place > 3) & (place < np.array(CT_SHAPE) - 4)).all(axis=-1)
    assert inside.sum() > 40
    # An output voxel holds 16 to 27 of the CT's: the mean of so many has a fifth of the noise, a sample all of it.
    assert volume[inside].std() < 30 / 3.5
    assert volume[inside].mean() == pytest.approx(40, abs=3)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_one_modality_takes_any_grid(tmp_path: Path, grid: str, modality: str) -> None:
    affine = series(tmp_path / "in", modality)
    role = "ct" if modality == "CT" else "pet"
    told, volume = volume_of(converted(tmp_path / "out", tmp_path / "in", grid=grid), role)
    shape = CT_SHAPE if modality == "CT" else PET_SHAPE
    scale = 1.0 if told.suv is None else told.suv.factor or 0.0
    assert check(told, volume, affine, shape, scale, -1024 if modality == "CT" else 0.0) > 50
    if grid.startswith("iso"):
        assert told.spacing_mm == [float(grid[4:])] * 3
    else:
        assert told.shape == list(shape)


def test_a_grid_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    series(tmp_path / "in", "PT")
    wide = tmp_path / "wide"
    write_series(
        wide, "PT", np.zeros((40, 4, 4), np.int16), [[0, 0, 40.0 * k] for k in range(40)], PixelSpacing=[90, 90]
    )
    with pytest.raises(RecordError) as fault:
        converted(tmp_path / "out", wide, grid="iso:0.2")
    assert fault.value.code == "grid_too_large"


def test_the_record_tells_what_was_written(tmp_path: Path) -> None:
    series(tmp_path / "in" / "ct", "CT")
    series(tmp_path / "in" / "pet", "PT")
    record = only(petct_here("convert", "in", "-o", "out", "--grid", "iso:5", cwd=tmp_path))
    for role, unit, dtype in (("ct", "HU", "int16"), ("pet", "SUVbw", "float32")):
        told = record[role]
        assert {"path", "sha256", "shape", "spacing_mm", "affine", "unit", "dtype", "geometry"} <= told.keys()
        assert (told["unit"], told["dtype"]) == (unit, dtype)
        assert {"verdict", "deviation_mm"} <= told["geometry"].keys()
        np.testing.assert_allclose(np.linalg.norm(np.array(told["affine"])[:3, :3], axis=0), told["spacing_mm"])
    assert {"type", "factor", "branch", "inputs", "assumed"} <= record["pet"]["suv"].keys()
