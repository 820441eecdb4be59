"""The small picture of a study: right way up, right way round, true proportions, nothing but the record's id."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import PATIENT_ID, PATIENT_NAME, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import petct_here
from PIL import Image
from test_convert import make_study, only

from petct_cli.core.hashing import sha256_array
from petct_cli.volume.geometry import Grid
from petct_cli.volume.preview import Shown, render_preview
from petct_cli.volume.resample import resample

HEAD = 16


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], origin: Any = (0, 0, 0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * spacing
    affine[:3, 3] = origin
    return Grid(shape, affine)


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16)


def shown(array: np.ndarray, where: Grid, unit: str) -> Shown:
    return Shown(array, where, unit)


BODY = grid((60, 50, 80), (5.0, 4.0, 4.0))


def ct_with(spot: tuple[slice, slice, slice]) -> np.ndarray:
    hu = np.full(BODY.shape, -1000, np.int16)
    hu[:, 10:40, 10:70] = 0
    hu[spot] = 1000
    return hu


def panels(image: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut the panels out: all of one width, a margin of 6 around, 16 rows above and 29 below."""
    width = (image.shape[1] - 6 * (count + 1)) // count
    return [image[HEAD:-29, 6 + i * (width + 6) : 6 + i * (width + 6) + width] for i in range(count)]


def bright(panel: np.ndarray) -> np.ndarray:
    """Middle (row, column) of what is brightest below the line of the marks, as shares of the panel."""
    marked = panel.sum(axis=2) >= 700
    marked[:14] = False
    return np.argwhere(marked).mean(axis=0) / panel.shape[:2]


