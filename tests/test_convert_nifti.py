"""NIfTI pairs to volumes: every voxel at its place, SUV only where facts make it one, damage with a code."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import orjson
import pytest
from conftest import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import petct_here

from petct_cli.core.errors import RecordError
from petct_cli.volume import nifti
from petct_cli.volume.nifti_input import read_nifti
from petct_cli.volume.storage import load_volume

AFFINE = np.array([[-4.0, 0, 0, 30], [0, -4, 0, 25], [0, 0, 3, -60], [0, 0, 0, 1]])
SUV = np.random.default_rng(1).gamma(1.0, 1.5, (8, 9, 10)).astype(np.float32)
CT = np.random.default_rng(2).uniform(-1000, 1200, (8, 9, 10)).astype(np.float32)
HALVING = 6586.2
SIDECAR = {  # as dcm2niix writes it, and the injection added by hand
    "Modality": "PT",
    "PatientSex": "F",
    "PatientWeight": 70,
    "TracerRadionuclide": "18Fluorine",
    "InjectedRadioactivity": 350,
    "InjectedRadioactivityUnits": "MBq",
    "RadionuclideHalfLife": HALVING,
    "Units": "Bq/mL",
    "DecayCorrection": "START",
    "FrameDuration": [120],
    "SeriesTime": "10:55:00",
    "AcquisitionTime": "11:00:00.000000",
    "ScanStart": 0,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
    "AttenuationCorrectionMethod": "measured",
    "RadiopharmaceuticalStartTime": "10:00:00",
}
BIDS = {
    "TracerRadionuclide": "F18",
    "InjectedRadioactivity": 350,
    "InjectedRadioactivityUnits": "MBq",
    "Units": "kBq/mL",
    "TimeZero": "10:00:00",
    "InjectionStart": 0,
    "ScanStart": 3600,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 3600,
    "AttenuationCorrection": "CT",
    "BodyWeight": 70,
}


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, **codes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(codes.get("sform", affine), codes.get("sform_code", 1))
    image.set_qform(codes.get("qform", affine), codes.get("qform_code", 1))
    nibabel.save(image, path)
    return path


def convert(folder: Path, *options: str) -> Result:
    return petct_here("convert", folder.name, "-o", "out", "--grid", "native", *options, cwd=folder.parent)


def only(result: Result) -> dict[str, Any]:
    (record,) = result.records
    return record


def pet_of(folder: Path, values: np.ndarray, sidecar: Any = None, name: str = "PET") -> dict[str, Any]:
    write(folder / "case" / f"{name}.nii.gz", values)
    if sidecar is not None:
        text = sidecar if isinstance(sidecar, bytes) else json.dumps(sidecar).encode()
        (folder / "case" / f"{name}.json").write_bytes(text)
    return only(convert(folder))


def turned(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    return matrix


ORIENTATIONS = {
    "LAS of autoPET": np.diag([-4.0, -4.0, 3.0, 1]),
    "RAS": np.diag([4.0, 4.0, 3.0, 1]),
    "head first in the file": np.diag([-4.0, -4.0, -3.0, 1]),
    "sagittal": np.array([[0, 0, 3.0, 0], [4.0, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 0, 1]]),
    "coronal": np.array([[4.0, 0, 0, 0], [0, 0, -3.0, 0], [0, 4.0, 0, 0], [0, 0, 0, 1]]),
    "oblique": turned(17) @ np.diag([4.0, 4.0, 3.0, 1]),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("form", ["b2nd", "nifti"])
def test_every_voxel_keeps_its_place(tmp_path: Path, name: str, form: str) -> None:
    affine = ORIENTATIONS[name].astype(np.float64)
    affine[:3, 3] = [12.5, -30.25, 7]
    write(tmp_path / "in" / "a" / "SUV.nii.gz", SUV, affine)
    write(tmp_path / "in" / "a" / "CT.nii.gz", CT, affine)
    record = only(convert(tmp_path / "in", "--format", form))
    for role, source in (("pet", SUV), ("ct", np.rint(CT))):
        volume, told = load_volume(tmp_path / record[role]["path"]), np.array(record[role]["affine"])
        # Of each voxel of the source: its place in RAS mm, the same in LPS, and the index that the record gives it.
        index = np.indices(source.shape).reshape(3, -1)
        ras = affine @ np.vstack([index, np.ones(index.shape[1])])
        lps = np.diag([-1.0, -1, 1, 1]) @ ras
        own = np.rint(np.linalg.solve(told, lps)[:3]).astype(int)
        np.testing.assert_allclose(told @ np.vstack([own, np.ones(own.shape[1])]), lps, atol=1e-4)
        np.testing.assert_array_equal(volume[tuple(own)], source[tuple(index)])
        assert (np.fliplr(np.eye(3)) * told[:3, :3]).max(axis=0).min() > 0  # head, back, left
    assert (record["ct"]["dtype"], record["pet"]["dtype"], record["ct"]["unit"]) == ("int16", "float32", "HU")


def test_autopet_layout(tmp_path: Path) -> None:
    for patient, day in (("PETCT_01", "03-23-2003-NA-PET-CT Ganz"), ("PETCT_01", "05-01-2003-x"), ("PETCT_02", "1")):
        folder = tmp_path / "in" / patient / day
        write(folder / "SUV.nii.gz", SUV)
        write(folder / "PET.nii.gz", SUV * 3000)
        write(folder / "CTres.nii.gz", CT)
        write(folder / "CT.nii.gz", np.repeat(CT, 2, 0), AFFINE @ np.diag([0.5, 1, 1, 1]))
        write(folder / "SEG.nii.gz", (SUV > 3).astype(np.uint8))
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert (result.code, result.stderr) == (0, "")
    assert [record["patient"] for record in result.records] == ["PETCT_01", "PETCT_01", "1"]
    assert [record["id"] for record in result.records][1:] == ["PETCT_01_05-01-2003-x", "1"]
    record = result.records[0]
    assert {one["files"][0]: one.get("role") or one["set_aside"] for one in record["series"]} == {
        "CT.nii.gz": "ct",
        "CTres.nii.gz": "resampled image, the original is there",
        "SUV.nii.gz": "pet",
        "PET.nii.gz": "the SUV of it is there",
        "SEG.nii.gz": "modality SEG",
    }
    assert record["ct"]["shape"] == record["pet"]["shape"] == [10, 9, 8]
    assert record["ct"]["affine"] == record["pet"]["affine"]
    assert record["ct"]["geometry"]["native_shape"] == [10, 9, 16]
    suv = record["pet"]["suv"]
    assert (record["pet"]["unit"], suv["factor"], suv["assumed"]) == ("SUVbw", 1.0, ["unit", "suv_type"])
    picked = petct_here("convert", "in", "-o", "o2", "--ct-series", "description:^CTres$", cwd=tmp_path).records[0]
    assert [one["files"] for one in picked["series"] if one.get("role") == "ct"] == [["CTres.nii.gz"]]


def test_nnunet_layout_and_prefixes(tmp_path: Path) -> None:
    for name in ("fdg_7_2003-03-23_x", "case.2"):
        write(tmp_path / "in" / "imagesTr" / f"{name}_0000.nii.gz", CT)
        write(tmp_path / "in" / "imagesTr" / f"{name}_0001.nii.gz", SUV)
        write(tmp_path / "in" / "labelsTr" / f"{name}.nii.gz", (SUV > 3).astype(np.uint8))
    write(tmp_path / "in" / "mr" / "brain_0000.nii.gz", CT)  # one channel may be anything
    write(tmp_path / "in" / "flat" / "p9_ct.nii", CT)
    write(tmp_path / "in" / "flat" / "p9_pet.nii", SUV * 3000)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    told = {record["id"]: (record["patient"], record["pet"]["unit"]) for record in result.records}
    assert told == {
        "p9": ("p9", "Bq/ml"),
        "case.2": ("case.2", "SUVbw"),
        "fdg_7_2003-03-23_x": ("fdg_7", "SUVbw"),
    }


def test_bids_layout(tmp_path: Path) -> None:
    for session in ("ses-1", "ses-2"):
        place = tmp_path / "in" / "sub-01" / session
        pet = write(place / "pet" / f"sub-01_{session}_trc-FDG_pet.nii.gz", SUV * 3)
        pet.with_name(pet.name.replace(".nii.gz", ".json")).write_text(json.dumps(BIDS))
        write(place / "ct" / f"sub-01_{session}_ct.nii.gz", CT)
        write(place / "pet" / f"sub-01_{session}_rec-nacstat_pet.nii.gz", SUV * 9)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert [(one["id"], one["patient"], one["pet"]["unit"]) for one in result.records] == [
        ("sub-01_ses-1", "sub-01", "SUVbw"),
        ("sub-01_ses-2", "sub-01", "SUVbw"),
    ]
    assert all(record["ct"]["shape"] == record["pet"]["shape"] for record in result.records)
    reasons = [one["set_aside"] for record in result.records for one in record["series"] if "set_aside" in one]
    assert reasons == ["no attenuation correction"] * 2


def test_pt_says_nothing_of_its_unit(tmp_path: Path) -> None:
    write(tmp_path / "in" / "CHUX-001__CT.nii.gz", CT)
    write(tmp_path / "in" / "CHUX-001__PT.nii.gz", SUV)
    record = only(convert(tmp_path / "in"))
    assert (record["id"], record["pet"]["unit"]) == ("CHUX-001", "stored")


def test_the_same_name_in_two_places_is_two_patients(tmp_path: Path) -> None:
    for site in ("hue", "hanoi"):
        write(tmp_path / "in" / site / "a" / "SUV.nii.gz", SUV)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert [(one["id"], one["patient"]) for one in result.records] == [("hanoi_a", "hanoi"), ("hue_a", "hue")]


def test_a_persons_name_becomes_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "in" / "Trần Văn Kín" / "SUV.nii.gz", SUV)
    record = only(petct_here("convert", "in", "-o", "out", cwd=tmp_path))
    assert len(record["id"]) == 16
    assert "Kín" not in record["id"] + record["patient"] + record["pet"]["path"]


def test_own_output_is_no_input(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a" / "SUV.nii.gz", SUV)
    first = petct_here("convert", ".", "-o", "out", "--format", "nifti", cwd=tmp_path)
    again = petct_here("convert", ".", "-o", "out", "--format", "nifti", cwd=tmp_path)
    assert len(first.records) == 1
    assert first.stdout == again.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_same_bytes_for_any_number_of_jobs(tmp_path: Path, jobs: str) -> None:
    for k in range(3):
        write(tmp_path / "in" / f"c{k}" / "SUV.nii.gz", SUV + k)
    result = petct_here("convert", "in", "-o", "out", "--jobs", jobs, cwd=tmp_path)
    assert [record["id"] for record in result.records] == ["c0", "c1", "c2"]
    plain = petct_here("convert", "in", "-o", "out2", cwd=tmp_path)
    assert plain.stdout.replace(b"out2/", b"out/") == result.stdout


@pytest.mark.parametrize(("sidecar", "scale", "interval"), [(SIDECAR, 1.0, 3300.0), (BIDS, 1000.0, 3600.0)])
def test_activity_becomes_suv_by_its_sidecar(
    tmp_path: Path, sidecar: dict[str, Any], scale: float, interval: float
) -> None:
    told = pet_of(tmp_path / "in", SUV * 3000 / np.float32(scale), sidecar)["pet"]
    factor = scale * 70e3 / (350e6 * 2 ** (-interval / HALVING))
    assert (told["unit"], told["suv"]["branch"]) == ("SUVbw", "BQML/START")
    assert told["suv"]["factor"] == pytest.approx(factor)
    volume = load_volume(tmp_path / told["path"])
    np.testing.assert_allclose(volume.max(), (SUV * 3000 / scale).max() * factor, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"RadiopharmaceuticalStartTime": None}, "suv_missing_injection_time"),
        ({"RadiopharmaceuticalStartTime": None, "InjectionStart": 0}, "suv_absurd_interval"),
        ({"PatientWeight": 0}, "suv_missing_weight"),
        ({"PatientWeight": "Nguyễn"}, "suv_missing_weight"),
        ({"InjectedRadioactivity": None}, "suv_missing_dose"),
        ({"AttenuationCorrectionMethod": "NONE"}, "suv_not_attenuation_corrected"),
        ({"RadionuclideHalfLife": 4000}, "suv_absurd_half_life"),
    ],
)
def test_activity_without_the_facts_stays_activity(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    sidecar = {key: value for key, value in {**SIDECAR, **change}.items() if value is not None}
    told = pet_of(tmp_path / "in", SUV * 3000, sidecar)["pet"]
    assert (told["unit"], told["suv_lacks"], "suv" in told) == ("Bq/ml", code, False)
    np.testing.assert_allclose(load_volume(tmp_path / told["path"]).max(), (SUV * 3000).max())


def test_a_sidecar_tells_the_scanner(tmp_path: Path) -> None:
    told = {"Manufacturer": "ACME", "ManufacturersModelName": "Body 64", "InstitutionName": "BV X", "Units": "BQML"}
    record = pet_of(tmp_path / "in", SUV, told)
    assert record["scanner"] == "ACME Body 64"
    assert "BV X" not in json.dumps(record)


def test_activity_without_a_sidecar_is_never_called_suv(tmp_path: Path) -> None:
    told = pet_of(tmp_path / "in", SUV * 3000)["pet"]
    assert (told["unit"], told["suv_lacks"]) == ("Bq/ml", "suv_missing_dose")
    # Called PET and yet in the range of SUV: nobody says what it is.
    told = pet_of(tmp_path / "in2", SUV)["pet"]
    assert (told["unit"], told["suv_lacks"]) == ("stored", "pet_unit_implausible")


def test_the_records_patient_and_facts_count(tmp_path: Path) -> None:
    write(tmp_path / "in" / "x.nii.gz", SUV * 3000)
    facts = {key: value for key, value in SIDECAR.items() if key != "PatientWeight"}
    series = {"modality": "PT", "dir": "in", "files": ["x.nii.gz"], "unit": "Bq/ml", "facts": facts}
    line = orjson.dumps({"type": "study", "id": "s", "weight_kg": 70.0, "series": [series]})
    record = only(petct_here("convert", "-", "-o", "out", stdin=line, cwd=tmp_path))
    assert record["pet"]["suv"]["inputs"]["weight_kg"] == 70.0
    assert record["pet"]["suv"]["factor"] == pytest.approx(70e3 / (350e6 * 2 ** (-3300 / HALVING)))


def test_suv_of_another_type_by_its_sidecar(tmp_path: Path) -> None:
    facts = {"Units": "g/ml", "SUVType": "LBMJANMA", "PatientWeight": 70, "PatientSize": 1.7, "PatientSex": "F"}
    told = pet_of(tmp_path / "in", SUV, facts, "SUV")["pet"]
    assert (told["suv"]["branch"], told["suv"]["type"]) == ("GML/LBMJANMA", "bw")
    assert told["suv"]["factor"] > 1


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    raw = bytearray(gzip.decompress(whole))
    if how == "cut gzip":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "flipped bits":
        path.write_bytes(whole[:600] + bytes(b ^ 0x5A for b in whole[600:640]) + whole[640:])
    elif how == "cut data":
        path.write_bytes(gzip.compress(bytes(raw[:-9])))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(gzip.compress(b"no volume " * 99))
    elif how == "four axes":
        raw[40:50] = np.array([4, 8, 9, 5, 2], "<i2").tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
    elif how == "offset":
        raw[108:112] = np.array([np.inf], "<f4").tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))


@pytest.mark.parametrize("how", ["cut gzip", "flipped bits", "cut data", "empty", "text", "four axes", "offset"])
def test_damage(tmp_path: Path, how: str) -> None:
    write(tmp_path / "in" / "bad" / "CT.nii.gz", CT)
    damaged(write(tmp_path / "in" / "bad" / "SUV.nii.gz", SUV), how)
    write(tmp_path / "in" / "good" / "SUV.nii.gz", SUV)
    result = convert(tmp_path / "in")
    codes = {record["id"]: record.get("error", {}).get("code") for record in result.records}
    assert (result.code, codes) == (1, {"bad": "nifti_damaged", "good": None})
    assert "in/bad/SUV.nii.gz" in result.stderr


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_header_gives_a_volume_or_a_code(data: st.DataObject) -> None:
    whole = bytearray(nifti.encode(np.zeros((3, 4, 5), np.int16), AFFINE[:, [2, 1, 0, 3]]))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.one_of(st.integers(0, 347), st.integers(40, 130), st.integers(252, 330)))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        path.write_bytes(whole[:cut])
        with np.errstate(all="ignore"):
            try:
                array, grid = read_nifti(path)
            except RecordError as fault:
                assert fault.code.startswith(("nifti_", "array_"))  # noqa: PT017  either is right
                return
    assert array.shape == grid.shape
    assert np.isfinite(grid.affine).all()


@pytest.mark.parametrize("seed", range(5))
def test_nibabel_and_petct_agree_on_any_affine(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.5, 5, 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    path = write(tmp_path / "a.nii.gz", SUV, affine, **({"sform_code": 0} if seed % 2 else {}))
    array, grid = read_nifti(path)
    ras = nibabel.load(path).affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(grid.affine @ [4, 3, 2, 1], np.array([-1, -1, 1, 1]) * ras, atol=1e-3)
    assert array[4, 3, 2] == SUV[2, 3, 4]


SHIFTED = AFFINE.copy()
SHIFTED[:3, 3] += [0, 0, 6]


@pytest.mark.parametrize(
    ("code", "values", "codes"),
    [
        ("nifti_transforms_disagree", SUV, {"qform": SHIFTED}),
        ("nifti_transforms_disagree", SUV, {"qform": AFFINE @ np.diag([1, -1, 1, 1])}),
        ("nifti_no_geometry", SUV, {"sform_code": 0, "qform_code": 0}),
        ("nifti_bad_affine", SUV, {"sform": np.diag([4.0, 0, 3, 1]), "qform_code": 0}),
        ("array_not_finite", np.where(SUV > 6, np.nan, SUV).astype(np.float32), {}),
        ("pet_not_suv", SUV * 3000, {}),
    ],
)
def test_refusals(tmp_path: Path, code: str, values: np.ndarray, codes: dict[str, Any]) -> None:
    write(tmp_path / "in" / "a" / "SUV.nii.gz", values, **codes)
    assert only(convert(tmp_path / "in"))["error"]["code"] == code


@pytest.mark.parametrize("codes", [{"sform_code": 0}, {"qform_code": 0}, {"qform": AFFINE + 1e-4 * np.eye(4)}])
def test_one_transform_or_two_that_agree(tmp_path: Path, codes: dict[str, Any]) -> None:
    if "qform" in codes:
        codes["qform"][3, 3] = 1
    write(tmp_path / "in" / "a" / "SUV.nii.gz", SUV, **codes)
    told = only(convert(tmp_path / "in"))["pet"]
    np.testing.assert_allclose(
        told["affine"], [[0, 0, 4, -30], [0, 4, 0, -25], [3, 0, 0, -60], [0, 0, 0, 1]], atol=1e-3
    )


def test_pair_that_does_not_overlap(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a" / "SUV.nii.gz", SUV)
    far = AFFINE.copy()
    far[0, 3] += 900
    write(tmp_path / "in" / "a" / "CT.nii.gz", CT, far)
    assert only(convert(tmp_path / "in"))["error"]["code"] == "no_overlap"


def test_dicom_beside_an_array_in_one_record_is_refused(tmp_path: Path) -> None:
    from dicom_factory import write_series

    write_series(tmp_path / "ct", "CT", np.zeros((4, 4, 4)))
    write(tmp_path / "in" / "SUV.nii.gz", SUV)
    series = [{"modality": "CT", "dir": "ct"}, {"modality": "PT", "dir": "in", "files": ["SUV.nii.gz"]}]
    line = orjson.dumps({"type": "study", "id": "s", "series": series})
    record = only(petct_here("convert", "-", "-o", "out", stdin=line, cwd=tmp_path))
    assert record["error"]["code"] == "mixed_inputs"


def test_unreadable_sidecar(tmp_path: Path) -> None:
    record = pet_of(tmp_path / "in", SUV * 3000, b'{"PatientName": "Tr\xe1n"')
    assert record["error"]["code"] == "sidecar_unreadable"


def test_a_changed_sidecar_is_other_work(tmp_path: Path) -> None:
    first = pet_of(tmp_path / "in", SUV * 3000, SIDECAR)
    again = pet_of(tmp_path / "in", SUV * 3000, {**SIDECAR, "PatientWeight": 35})
    assert again["pet"]["suv"]["factor"] == pytest.approx(first["pet"]["suv"]["factor"] / 2)


def test_ct_is_rounded_and_kept_within_int16(tmp_path: Path) -> None:
    values = np.tile(np.array([-1024.5, -0.6, 0.4, 40000, -40000], np.float64), (4, 4, 1))
    write(tmp_path / "in" / "a" / "CT.nii.gz", values)
    volume = load_volume(tmp_path / only(convert(tmp_path / "in"))["ct"]["path"])
    assert volume[:, 0, 0].tolist() == [-1024, -1, 0, 32767, -32768]


def test_integers_with_slope_and_no_suffix_gz(tmp_path: Path) -> None:
    header = bytearray(nifti.encode((SUV.T * 1000).astype(np.uint16), np.eye(4)[:, [2, 1, 0, 3]]))
    header[112:116] = np.array([0.001], "<f4").tobytes()
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "suv.nii").write_bytes(header)
    told = only(convert(tmp_path / "in"))["pet"]
    np.testing.assert_allclose(load_volume(tmp_path / told["path"]), SUV.T, atol=1.1e-3)
