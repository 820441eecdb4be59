"""``--crop body`` keeps the whole body, arms and all, and leaves the couch; what is kept stands where it stood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import petct_here
from test_convert import converted, only, volume_of

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.stages.convert import Convert
from petct_cli.stages.convert_rules import parse_crop
from petct_cli.volume.body_box import BodyBox, cropped_grid, find_body, region_of
from petct_cli.volume.finish import as_float16
from petct_cli.volume.geometry import Grid

AIR, SOFT, LUNG = -1000, 40, -800


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], origin: Any = (0, 0, 0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * spacing
    affine[:3, 3] = origin
    return Grid(shape, affine)


def points(where: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z, y, x = (where.affine[2 - axis, 3] + where.spacing_mm[axis] * np.arange(where.shape[axis]) for axis in range(3))
    return z[:, None, None], y[None, :, None], x[None, None, :]


def trunk(where: Grid, *, length: float = 300.0) -> np.ndarray:
    """A chest of 300 x 200 mm around x = y = 0 with lungs and a wall of 20 mm, from z = 0 to `length`."""
    z, y, x = points(where)
    inside = ((x / 150) ** 2 + (y / 100) ** 2 < 1) & (z >= 0) & (z <= length)
    lungs = (((np.abs(x) - 70) / 60) ** 2 + (y / 80) ** 2 < 1) & (z >= 60) & (z <= length - 60)
    return np.where(lungs, LUNG, np.where(inside, SOFT, AIR)).astype(np.int16)


def couch(where: Grid) -> np.ndarray:
    """A shell of 3 mm with foam inside, right below the back, through the whole scan; rails hang from it."""
    z, y, x = points(where)
    plate = (np.abs(x) < 220) & (y > 100) & (y < 130) & (z > -1e9)
    foam = (np.abs(x) < 217) & (y > 103) & (y < 127) & (z > -1e9)
    rails = (np.abs(np.abs(x) - 200) < 9) & (y > 150) & (y < 180) & (z > -1e9)
    return np.where(foam, -900, np.where(plate, 60, np.where(rails, 300, AIR))).astype(np.int16)


WIDE = grid((75, 130, 170), (4.0, 3.0, 3.0), (-255, -180, 2))


def box_mm(box: BodyBox) -> np.ndarray:
    return np.stack([box.corners.min(axis=0), box.corners.max(axis=0)])


def test_couch_and_rails_are_left_away() -> None:
    hu = np.maximum(trunk(WIDE), couch(WIDE))
    low, high = box_mm(find_body((hu, WIDE), None))
    assert low == pytest.approx([-150, -100, 0], abs=6)
    assert high[0] == pytest.approx(150, abs=6)
    # Where body and couch touch, up to two cells of the couch come along.
    assert 94 < high[1] < 118


@pytest.mark.parametrize("joined", [True, False])
def test_arms_are_kept(joined: bool) -> None:
    # Beside the body with a gap, through the whole scan, thinner towards the hands; with or without shoulders.
    z, y, x = points(WIDE)
    radius = 22 + 18 * z / 300
    arms = ((np.abs(x) - 195) ** 2 + (y - 10) ** 2 < radius**2) & (z >= 0)
    shoulders = joined & (np.abs(x) < 200) & (np.abs(y) < 60) & (z > 270)
    hu = np.where(arms | shoulders, SOFT, np.maximum(trunk(WIDE), couch(WIDE)))
    low, high = box_mm(find_body((hu, WIDE), None))
    assert low[0] < -228 and high[0] > 228


def test_arms_above_the_head_are_kept() -> None:
    z, y, x = points(WIDE)
    head = (x**2 + y**2 < 80**2) & (z > 150) & (z < 280)
    arms = ((np.abs(x) - 60 - z / 4) ** 2 + (y + 120 - z / 3) ** 2 < 30**2) & (z > 130)
    hu = np.where(head | arms, SOFT, trunk(WIDE, length=150))
    low, high = box_mm(find_body((hu, WIDE), None))
    seen = np.argwhere(hu > AIR) @ np.diag(WIDE.spacing_mm) + WIDE.affine[:3, 3][::-1]
    assert (low <= seen.min(axis=0)[::-1] + 4).all() and (high >= seen.max(axis=0)[::-1] - 4).all()


def test_pet_counts_where_no_ct_looks() -> None:
    pet_grid = grid((60, 60, 60), (8.0, 8.0, 8.0), (-236, -236, -100))
    z, y, x = points(pet_grid)
    uptake = np.where((x / 150) ** 2 + (y / 100) ** 2 < 1, 0.6, 0.0).astype(np.float32) * np.ones_like(z)
    uptake += np.abs(np.random.default_rng(0).normal(0, 0.03, uptake.shape)).astype(np.float32)
    hu = trunk(WIDE)
    alone, both = find_body(None, (uptake, pet_grid)), find_body((hu, WIDE), (uptake, pet_grid))
    assert (alone.seen_in, both.seen_in) == ("PT", "CT+PT")
    # Legs that only the PET shows are kept; within the CT its box rules.
    assert box_mm(both)[0] == pytest.approx([-150, -100, -104], abs=10)
    assert box_mm(alone) == pytest.approx(np.array([[-150, -100, -104], [150, 100, 376]]), abs=10)
    assert find_body((hu, WIDE), (uptake * 0, pet_grid)).seen_in == "CT"


def test_values_of_unknown_unit_have_a_body_too() -> None:
    pet_grid = grid((20, 60, 60), (8.0, 8.0, 8.0), (-236, -236, 0))
    z, y, x = points(pet_grid)
    counts = np.where((x / 150) ** 2 + (y / 100) ** 2 < 1, 3000.0, 1.0).astype(np.float32) * np.ones_like(z)
    box = find_body(None, (counts.astype(np.float32), pet_grid), is_suv=False)
    assert box_mm(box)[:, :2] == pytest.approx(np.array([[-150, -100], [150, 100]]), abs=10)


def test_tilted_slices_have_a_straight_box() -> None:
    lean = WIDE.affine.copy()
    lean[1, 0] = 1.2
    tilted = Grid(WIDE.shape, lean)
    index = np.stack(np.meshgrid(*map(np.arange, WIDE.shape), indexing="ij"), axis=-1)
    place = index @ lean[:3, :3].T + lean[:3, 3]
    hu = np.where((np.abs(place) < [100, 60, 1e9]).all(axis=-1), SOFT, AIR).astype(np.int16)
    low, high = box_mm(find_body((hu, tilted), None))
    assert low[:2] == pytest.approx([-100, -60], abs=6) and high[:2] == pytest.approx([100, 60], abs=6)


@pytest.mark.parametrize("what", [np.full((10, 40, 40), -1000, np.int16), np.full((10, 40, 40), -400, np.int16)])
def test_no_body_is_refused(what: np.ndarray) -> None:
    with pytest.raises(RecordError) as fault:
        find_body((what, grid((10, 40, 40), (3, 3, 3))), None)
    assert fault.value.code == "crop_no_body"
    with pytest.raises(RecordError) as fault:
        find_body(None, (np.zeros((9, 9, 9), np.float32), grid((9, 9, 9), (8, 8, 8))))
    assert fault.value.code == "crop_no_body"


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.floats(-30, 30)] * 3),
    st.tuples(*[st.floats(1, 25)] * 3),
    st.floats(0, 9),
    st.tuples(*[st.floats(0.7, 4)] * 3),
)
def test_region_covers_box_and_margin_and_no_voxel_more(middle: Any, half: Any, margin: float, spacing: Any) -> None:
    where = grid((30, 40, 50), spacing, (-20, -20, -20))
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    box = BodyBox(np.array(middle) + signs * np.array(half), "CT")
    low, high = box_mm(box)[:, ::-1] + np.array([[-margin], [margin]])
    first = np.array([-20, -20, -20]) - np.array(spacing) / 2
    last = first + np.array(spacing) * where.shape
    if (high <= first + 1e-3).any() or (low >= last - 1e-3).any():
        return
    region = region_of(box, where, margin)
    cropped = cropped_grid(where, region)
    start, stop = np.array([one.start for one in region]), np.array([one.stop for one in region])
    assert (first + start * spacing <= np.maximum(low, first) + 1e-3).all()
    assert (first + stop * spacing >= np.minimum(high, last) - 1e-3).all()
    assert (first + (start + 1) * spacing >= np.maximum(low, first) - 1e-3).all()
    assert (first + (stop - 1) * spacing <= np.minimum(high, last) + 1e-3).all()
    np.testing.assert_allclose(cropped.affine @ [0, 0, 0, 1], where.affine @ [*start, 1], atol=1e-9)
    np.testing.assert_array_equal(cropped.affine[:3, :3], where.affine[:3, :3])


def study(folder: Path, ct: np.ndarray, pet: np.ndarray | None) -> Path:
    where = [[-255, -180, 4.0 * k] for k in range(len(ct))]
    write_series(folder / "ct", "CT", ct, where, PixelSpacing=[3, 3])
    if pet is not None:
        write_series(folder / "pet", "PT", pet, where, PixelSpacing=[6, 6])
    return folder


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = grid((30, 130, 170), (4.0, 3.0, 3.0), (-255, -180, 2))
    z, y, x = points(grid((30, 65, 85), (4.0, 6.0, 6.0), (-255, -180, 2)))
    pet = np.where((x / 150) ** 2 + (y / 100) ** 2 < 1, 4000 + 20 * y + 10 * z, 0).astype(np.int16)
    return study(tmp_path_factory.mktemp("chest"), np.maximum(trunk(where, length=120), couch(where)), pet)


@pytest.mark.parametrize("rule", ["pet", "ct", "iso:5", "native"])
def test_cropped_volumes_are_parts_of_the_whole(tmp_path: Path, chest: Path, rule: str) -> None:
    whole = converted(tmp_path / "whole", chest, grid=rule)
    (record,) = petct_here("convert", chest, "-o", "out", "--grid", rule, "--crop", "body:10", cwd=tmp_path).records
    for role in ("ct", "pet"):
        told, cropped = record[role], volume_of(whole, role)
        crop = told["geometry"]["crop"]
        region = tuple(slice(*ends) for ends in crop["region"])
        assert crop["of_shape"] == cropped[0].shape
        assert crop["margin_mm"] == 10.0
        part = cropped[1][region]
        assert told["shape"] == list(part.shape) != cropped[0].shape
        np.testing.assert_array_equal(part, volume_of(converted_again(tmp_path, chest, rule), role)[1])
        start = np.array([*(one.start for one in region), 1.0])
        np.testing.assert_allclose(np.array(told["affine"])[:, 3], np.array(cropped[0].affine) @ start, atol=1e-9)
    same = record["ct"]["geometry"]["crop"] == record["pet"]["geometry"]["crop"]
    assert same == (record["ct"]["affine"] == record["pet"]["affine"]) == (rule != "native")


def converted_again(tmp_path: Path, folder: Path, rule: str) -> Any:
    from petct_cli.dicom.scan import scan_studies

    (found,) = scan_studies([folder])
    (done,) = Convert(tmp_path / "out", rule, crop="body:10")(found)
    return done


def test_air_alone_stays_in_the_stream_as_failed(tmp_path: Path) -> None:
    study(tmp_path / "in", np.full((6, 40, 40), -1000, np.int16), None)
    result = petct_here("convert", "in", "-o", "out", "--crop", "body", cwd=tmp_path)
    assert (result.code, only(result)["error"]["code"]) == (1, "crop_no_body")


def test_rules_of_the_option() -> None:
    assert [parse_crop(text) for text in ("none", "body", "body:0", "body:7.5")] == [None, 20.0, 0.0, 7.5]
    for text in ("", "all", "body:", "body:-1", "body:nan", "body:9999", "none:3", "Body"):
        with pytest.raises(UsageError):
            parse_crop(text)
    assert Convert(Path("o"), crop="body").options == Convert(Path("o"), crop="body:20.0").options


def test_half_precision_is_within_its_promise_and_said(tmp_path: Path, chest: Path) -> None:
    whole, half = (
        only(petct_here("convert", chest / "pet", "-o", name, "--pet-dtype", name, cwd=tmp_path))
        for name in ("float32", "float16")
    )
    assert (whole["pet"]["dtype"], half["pet"]["dtype"]) == ("float32", "float16")
    from petct_cli.volume.storage import load_volume

    exact, rounded = (load_volume(tmp_path / record["pet"]["path"]) for record in (whole, half))
    assert rounded.dtype == np.float16
    np.testing.assert_allclose(rounded.astype(np.float32), exact, rtol=5e-4, atol=1e-7)


@pytest.mark.parametrize(("value", "fits"), [(65504.0, True), (65505.0, False), (1e9, False), (np.nan, False)])
def test_what_half_precision_cannot_hold_is_refused(value: float, fits: bool) -> None:
    volume = np.array([[[0.0, value]]], np.float32)
    if fits:
        assert as_float16(volume).max() == value
        return
    with pytest.raises(RecordError) as fault:
        as_float16(volume)
    assert fault.value.code == "pet_exceeds_float16"


def test_half_precision_and_nifti_do_not_go_together(tmp_path: Path, chest: Path) -> None:
    result = petct_here("convert", chest, "-o", "o", "--format", "nifti", "--pet-dtype", "float16", cwd=tmp_path)
    assert result.code == 2
    assert "NIfTI has no float16" in result.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.real
def test_a_real_chest_keeps_its_arms_and_loses_its_couch(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "lung1_001_ct"
    record = only(petct_here("convert", folder, "-o", "vol", "--crop", "body:0", cwd=tmp_path))
    z, y, x = record["ct"]["geometry"]["crop"]["region"]
    assert z == [0, 134]
    # By eye: the right arm ends at row 45, the back at row 408, the couch lies from row 430 to 485.
    assert y[0] <= 47 and 406 <= y[1] <= 420
    assert x[0] <= 55 and x[1] >= 470


def test_cropped_halves_go_the_whole_way(tmp_path: Path) -> None:
    from conftest import REPOSITORY

    from petct_cli.core.records import Sample
    from petct_cli.model.inputs import load_region

    ways = []
    for name in ("float32", "float16"):
        options = ("--crop", "body", "--pet-dtype", name, "--preview")
        studies = petct_here("convert", "sample_data/studies.jsonl", "-o", tmp_path / name, *options, cwd=REPOSITORY)
        assert (studies.code, {study["pet"]["dtype"] for study in studies.records}) == (0, {name})
        samples = petct_here("pair", "-", "--split", "test", stdin=studies.stdout, cwd=REPOSITORY)
        page = petct_here("gallery", "-", "-o", f"{name}.html", stdin=samples.stdout, cwd=tmp_path)
        assert (samples.code, page.code) == (0, 0)
        assert "images not shown" not in (tmp_path / f"{name}.html").read_text("utf-8")
        ways.append([load_region(Sample.model_validate(record)) for record in samples.records])
    for exact, half in zip(*ways, strict=True):
        assert half.pet.dtype == np.float32
        np.testing.assert_array_equal(half.ct, exact.ct)
        np.testing.assert_allclose(half.pet, exact.pet, rtol=5e-4, atol=1e-7)
