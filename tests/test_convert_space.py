"""Every value stays at its place in the patient: raw DICOM against volume and affine, by arithmetic of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_factory import write_series

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.convert import Convert
from petct_cli.volume.storage import load_affine, load_volume


def turned(a: float, b: float, c: float) -> tuple[np.ndarray, np.ndarray]:
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = about_x @ about_y @ about_z
    return matrix[:, 0], matrix[:, 1]


# Directions of rows and columns, and whether the slices come along their normal or against it.
ORIENTATIONS: dict[str, tuple[Any, Any, int]] = {
    "supine": ((1, 0, 0), (0, 1, 0), 1),
    "prone": ((-1, 0, 0), (0, -1, 0), 1),
    "feet first": ((-1, 0, 0), (0, 1, 0), -1),
    "lying on the left": ((0, 1, 0), (-1, 0, 0), 1),
    "lying on the right": ((0, -1, 0), (1, 0, 0), -1),
    "rows upwards": ((1, 0, 0), (0, -1, 0), 1),
    "sagittal": ((0, 1, 0), (0, 0, -1), 1),
    "coronal": ((1, 0, 0), (0, 0, -1), -1),
    "coronal, feet up": ((1, 0, 0), (0, 0, 1), 1),
    "oblique": (*turned(0.2, 0.3, -0.4), 1),
    "oblique beyond 90 degrees": (*turned(2.2, 0.8, -1.4), -1),
}


def convert(out: Path, folder: Path, grid: str = "pet", form: str = "b2nd") -> Study:
    (study,) = scan_studies([folder])
    (done,) = Convert(out, grid, form)(study)
    assert isinstance(done, Study)
    return done


def points(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """LPS mm, shape (n, 3), and rescaled value of every pixel, straight from PS3.3 C.7.6.2.1.1."""
    places, values = [], []
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        row, column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        down, across = map(float, dataset.PixelSpacing)
        for i, line in enumerate(dataset.pixel_array.astype(float)):
            for j, value in enumerate(line):
                places.append(np.array(dataset.ImagePositionPatient, float) + j * across * row + i * down * column)
                values.append(value * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept))
    return np.array(places), np.array(values)


@pytest.mark.parametrize("modality", ["CT", "PT"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_pixel_keeps_its_place(tmp_path: Path, name: str, modality: str) -> None:
    row, column, sense = ORIENTATIONS[name]
    normal = np.cross(row, column) * sense
    rng = np.random.default_rng(7)
    order = rng.permutation(6)
    values = rng.integers(-500, 9000, (6, 5, 4))

    def change(dataset: Any, k: int) -> None:
        dataset.InstanceNumber = int(6 - order[k])
        dataset.RescaleSlope = 1 if modality == "CT" else f"{1 + order[k] * 0.137:.4f}"

    folder = tmp_path / "in"
    write_series(
        folder,
        modality,
        values,
        [(np.array([-30.5, 12.25, 7.0]) + k * 3.2 * normal).round(5).tolist() for k in order],
        change=change,
        ImageOrientationPatient=[f"{value:.7f}" for value in (*row, *column)],
        PixelSpacing=[2.5, 1.75],
        RescaleIntercept=-24,
    )
    places, expected = points(folder)
    for form in ("b2nd", "nifti"):
        record = convert(tmp_path / form, folder, form=form)
        told = record.ct or record.pet
        assert told is not None
        if form == "b2nd":
            volume, affine, sign = load_volume(told.path), np.asarray(load_affine(told.path)), [1, 1, 1]
        else:
            read = nibabel.load(told.path)
            volume, affine, sign = np.asarray(read.dataobj), read.affine, [-1, -1, 1]
            np.testing.assert_allclose(read.get_qform(), affine, atol=1e-3)
        index = (np.linalg.inv(affine) @ np.c_[places * sign, np.ones(len(places))].T)[:3]
        np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
        factor = 1.0 if told.suv is None or told.suv.factor is None else told.suv.factor
        np.testing.assert_allclose(volume[tuple(np.rint(index).astype(int))], expected * factor, rtol=1e-6)
    axes = np.asarray(told.affine)[:3, :3] / told.spacing_mm
    assert (np.fliplr(np.eye(3)) * axes).max(axis=0).min() > 0.5 or "oblique" in name


@pytest.mark.parametrize("step", [1.0, 1.3, 2.0, 4.0])
@pytest.mark.parametrize("oblique", [False, True])
def test_ct_on_the_pet_grid_is_not_shifted(tmp_path: Path, step: float, oblique: bool) -> None:
    z, y, x = np.indices((48, 72, 72))
    write_series(
        tmp_path / "in" / "ct",
        "CT",
        4 * x - 3 * y + 7.5 * z + 10 + 1024,
        [[0, 0, 1.5 * k] for k in range(48)],
        PixelSpacing=[1, 1],
        RescaleIntercept=-1024,
    )
    row, column = turned(0.1, -0.05, 0.2) if oblique else (np.eye(3)[0], np.eye(3)[1])
    corner, normal = np.array([11.3, 9.9, 8.7]), np.cross(row, column)
    side, count = int(48 / step), int(24 / step)
    write_series(
        tmp_path / "in" / "pet",
        "PT",
        np.ones((count, side, side), int),
        [(corner + k * 1.5 * step * normal).round(6).tolist() for k in range(count)],
        PixelSpacing=[step, step],
        ImageOrientationPatient=[f"{value:.8f}" for value in (*row, *column)],
    )
    told = convert(tmp_path / "out", tmp_path / "in").ct
    assert told is not None
    volume, affine = load_volume(told.path), np.asarray(told.affine)
    px, py, pz = affine[:3, :3] @ np.indices(volume.shape).reshape(3, -1) + affine[:3, 3:]
    expected = 4 * px - 3 * py + 5 * pz + 10
    margin = 1.5 * step + 2
    inside = (np.minimum(px, py) > margin) & (np.maximum(px, py) < 71 - margin)
    inside &= (pz > 1.5 * margin) & (pz < 1.5 * (47 - margin))
    assert inside.mean() > 0.2
    assert np.abs(volume.ravel() - expected)[inside].max() < 1


@pytest.mark.parametrize("slope", [1.0, 0.5, 0.73])
def test_twelve_bits_under_garbage(tmp_path: Path, slope: float) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 4096, (4, 6, 5)).astype(np.uint16)
    garbage = values | (rng.integers(0, 16, values.shape) << 12).astype(np.uint16)

    def change(dataset: Any, k: int) -> None:
        dataset.RescaleIntercept = -1024 - k

    bits = {"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}
    write_series(tmp_path / "in", "CT", garbage.view(np.int16), change=change, RescaleSlope=slope, **bits)
    told = convert(tmp_path / "out", tmp_path / "in").ct
    assert told is not None
    expected = values * slope - 1024 - np.arange(4)[:, None, None]
    assert np.abs(load_volume(told.path) - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("stored", "declared", "representation", "intercept"),
    [(-2000, 63536, 1, 0), (63536, 63536, 0, -1024), (63536, -2000, 0, -1024), (-2000, -2000, 1, -1024)],
)
def test_padding_of_either_sign_is_air(
    tmp_path: Path, stored: int, declared: int, representation: int, intercept: int
) -> None:
    values = np.full((3, 4, 4), 1000)
    values[:, 0] = stored

    def change(dataset: Any, k: int) -> None:
        dataset.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)

    write_series(
        tmp_path / "in",
        "CT",
        values.astype(np.uint16).view(np.int16),
        change=change,
        PixelRepresentation=representation,
        RescaleIntercept=intercept,
    )
    told = convert(tmp_path / "out", tmp_path / "in").ct
    assert told is not None
    volume = load_volume(told.path)
    assert (volume[:, 0] == -1024).all()
    assert (volume[:, 1:] == 1000 + intercept).all()


def frames(folder: Path, **second: Any) -> None:
    """Two images at every position, or two acquisitions whose slices lie between each other."""
    values = np.arange(8 * 16).reshape(8, 4, 4)
    shift = second.pop("shift", 0.0)
    write_series(folder, "PT", values, [[0, 0, 3.0 * k] for k in range(8)], AcquisitionNumber=1)
    names = [f"b{k}" for k in range(8)]
    positions = [[0, 0, 3.0 * k + shift] for k in range(8)]
    write_series(folder, "PT", values + 500, positions, names=names, AcquisitionNumber=2, **second)


@pytest.mark.parametrize(
    ("code", "second"),
    [
        ("geometry_duplicate_slice", {}),
        ("geometry_duplicate_slice", {"SeriesType": ["DYNAMIC", "IMAGE"], "AcquisitionTime": "111000"}),
        ("geometry_mixed_acquisitions", {"shift": 1.5}),
    ],
)
def test_two_images_of_one_place_are_never_mixed(tmp_path: Path, code: str, second: dict[str, Any]) -> None:
    frames(tmp_path / "in", **second)
    with pytest.raises(RecordError) as fault:
        convert(tmp_path / "out", tmp_path / "in")
    assert fault.value.code == code


def test_acquisitions_that_follow_each_other_are_one_volume(tmp_path: Path) -> None:
    def beds(dataset: Any, k: int) -> None:
        dataset.AcquisitionNumber = 1 + k // 4

    write_series(tmp_path / "in", "PT", np.zeros((12, 4, 4)), change=beds)
    told = convert(tmp_path / "out", tmp_path / "in").pet
    assert told is not None
    assert told.shape == [12, 4, 4]
