"""A known function of patient coordinates, scanned on any grid: every voxel of the volume has the value of its place.

Whatever is wrong with a series, it gives a volume for which that holds, or a refusal; never a wrong volume.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_factory import write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from test_geometry import rotation

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study
from petct_cli.dicom.read import read_instance
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.convert import Convert, place_on_grid
from petct_cli.volume.geometry import Grid
from petct_cli.volume.series_volume import AIR_HU, SeriesVolume, read_ct, read_pet
from petct_cli.volume.storage import load_volume

GRADIENT = np.array([4.0, -3.0, 5.0])
ROUNDING = 0.5
DCM2NIIX = Path(sys.executable).with_name("dcm2niix")

# Directions of rows and columns, and the sense in which a scanner moves along z, for each way of lying on the table.
PATIENT_POSITIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "HFS": ((1, 0, 0), (0, 1, 0), -1),
    "HFP": ((-1, 0, 0), (0, -1, 0), -1),
    "FFS": ((-1, 0, 0), (0, 1, 0), 1),
    "FFP": ((1, 0, 0), (0, -1, 0), 1),
    "HFDR": ((0, -1, 0), (1, 0, 0), -1),
    "HFDL": ((0, 1, 0), (-1, 0, 0), -1),
    "FFDR": ((0, 1, 0), (1, 0, 0), 1),
    "FFDL": ((0, -1, 0), (-1, 0, 0), 1),
}
OTHERS: dict[str, tuple[tuple[float, ...], tuple[float, ...], int]] = {
    "sagittal": ((0, 1, 0), (0, 0, -1), 1),
    "coronal": ((1, 0, 0), (0, 0, -1), 1),
    "oblique": ((0.96, 0.28, 0.0), (-0.224, 0.768, 0.6), 1),
    "oblique, reversed": ((0.36, 0.48, -0.8), (-0.8, 0.6, 0.0), -1),
}


ALL = {**PATIENT_POSITIONS, **OTHERS}


@dataclass(frozen=True)
class Slice:
    """One image of the scan."""

    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    number: int

    def values(self) -> np.ndarray:
        i, j = np.indices(self.shape)
        steps = i[..., None] * self.spacing[0] * self.column + j[..., None] * self.spacing[1] * self.row
        return np.rint((self.position + steps) @ GRADIENT)


def scan(
    row: Sequence[float],
    column: Sequence[float],
    sense: int,
    count: int = 6,
    gap: float = 3.2,
    spacing: tuple[float, float] = (2.5, 1.75),
    corner: Sequence[float] = (-30.5, 12.25, 7.0),
    shape: tuple[int, int] = (7, 5),
) -> list[Slice]:
    across, down = np.array(row, float), np.array(column, float)
    normal = np.cross(across, down) * sense
    return [
        Slice(np.array(corner) + k * gap * normal, across, down, spacing, shape, k + 1) for k in range(count)
    ]  # fmt: skip


def write(folder: Path, slices: Sequence[Slice], modality: str = "CT", **elements: Any) -> list[Path]:
    """One file per slice, in the order given."""
    paths = []
    for place, one in enumerate(slices):
        paths += write_series(
            folder,
            modality,
            one.values()[None],
            [[float(f"{value:.6f}") for value in one.position]],
            names=[f"IM{place:04d}"],
            ImageOrientationPatient=[f"{value:.8f}" for value in (*one.row, *one.column)],
            PixelSpacing=list(one.spacing),
            InstanceNumber=one.number,
            SOPInstanceUID=f"1.2.3.4.{place + 1}",
            **elements,
        )
    return paths


def read(slices: Sequence[Slice], **elements: Any) -> SeriesVolume:
    with tempfile.TemporaryDirectory() as folder:
        volume = read_ct([read_instance(path) for path in write(Path(folder), slices, **elements)])
        volume.load()
        return volume


def places(grid: Grid) -> np.ndarray:
    """LPS mm of every voxel, shape (z, y, x, 3)."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def errors(array: np.ndarray, grid: Grid) -> np.ndarray:
    return np.abs(array - places(grid) @ GRADIENT)


ANY_DIRECTION = st.one_of(
    st.sampled_from([*PATIENT_POSITIONS.values(), *OTHERS.values()]).map(lambda told: (told[0], told[1])),
    st.tuples(*[st.floats(-3.1, 3.1)] * 3).map(lambda angles: tuple(rotation(angles)[:, :2].T)),
)
SCANS = st.tuples(
    ANY_DIRECTION,
    st.sampled_from([-1, 1]),
    st.integers(3, 9),
    st.floats(0.6, 8.0),
    st.tuples(st.floats(0.4, 6.0), st.floats(0.4, 6.0)),
    st.tuples(*[st.floats(-400, 400)] * 3),
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
).map(lambda told: scan(*told[0], *told[1:]))