def test_head_is_up_and_the_patients_right_is_on_the_left() -> None:
    # A bone near the head (high z) on the patient's right (low x, LPS), hot in the PET.
    spot = (slice(45, 52), slice(10, 40), slice(15, 25))
    pet = np.full(BODY.shape, 0.5, np.float32)
    pet[spot] = 50.0
    image = picture(render_preview("id", shown(ct_with(spot), BODY, "HU"), shown(pet, BODY, "SUVbw")).png)
    ct, mip, fused = panels(image, 3)
    place = np.array([(60 - 48.5) / 60, 20 / 80])
    assert bright(ct) == pytest.approx(place, abs=0.03)
    dark = mip.sum(axis=2) < 100
    dark[:14] = False
    assert np.argwhere(dark).mean(axis=0) / mip.shape[:2] == pytest.approx(place, abs=0.03)
    assert bright(fused) == pytest.approx(place, abs=0.03)
    assert fused[-5, 5].max() < 20


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(0.8, 9)] * 3), st.tuples(st.integers(8, 60), st.integers(3, 20), st.integers(8, 60)))
def test_proportions_are_true(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> None:
    where = grid(shape, spacing)
    image = picture(render_preview("i", shown(np.full(shape, 240, np.int16), where, "HU"), None).png)
    rows, columns = np.nonzero((image[HEAD:-29] == 255).all(axis=2)[14:])
    if not len(rows) or (shape[0] * spacing[0]) / (shape[2] * spacing[2]) < 0.3:
        return
    height, width = rows.max() + 15, columns.max() - columns.min() + 1
    assert height / width == pytest.approx(shape[0] * spacing[0] / (shape[2] * spacing[2]), rel=0.04, abs=0.03)
    assert height <= 352 and width <= 192


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    where = grid((100, 10, 50), (4.0, 4.0, 4.0))
    image = picture(render_preview("i", shown(np.full(where.shape, 240, np.int16), where, "HU"), None).png)
    bar = np.flatnonzero((image[-29 + 13 + 8] == 255).all(axis=1))
    # 400 mm fill 352 pixels, so 10 cm are 88 of them.
    assert bar[-1] - bar[0] == pytest.approx(88, abs=1)


@pytest.mark.parametrize("which", ["ct", "pet"])
def test_one_modality_has_its_panel(which: str) -> None:
    ct = shown(ct_with((slice(0, 1),) * 3), BODY, "HU") if which == "ct" else None
    pet = shown(np.ones(BODY.shape, np.float32), BODY, "SUVbw") if which == "pet" else None
    image = picture(render_preview("i", ct, pet).png)
    assert image.shape[1] == 192 + 12


def test_volumes_on_their_own_grids_meet_in_the_fusion() -> None:
    spot = (slice(30, 40), slice(10, 40), slice(40, 50))
    ct = shown(ct_with(spot), BODY, "HU")
    # The same box on other voxels: 30 x 20 x 32 of 10 mm, whose first centres lie half of the difference further in.
    other = grid((30, 20, 32), (10.0, 10.0, 10.0), (3.0, 3.0, 2.5))
    pet = np.zeros(other.shape, np.float32)
    pet[15:20, 4:16, 16:20] = 30.0
    own = render_preview("i", ct, shown(pet, other, "SUVbw"))
    same = render_preview("i", ct, shown(resample(pet, other, BODY, 0.0), BODY, "SUVbw"))
    fused, expected = (panels(picture(one.png), 3)[2] for one in (own, same))
    np.testing.assert_array_equal(fused, expected)
    hot = np.argwhere(fused[..., 0] - fused[..., 2] > 60)
    assert hot.mean(axis=0) / fused.shape[:2] == pytest.approx([(60 - 35) / 60, 45 / 80], abs=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_any_number_type_and_odd_values(dtype: Any) -> None:
    pet = np.full(BODY.shape, -0.5, dtype)
    pet[3, 3, 3], pet[4, 4, 4] = np.nan, 7.0
    ct = ct_with((slice(0, 1),) * 3)
    first = render_preview("i", shown(ct, BODY, "HU"), shown(pet, BODY, "SUVbw"))
    assert first == render_preview("i", shown(ct, BODY, "HU"), shown(pet, BODY, "SUVbw"))
    assert first.sha256 == sha256_array(np.asarray(Image.open(io.BytesIO(first.png))))
    unknown = shown(np.arange(np.prod(BODY.shape), dtype=np.float32).reshape(BODY.shape), BODY, "stored")
    assert picture(render_preview("i", None, unknown).png).min() == 0


def test_halves_project_like_floats() -> None:
    pet = np.random.default_rng(3).gamma(1.0, 2.0, BODY.shape).astype(np.float16)
    pet[0] = -pet[0]
    one, other = (render_preview("i", None, shown(pet.astype(kind), BODY, "SUVbw")) for kind in ("f2", "f4"))
    assert one == other


@pytest.mark.parametrize("shape", [(1, 512, 512), (300, 1, 1), (1, 1, 1), (2, 3, 400)])
def test_any_shape_has_a_picture(shape: tuple[int, int, int]) -> None:
    where = grid(shape, (3.0, 1.0, 1.0))
    ct, pet = shown(np.zeros(shape, np.int16), where, "HU"), shown(np.ones(shape, np.float32), where, "SUVbw")
    assert picture(render_preview("x" * 200, ct, pet).png).ndim == 3


def test_noise_all_over_stays_small() -> None:
    where = grid((300, 200, 200), (3.0, 4.0, 4.0))
    noise = np.random.default_rng(1).standard_normal(where.shape, np.float32)
    ct, pet = (noise * 30 + 40).astype(np.int16), np.abs(noise) + 0.5
    assert len(render_preview("i", shown(ct, where, "HU"), shown(pet, where, "SUVbw")).png) < 60_000


def test_convert_writes_it_and_says_so(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    plain = only(petct_here("convert", "in", "-o", "plain", cwd=tmp_path))
    result = petct_here("convert", "in", "-o", "out", "--preview", cwd=tmp_path)
    record = only(result)
    assert "preview" not in plain
    assert record["preview"]["path"] == f"out/{record['id']}/preview.png"
    data = (tmp_path / record["preview"]["path"]).read_bytes()
    image = Image.open(io.BytesIO(data))
    assert sha256_array(np.asarray(image)) == record["preview"]["sha256"]
    assert image.info == {} or set(image.info) <= {"transparency"}
    assert not [value for value in (PATIENT_ID, *PATIENT_NAME.split("^")) if value.encode() in data]
    for role in ("ct", "pet"):
        assert record[role]["sha256"] == plain[role]["sha256"]
    again = petct_here("convert", "in", "-o", "./out", "--preview", cwd=tmp_path)
    assert only(again)["preview"] == {**record["preview"], "path": f"out/{record['id']}/preview.png"}
    assert petct_here("convert", "in", "-o", "b", "--preview", cwd=tmp_path).stdout != result.stdout
    assert (tmp_path / "b" / record["id"] / "preview.png").read_bytes() == data


@pytest.mark.real
def test_real_studies_have_small_pictures(tmp_path: Path, real_data: Path) -> None:
    for name in ("sts_001", "lung1_001_ct"):
        record = only(
            petct_here("convert", real_data / name, "-o", name, "--preview", "--grid", "native", cwd=tmp_path)
        )
        assert (tmp_path / record["preview"]["path"]).stat().st_size < 60_000


def test_a_thin_pet_without_ct(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "PT", np.full((3, 20, 20), 900, np.int16))
    record = only(petct_here("convert", "in", "-o", "out", "--preview", cwd=tmp_path))
    assert (tmp_path / record["preview"]["path"]).is_file()
