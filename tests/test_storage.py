"""Volumes on disk: what goes in comes out, equal input gives equal bytes, other programs read the exchange format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import blosc2
import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from petct_cli.core.errors import InputError, PetctError, UsageError
from petct_cli.volume import nifti
from petct_cli.volume.storage import load_affine, load_volume, save_volume

AFFINE = np.array([[0, 0.1, -2.0, 10], [0, 2.5, 0.08, -20], [3.0, 0, 0, 5], [0, 0, 0, 1.0]])
NAMES = ["v.b2nd", "v.nii.gz", "v.nii"]


def ramp(dtype: type = np.int16) -> np.ndarray:
    return (np.arange(40 * 70 * 66).reshape(40, 70, 66) % 3000 - 1000).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_round_trip(tmp_path: Path, name: str, dtype: type) -> None:
    volume = ramp(dtype)
    save_volume(tmp_path / name, volume, AFFINE)
    back = load_volume(tmp_path / name)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, volume)
    np.testing.assert_allclose(load_affine(tmp_path / name), AFFINE, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_region_is_a_crop(tmp_path: Path, name: str) -> None:
    volume = ramp()
    save_volume(tmp_path / name, volume, AFFINE)
    box = (slice(3, 37), slice(0, 5), slice(60, 66))
    np.testing.assert_array_equal(load_volume(tmp_path / name, box), volume[box])
    np.testing.assert_array_equal(load_volume(str(tmp_path / name), box[:1]), volume[box[:1]])


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)) for n in (40, 70, 66)]), st.integers(0, 3))
def test_any_region_is_what_numpy_crops(volumes: Path, ends: tuple[tuple[int, int], ...], axes: int) -> None:
    box = tuple(slice(min(pair), max(pair)) for pair in ends[:axes])
    for name in NAMES[:2]:
        if any(one.start == one.stop for one in box):
            with pytest.raises(InputError) as fault:
                load_volume(volumes / name, box)
            assert fault.value.code == "empty_region"
        else:
            np.testing.assert_array_equal(load_volume(volumes / name, box), ramp()[box])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    for name in NAMES:
        save_volume(folder / name, ramp(), AFFINE)
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("region", "code"),
    [
        ((slice(0, 41),), "outside_volume"),
        ((slice(None), slice(-3, None)), "outside_volume"),
        ((slice(None), slice(None), slice(60, 80)), "outside_volume"),
        ((slice(5, 5),), "empty_region"),
        ((slice(9, 5),), "empty_region"),
        ((slice(0, 10, 2),), "bad_region"),
        ((slice(0.0, 4.0),), "bad_region"),
        ((3, 4, 5), "bad_region"),
        (slice(0, 4), "bad_region"),
        ((slice(None),) * 4, "bad_region"),
    ],
)
def test_region_that_is_none_is_refused_not_shrunk(volumes: Path, name: str, region: Any, code: str) -> None:
    with pytest.raises(PetctError) as fault:
        load_volume(volumes / name, region)
    assert fault.value.code == code


def test_halves_are_kept_as_halves_but_not_in_nifti(tmp_path: Path) -> None:
    volume = ramp(np.float16)
    save_volume(tmp_path / "v.b2nd", volume, AFFINE)
    back = load_volume(tmp_path / "v.b2nd", (slice(3, 9), slice(7, 70)))
    assert back.dtype == np.float16
    np.testing.assert_array_equal(back, volume[3:9, 7:70])
    with pytest.raises(ValueError, match="float16"):
        save_volume(tmp_path / "v.nii.gz", volume, AFFINE)


@pytest.mark.parametrize("name", NAMES)
def test_same_volume_same_bytes(tmp_path: Path, name: str) -> None:
    save_volume(tmp_path / name, ramp(), AFFINE)
    before = (tmp_path / name).read_bytes()
    save_volume(tmp_path / name, np.asfortranarray(ramp()), AFFINE)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_volume_without_geometry(tmp_path: Path, name: str) -> None:
    save_volume(tmp_path / name, ramp())
    assert load_affine(tmp_path / name) is None


def test_other_programs_see_the_same_coordinates(tmp_path: Path) -> None:
    straight = np.array([[0, 0, -2.0, 10], [0, 2.5, 0, -20], [3.0, 0, 0, 5], [0, 0, 0, 1.0]])
    save_volume(tmp_path / "v.nii.gz", ramp(), straight)
    read = nibabel.load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(np.asarray(read.dataobj).transpose(2, 1, 0), ramp())
    z, y, x = 7, 11, 13
    lps = straight @ [z, y, x, 1]
    np.testing.assert_allclose(read.affine @ [x, y, z, 1], lps * [-1, -1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(read.get_qform(), read.get_sform(), atol=1e-4)
    itk = SimpleITK.ReadImage(str(tmp_path / "v.nii.gz"))
    np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint((x, y, z)), lps[:3], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3), st.floats(-0.7, 0.7))
def test_quaternion_holds_every_orientation(order: list[int], signs: tuple[int, ...], angle: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag(signs)[:, order]) * [3.0, 2.5, 2.0]
    affine[:3, 3] = [-31, 7, 11]
    header = nibabel.Nifti1Header(nifti.encode(np.zeros((2, 3, 4), np.float32), affine)[:348])
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.int16, np.int32, np.float32]), hnp.array_shapes(min_dims=3, max_dims=3))
)
def test_nifti_bytes_round_trip(volume: np.ndarray) -> None:
    back, affine = nifti.decode(nifti.encode(volume, None))
    np.testing.assert_array_equal(back, volume)
    assert affine is None


def test_nifti_of_other_programs(tmp_path: Path) -> None:
    ras = np.diag([-2.0, -2.5, 3.0, 1.0])
    stored = nibabel.Nifti1Image(ramp().transpose(2, 1, 0), ras)
    stored.header.set_slope_inter(0.5, 1.0)
    stored.set_qform(ras, 1)
    stored.set_sform(None)
    nibabel.save(stored, tmp_path / "o.nii.gz")
    read = nibabel.load(tmp_path / "o.nii.gz").get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(load_volume(tmp_path / "o.nii.gz"), read, atol=1e-3)
    np.testing.assert_allclose(load_affine(tmp_path / "o.nii.gz") @ [1, 1, 1, 1], [2, 2.5, 3, 1], atol=1e-4)


def test_gzip_of_several_members_and_slopes_that_are_none(tmp_path: Path) -> None:
    whole = bytearray(nifti.encode(ramp(), AFFINE))
    whole[112:120] = np.array([np.nan, np.nan], "<f4").tobytes()
    parts = [bytes(whole[:1000]), bytes(whole[1000:90000]), bytes(whole[90000:])]
    (tmp_path / "v.nii.gz").write_bytes(b"".join(map(nifti.gzip_bytes, parts)) + bytes(512))
    np.testing.assert_array_equal(load_volume(tmp_path / "v.nii.gz"), ramp())


@pytest.mark.parametrize("name", NAMES)
def test_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    save_volume(tmp_path / name, ramp())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as fault:
        load_volume(tmp_path / name)
    assert fault.value.code in ("bad_volume", "bad_nifti")


def test_missing_file_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such volume"):
        load_volume(tmp_path / "none.b2nd")
    with pytest.raises(UsageError):
        save_volume(tmp_path / "v.mhd", ramp())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 150), st.integers(1, 150)),
    dtype=st.sampled_from([np.int16, np.float32, np.float16, np.uint8]),
    seed=st.integers(0, 9),
)
def test_frames_are_what_blosc2_reads(tmp_path: Path, shape: tuple[int, ...], dtype: type, seed: int) -> None:
    """Any shape: whole, chunk by chunk, with empty regions, and the same bytes whatever the number of threads."""
    volume = (np.random.default_rng(seed).random(shape) * 200).astype(dtype)
    volume[: shape[0] // 2] = 0
    save_volume(tmp_path / "one.b2nd", volume, AFFINE)
    save_volume(tmp_path / "three.b2nd", volume, AFFINE, threads=3)
    data = (tmp_path / "one.b2nd").read_bytes()
    assert data == (tmp_path / "three.b2nd").read_bytes()
    for stored in (blosc2.open(str(tmp_path / "one.b2nd")), blosc2.ndarray_from_cframe(data)):
        np.testing.assert_array_equal(stored[:], volume)
        assert stored.schunk.nchunks == np.prod([-(-n // c) for n, c in zip(shape, stored.chunks, strict=True)])
        assert (stored.schunk.nbytes, len(data)) == (np.prod(stored.ext_shape) * volume.itemsize, len(data))
        assert all(c <= most for c, most in zip(stored.chunks, (40, 64, 64), strict=True))
    # Other programs may go on with the file: a chunk written anew must not disturb the rest.
    changed = blosc2.open(str(tmp_path / "one.b2nd"), mode="a")
    changed[: shape[0] // 2 + 1, 0, 0] = 7
    volume[: shape[0] // 2 + 1, 0, 0] = 7
    np.testing.assert_array_equal(load_volume(tmp_path / "one.b2nd"), volume)
    np.testing.assert_array_equal(load_affine(tmp_path / "one.b2nd"), AFFINE)


@pytest.mark.parametrize("value", [0, -1024, 3.5, np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_volumes_of_one_value(tmp_path: Path, value: float, dtype: type) -> None:
    if dtype is np.int16 and not np.isfinite(value):
        return
    volume = np.full((70, 65, 33), value, dtype)
    save_volume(tmp_path / "v.b2nd", volume)
    np.testing.assert_array_equal(load_volume(tmp_path / "v.b2nd"), volume)
    assert (tmp_path / "v.b2nd").stat().st_size < volume.nbytes / 50