@settings(max_examples=60, deadline=None)
@given(SCANS, st.randoms(use_true_random=False))
def test_any_well_formed_series(slices: list[Slice], random: Any) -> None:
    random.shuffle(slices)
    volume = read(slices, PatientPosition="HFS")  # whatever the tag says, positions count
    assert volume.stack.verdict == "even"
    assert volume.array.size == sum(one.values().size for one in slices)
    assert errors(volume.array, volume.grid).max() <= ROUNDING + 0.01
    axes = volume.grid.directions
    assert all(axes[2 - axis, axis] >= -1e-9 for axis in range(3))


def dropped(slices: list[Slice], at: int, by: float) -> list[Slice]:
    return slices[:at] + slices[at + 1 :]


def doubled(slices: list[Slice], at: int, by: float) -> list[Slice]:
    return [*slices, replace(slices[at], number=len(slices) + 1)]


def moved_along(slices: list[Slice], at: int, by: float) -> list[Slice]:
    normal = np.cross(slices[at].row, slices[at].column)
    return [*slices[:at], replace(slices[at], position=slices[at].position + by * normal), *slices[at + 1 :]]


def moved_across(slices: list[Slice], at: int, by: float) -> list[Slice]:
    moved = replace(slices[at], position=slices[at].position + by * slices[at].row)
    return [*slices[:at], moved, *slices[at + 1 :]]


def turned(slices: list[Slice], at: int, by: float) -> list[Slice]:
    one = slices[at]
    return [*slices[:at], replace(one, row=one.column, column=-one.row), *slices[at + 1 :]]


def leaning(slices: list[Slice], at: int, by: float) -> list[Slice]:
    """A gantry tilt: each slice is shifted along its columns against the one before."""
    return [replace(one, position=one.position + k * by * one.column) for k, one in enumerate(slices)]


def squeezed(slices: list[Slice], at: int, by: float) -> list[Slice]:
    """Another gap from one slice on."""
    normal = np.cross(slices[0].row, slices[0].column)
    return [
        replace(one, position=one.position + max(0, k - at) * by * normal) for k, one in enumerate(slices)
    ]  # fmt: skip


def finer(slices: list[Slice], at: int, by: float) -> list[Slice]:
    one = slices[at]
    return [*slices[:at], replace(one, spacing=(one.spacing[0] * (1 + abs(by)), one.spacing[1])), *slices[at + 1 :]]


def unnumbered(slices: list[Slice], at: int, by: float) -> list[Slice]:
    """A gap that no number explains."""
    return [replace(one, number=1) for one in dropped(slices, at, by)]


FAULTS: list[Callable[[list[Slice], int, float], list[Slice]]] = [
    dropped, doubled, moved_along, moved_across, turned, leaning, squeezed, finer, unnumbered,
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    SCANS,
    st.lists(st.tuples(st.sampled_from(FAULTS), st.floats(0, 0.999), st.floats(-4, 4)), min_size=1, max_size=2),
    st.randoms(use_true_random=False),
)
def test_a_faulty_series_is_right_or_refused(slices: list[Slice], faults: list[Any], random: Any) -> None:
    for fault, where, by in faults:
        slices = fault(slices, int(where * len(slices)), by)
    random.shuffle(slices)
    try:
        volume = read(slices)
    except RecordError as refused:
        if not refused.code.startswith("geometry_"):
            raise
        return
    ((array, grid),) = place_on_grid({"ct": volume}, "native").values()
    wrong = errors(array, grid)
    if volume.stack.tilt_deg:
        # Outside of the leaning stack there is air, and at its rim the average is one-sided.
        inside = np.moveaxis(places(grid) - volume.grid.affine[:3, 3], -1, 0).reshape(3, -1)
        index = np.linalg.solve(volume.grid.affine[:3, :3], inside).reshape(3, *grid.shape)
        last = np.array(volume.grid.shape).reshape(3, 1, 1, 1) - 1
        margin = 1 + np.array(grid.spacing_mm).max() / np.array(volume.grid.spacing_mm).reshape(3, 1, 1, 1)
        wrong = wrong[((index >= margin) & (index <= last - margin)).all(axis=0)]
    # A slice may lie 0.1 mm off the even grid, along and across; values are rounded twice.
    allowed = 2 * ROUNDING + 0.15 * float(np.linalg.norm(GRADIENT)) + 0.05
    assert wrong.max(initial=0.0) <= allowed, (volume.stack.verdict, volume.stack.deviation_mm)


@settings(max_examples=80, deadline=None)
@given(
    SCANS.filter(lambda slices: len(slices) > 3),
    st.sampled_from(
        [
            (dropped, "geometry_missing_slice"),
            (unnumbered, "geometry_missing_slice"),
            (doubled, "geometry_duplicate_slice"),
            (turned, "geometry_mixed_orientation"),
            (finer, "geometry_mixed_spacing"),
            (moved_across, "geometry_shifted_slice"),
        ]
    ),
    st.floats(0.3, 4),
    st.randoms(use_true_random=False),
)
def test_each_fault_of_an_inner_slice_has_its_code(
    slices: list[Slice], fault: tuple[Any, str], by: float, random: Any
) -> None:
    made, code = fault
    slices = made(slices, random.randrange(1, len(slices) - 1), by)
    random.shuffle(slices)
    with pytest.raises(RecordError) as refused:
        read(slices)
    assert refused.value.code == code


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_every_way_to_lie(position: str) -> None:
    slices = scan(*PATIENT_POSITIONS[position])
    volume = read(slices, PatientPosition=position)
    assert errors(volume.array, volume.grid).max() <= ROUNDING
    np.testing.assert_allclose(np.abs(volume.grid.directions), np.fliplr(np.eye(3)), atol=1e-9)
    np.testing.assert_allclose(np.diag(np.fliplr(volume.grid.directions)), 1, atol=1e-9)
    upside_down = read(slices[::-1], PatientPosition="FFDL")
    np.testing.assert_array_equal(upside_down.array, volume.array)
    np.testing.assert_array_equal(upside_down.grid.affine, volume.grid.affine)


@pytest.mark.parametrize("degrees", [-20.0, 0.5, 12.0])
def test_tilted_gantry_comes_out_straight_and_in_place(degrees: float) -> None:
    angle = np.radians(degrees)
    down = np.array([0.0, np.cos(angle), np.sin(angle)])
    start = np.array([-40.0, -30.0, 5.0])
    slices = [
        Slice(start + np.array([0, 0, 3.0 * k]), np.array([1.0, 0, 0]), down, (2.0, 2.0), (40, 12), k + 1)
        for k in range(24)
    ]
    volume = read(slices)
    assert (volume.stack.verdict, volume.stack.tilt_deg) == ("tilt", pytest.approx(abs(degrees), abs=1e-3))
    ((array, grid),) = place_on_grid({"ct": volume}, "native").values()
    np.testing.assert_allclose(grid.directions, np.fliplr(np.eye(3)), atol=1e-9)
    inside = (array != AIR_HU)[2:-2, 2:-2, 2:-2]
    assert inside.mean() > 0.3
    wrong = errors(array, grid)[2:-2, 2:-2, 2:-2]
    assert np.quantile(wrong[inside], 0.9) <= 1.1
    assert wrong[tuple(n // 2 for n in wrong.shape)] <= 1.1


NATIVE_AXES = {
    "HFS": "SPL", "HFP": "SAR", "FFS": "IPR", "FFP": "IAL", "HFDR": "SLA", "HFDL": "SRP", "FFDR": "ILP", "FFDL": "IRA",
    "sagittal": "RIP", "coronal": "PIL",
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE_AXES)
def test_the_record_says_how_the_series_lay(tmp_path: Path, name: str) -> None:
    write(tmp_path / "in", scan(*ALL[name]))
    record = converted(tmp_path / "in", tmp_path / "out")
    assert record.ct is not None
    assert record.ct.geometry is not None
    told = record.ct.geometry.model_dump()
    assert told["native_axes"] == NATIVE_AXES[name]
    assert "oblique_deg" not in told
    assert sorted(told["native_spacing_mm"]) == [1.75, 2.5, 3.2]


def test_the_record_says_how_oblique_the_series_lay(tmp_path: Path) -> None:
    write(tmp_path / "in", scan(*OTHERS["oblique"]))
    record = converted(tmp_path / "in", tmp_path / "out")
    assert record.ct is not None
    assert record.ct.geometry is not None
    assert record.ct.geometry.model_dump()["oblique_deg"] == pytest.approx(np.degrees(np.arccos(0.768)), abs=0.001)


def converted(folder: Path, out: Path, form: str = "nifti", grid: str = "native") -> Study:
    (study,) = scan_studies([folder])
    (done,) = Convert(out, grid, form)(study)
    assert isinstance(done, Study)
    return done


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_nifti_says_the_same_in_other_programs(tmp_path: Path, name: str, modality: str) -> None:
    import SimpleITK

    folder = tmp_path / "in"
    write(folder, scan(*ALL[name]), modality)
    record = converted(folder, tmp_path / "out")
    told = record.ct or record.pet
    assert told is not None
    factor = 1.0 if told.suv is None or told.suv.factor is None else told.suv.factor
    mine = load_volume(told.path)

    by_nibabel: Any = nibabel.load(told.path)
    assert by_nibabel.get_data_dtype() == mine.dtype
    np.testing.assert_array_equal(np.asarray(by_nibabel.dataobj).T, mine)
    ras = np.diag([-1.0, -1, 1, 1]) @ np.array(told.affine)[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(by_nibabel.affine, ras, atol=1e-4)
    for form, code in (by_nibabel.get_sform(coded=True), by_nibabel.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(form, ras, atol=1e-3)
    if "oblique" not in name:
        assert nibabel.aff2axcodes(by_nibabel.affine) == ("L", "P", "S")

    image = SimpleITK.ReadImage(told.path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), mine)
    assert image.GetSize()[::-1] == mine.shape
    for index in np.ndindex(*image.GetSize()):
        place = np.array(image.TransformIndexToPhysicalPoint(tuple(map(int, index))))
        expected = float(place @ GRADIENT)
        assert image.GetPixel(*map(int, index)) / factor == pytest.approx(expected, abs=ROUNDING + 0.02)


needs_dcm2niix = pytest.mark.skipif(not DCM2NIIX.exists(), reason="dcm2niix is not installed beside the interpreter")


def by_dcm2niix(folder: Path, out: Path) -> Any:
    out.mkdir()
    told = subprocess.run(
        [str(DCM2NIIX), "-b", "n", "-z", "n", "-f", "v", "-o", str(out), str(folder)], capture_output=True
    )
    assert told.returncode == 0, told.stdout
    (path,) = out.glob("*.nii")
    return nibabel.load(path)


def assert_same_everywhere(record_affine: Any, mine: np.ndarray, other: Any, rtol: float) -> None:
    """Every voxel of `mine` has the value that `other` (RAS) has at the same patient coordinate."""
    theirs = np.squeeze(np.asarray(other.dataobj))
    assert sorted(theirs.shape) == sorted(mine.shape)
    for z, one in enumerate(mine):
        affine = np.array(record_affine)
        affine[:3, 3] += z * affine[:3, 0]
        ras = places(Grid((1, *one.shape), affine)).reshape(-1, 3) * [-1, -1, 1]
        index = np.linalg.solve(other.affine[:3, :3], (ras - other.affine[:3, 3]).T)
        nearest = np.rint(index).astype(int)
        assert np.abs(index - nearest).max() < 0.03
        np.testing.assert_allclose(one.ravel(), theirs[tuple(nearest)], rtol=rtol, atol=rtol)


@needs_dcm2niix
@pytest.mark.parametrize("name", ALL)
def test_the_same_value_as_dcm2niix_at_every_place(tmp_path: Path, name: str) -> None:
    slices = scan(*ALL[name], shape=(9, 8))
    np.random.default_rng(4).shuffle(slices)  # type: ignore[arg-type]
    write(tmp_path / "in", slices, PatientPosition=name if name in PATIENT_POSITIONS else "HFS")
    record = converted(tmp_path / "in", tmp_path / "out")
    assert record.ct is not None
    other = by_dcm2niix(tmp_path / "in", tmp_path / "theirs")
    assert_same_everywhere(record.ct.affine, load_volume(record.ct.path), other, 0)


@needs_dcm2niix
@pytest.mark.real
def test_a_real_chest_ct_as_dcm2niix_reads_it(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((real_data / "lung1_001_ct").iterdir())[40:80]:
        (folder / path.name).symlink_to(path)
    record = converted(folder, tmp_path / "out", "b2nd")
    assert record.ct is not None
    other = by_dcm2niix(folder, tmp_path / "theirs")
    assert_same_everywhere(record.ct.affine, load_volume(record.ct.path), other, 0)


@needs_dcm2niix
@pytest.mark.real
def test_a_real_pet_as_dcm2niix_reads_it(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "sts_001" / "pet_crop"
    other = by_dcm2niix(folder, tmp_path / "theirs")
    volume = read_pet([read_instance(path) for path in sorted(folder.iterdir())])
    assert_same_everywhere(volume.grid.affine, volume.array, other, 1e-5)
