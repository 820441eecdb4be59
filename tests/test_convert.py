"""``petct convert`` as a user runs it: real series, every fault, resume, both formats, all grids."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import orjson
import pytest
from conftest import REPOSITORY, Result, clean_environment, environment_on_a_full_disk
from dicom_factory import PATIENT_ID, PATIENT_NAME, STUDY_UID, write_series
from in_process import petct_here

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_array
from petct_cli.core.records import Series, Study, Volume
from petct_cli.dicom.input_files import InputFiles
from petct_cli.dicom.scan import scan_studies, study_id
from petct_cli.stages.convert import Convert
from petct_cli.stages.convert_rules import parse_grid
from petct_cli.volume.storage import load_affine, load_volume

Petct = Callable[..., Result]
CT = np.add.outer(np.arange(10) * 50, np.add.outer(np.arange(32), np.arange(32))).astype(np.int16) - 500
PET = (np.add.outer(np.arange(10) * 100, np.add.outer(np.arange(16) * 10, np.arange(16)))).astype(np.int16)
PET_SPACING = {"PixelSpacing": [4, 4]}


def make_study(folder: Path, **pet: Any) -> Path:
    write_series(folder / "ct", "CT", CT, RescaleIntercept=-10)
    write_series(folder / "pet", "PT", PET, **{**PET_SPACING, **pet})
    return folder


def only(result: Result) -> dict[str, Any]:
    (record,) = result.records
    return record


def converted(out: Path, *folders: Path, grid: str = "pet") -> Study:
    """The one study of `folders`, converted by the library function."""
    (study,) = scan_studies(folders)
    (done,) = Convert(out, grid)(study)
    assert isinstance(done, Study)
    return done


def volume_of(record: Study, role: str) -> tuple[Volume, np.ndarray]:
    volume = getattr(record, role)
    return volume, load_volume(volume.path)


def error_code(result: Result) -> str:
    return str(only(result)["error"]["code"])


def test_study_of_two_series(petct: Petct, tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    result = petct("convert", "in", "-o", "out", cwd=tmp_path)
    record = only(result)
    assert (result.code, result.stderr) == (0, "")
    assert record["id"] == study_id(STUDY_UID)
    assert [(series["modality"], series["role"]) for series in record["series"]] == [("CT", "ct"), ("PT", "pet")]
    assert [entry["stage"] for entry in record["provenance"]] == ["convert"]
    ct, pet = record["ct"], record["pet"]
    assert (ct["unit"], ct["dtype"], pet["unit"], pet["dtype"]) == ("HU", "int16", "SUVbw", "float32")
    assert ct["shape"] == pet["shape"] == [10, 16, 16]
    assert ct["affine"] == pet["affine"] == [[0, 0, 4, 0], [0, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]]
    assert pet["path"] == f"out/{record['id']}/pet.b2nd"
    assert pet["geometry"] == {
        "verdict": "even",
        "deviation_mm": 0.0,
        "native_shape": [10, 16, 16],
        "native_spacing_mm": [3.0, 4.0, 4.0],
        "native_axes": "SPL",
        "resampled": False,
        "z_overlap": 1.0,
    }
    suv = pet["suv"]
    assert (suv["type"], suv["branch"], suv["assumed"]) == ("bw", "BQML/START", [])
    volume = load_volume(tmp_path / pet["path"])
    assert sha256_array(volume) == pet["sha256"]
    np.testing.assert_allclose(volume, PET * suv["factor"], rtol=1e-6)
    # The field is linear in space, so on any grid it must have the value of its place.
    coarse = load_volume(tmp_path / ct["path"])
    assert coarse[5, 8, 8] == 5 * 50 + 16 + 16 - 500 - 10


def test_the_scanner_is_told_as_the_pet_says_it(petct: Petct, tmp_path: Path) -> None:
    told = {"Manufacturer": "ACME MEDICAL", "ManufacturerModelName": "Whole  Body 64", "InstitutionName": "BV X"}
    make_study(tmp_path / "in", **told)
    write_series(tmp_path / "in/ct", "CT", CT, RescaleIntercept=-10, Manufacturer="OTHER")
    petct("anonymize", "in", "-o", "clean", "--key-file", "key", "--new-key", cwd=tmp_path)
    (study,) = scan_studies([tmp_path / "in"])
    for folder in ("in", "clean"):
        result = petct("convert", folder, "-o", "out", cwd=tmp_path)
        assert only(result)["scanner"] == "ACME MEDICAL Whole Body 64"
        assert b"BV X" not in result.stdout
    (kept,) = Convert(tmp_path / "kept")(study.with_fields(scanner="PET 1"))
    assert isinstance(kept, Study)
    assert kept.scanner == "PET 1"
    write_series(tmp_path / "alone/ct", "CT", CT, Manufacturer="OTHER")
    assert converted(tmp_path / "o2", tmp_path / "alone").scanner == "OTHER"
    assert "scanner" not in converted(tmp_path / "o3", make_study(tmp_path / "nobody")).to_json()


def test_output_says_nothing_of_the_patient(petct: Petct, tmp_path: Path) -> None:
    make_study(tmp_path / "in", PatientWeight=None)
    result = petct("convert", "in", "-o", "out", "--json-logs", "log", cwd=tmp_path)
    told = result.stdout.decode() + result.stderr + (tmp_path / "log").read_text()
    for value in (PATIENT_ID, *PATIENT_NAME.split("^"), "20240305", "110000", STUDY_UID):
        assert value not in told


@pytest.mark.real
def test_real_crops_are_one_study_of_two_folders(tmp_path: Path, real_data: Path) -> None:
    crops = real_data / "sts_001"
    record = only(petct_here("convert", crops / "ct_crop", crops / "pet_crop", "-o", "vol", cwd=tmp_path))
    assert [(one["modality"], one.get("role")) for one in record["series"]] == [("CT", "ct"), ("PT", "pet")]
    assert record["ct"]["shape"] == record["pet"]["shape"] == [59, 43, 41]
    assert record["pet"]["suv"]["branch"] == "GML/BW"


@pytest.mark.real
def test_real_parent_folder_takes_the_original_pet(tmp_path: Path, real_data: Path) -> None:
    result = petct_here("convert", real_data / "sts_001", "-o", "vol", "--grid", "native", cwd=tmp_path)
    record = only(result)
    told = {Path(one["dir"]).name: one.get("role") or one["set_aside"] for one in record["series"]}
    assert told == {"ct_crop": "ct", "pet_crop": "derived image, the original is there", "pet_raw_ge": "pet"}
    assert record["pet"]["geometry"]["verdict"] == "even"
    assert record["pet"]["geometry"]["deviation_mm"] == 0.04
    assert "covers only 22 % of the PET" in result.stderr
    volume = load_volume(tmp_path / record["pet"]["path"])
    assert volume.max() == pytest.approx(66.52, abs=0.01)


@pytest.mark.real
@pytest.mark.parametrize(("name", "verdict"), [("gantry_tilt", "tilt"), ("uneven_gap", "uneven")])
def test_real_odd_series(tmp_path: Path, real_data: Path, name: str, verdict: str) -> None:
    record = only(petct_here("convert", real_data / "odd_ct" / name, "-o", "vol", cwd=tmp_path))
    assert record["ct"]["geometry"]["verdict"] == verdict
    assert record["ct"]["geometry"]["resampled"]
    affine = np.array(record["ct"]["affine"])
    np.testing.assert_allclose(affine[:3, :3] / record["ct"]["spacing_mm"], np.fliplr(np.eye(3)), atol=1e-9)


@pytest.mark.real
def test_real_chest_ct_keeps_its_voxels(tmp_path: Path, real_data: Path) -> None:
    import SimpleITK

    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((real_data / "lung1_001_ct").iterdir())[20:60]:
        (folder / path.name).symlink_to(path)
    record = only(petct_here("convert", folder, "-o", "vol", cwd=tmp_path))
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(names))
    volume = load_volume(tmp_path / record["ct"]["path"])
    np.testing.assert_array_equal(volume, other)
    assert "pet" not in record


@pytest.mark.parametrize(
    ("grid", "ct_shape", "pet_shape"),
    [
        ("pet", [10, 16, 16], [10, 16, 16]),
        ("ct", [10, 32, 32], [10, 32, 32]),
        ("native", [10, 32, 32], [10, 16, 16]),
        ("iso:6", [5, 11, 11], [5, 11, 11]),
    ],
)
def test_grids(tmp_path: Path, grid: str, ct_shape: list[int], pet_shape: list[int]) -> None:
    record = converted(tmp_path / "out", make_study(tmp_path / "in"), grid=grid)
    assert record.pet is not None
    assert record.pet.suv is not None
    assert record.pet.suv.factor is not None
    for role, shape in (("ct", ct_shape), ("pet", pet_shape)):
        told, volume = volume_of(record, role)
        assert told.shape == list(volume.shape) == shape
        affine = load_affine(told.path)
        np.testing.assert_allclose(affine, told.affine)
        z, y, x = (n // 2 for n in shape)
        px, py, pz = (np.array(affine) @ [z, y, x, 1])[:3]
        if role == "ct":
            assert volume[z, y, x] == pytest.approx(pz / 3 * 50 + py / 2 + px / 2 - 510, abs=1)
        else:
            becquerel = pz / 3 * 100 + py / 4 * 10 + px / 4
            assert volume[z, y, x] == pytest.approx(becquerel * record.pet.suv.factor, rel=1e-4)


def test_nifti_opens_in_other_programs(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    record = only(petct_here("convert", "in", "-o", "out", "--format", "nifti", cwd=tmp_path))
    image = nibabel.load(tmp_path / record["pet"]["path"])
    assert image.shape == (16, 16, 10)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    x, y, z = 3, 5, 7
    assert float(image.dataobj[x, y, z]) == pytest.approx(PET[z, y, x] * record["pet"]["suv"]["factor"], rel=1e-6)


def test_slices_in_any_order_and_direction_give_the_same_volume(tmp_path: Path) -> None:
    plain = converted(tmp_path / "va", make_study(tmp_path / "a"))
    order = np.random.default_rng(5).permutation(10)
    write_series(tmp_path / "b", "CT", CT[order], [[0, 0, 3.0 * k] for k in order], RescaleIntercept=-10)
    # The same PET, told as rows and columns that run the other way.
    turned, prone = PET[:, ::-1, ::-1], {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0], **PET_SPACING}
    names = [f"p{i}" for i in range(10)]
    write_series(tmp_path / "b", "PT", turned, [[60, 60, 3.0 * k] for k in range(10)], names=names, **prone)
    other = converted(tmp_path / "vb", tmp_path / "b")
    for role in ("ct", "pet"):
        expected, told = getattr(plain, role), getattr(other, role)
        assert (told.sha256, told.affine) == (expected.sha256, expected.affine)


def test_per_slice_slopes_and_factors(tmp_path: Path) -> None:
    def change(dataset: Any, index: int) -> None:
        dataset.RescaleSlope = 1 + index / 10
        dataset.AcquisitionTime = f"11{index:02d}00"

    # Stored from the head down: factors must follow the volume, not the files.
    positions = [[0, 0, 3.0 * (9 - k)] for k in range(10)]
    undecayed = {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], **PET_SPACING}
    write_series(tmp_path / "in", "PT", PET, positions, change=change, **undecayed)
    told, volume = volume_of(converted(tmp_path / "out", tmp_path / "in"), "pet")
    expected = [70e3 / (350e6 * 2 ** (-(3600 + 60 * k + 60) / 6586.2)) for k in range(9, -1, -1)]
    assert told.suv is not None
    assert told.suv.per_slice == pytest.approx(expected)
    slopes = 1 + np.arange(9, -1, -1) / 10
    np.testing.assert_allclose(volume, PET[::-1] * (slopes * expected)[:, None, None], rtol=1e-6)


def test_mixed_folder_takes_one_ct_and_one_pet(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_study(folder)
    uid = f"{STUDY_UID}.9"

    def add(name: str, modality: str, volume: np.ndarray, **fields: Any) -> None:
        write_series(folder / name, modality, volume, series=f"{uid}.{int(name.encode().hex()[:6], 16)}", **fields)

    add("scout", "CT", CT[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    add("thin", "CT", CT[:4])
    add("reformat", "CT", np.repeat(CT, 2, 0), ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    add("elsewhere", "CT", np.repeat(CT, 2, 0), FrameOfReferenceUID="1.2.3.4.5")
    add("nac", "PT", np.repeat(PET, 2, 0), CorrectedImage=["DECY"])
    add("mip", "PT", PET, ImageType=["DERIVED", "SECONDARY", "MIP"])
    add("gated", "PT", np.repeat(PET, 2, 0), SeriesType=["GATED", "IMAGE"])
    add("capture", "CT", CT[:2], SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    add("dose", "SR", CT[:1])
    (folder / "VERSION").write_text("a CD")
    record = converted(tmp_path / "out", folder)
    assert {Path(one.dir or "").name: one.role or one.set_aside for one in record.series} == {
        "ct": "ct",
        "pet": "pet",
        "scout": "localizer",
        "thin": "covers less of the PET",
        "reformat": "derived image, the original is there",
        "elsewhere": "another frame of reference than the PET",
        "nac": "no attenuation correction",
        "mip": "projection",
        "gated": "gated, a static series is there",
        "capture": "secondary capture",
        "dose": "modality SR",
    }


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("suv_missing_weight", {"PatientWeight": None}),
        ("suv_missing_weight", {"PatientWeight": 0}),
        ("suv_units_unsupported", {"Units": "CNTS"}),
        ("suv_correction_mixed", {"DecayCorrection": "NONE"}),
        ("suv_not_attenuation_corrected", {"CorrectedImage": ["DECY"]}),
        ("missing_rescale", {"RescaleSlope": None}),
        ("absurd_rescale", {"RescaleIntercept": "99999999999"}),
        ("absurd_rescale", {"RescaleSlope": "-1"}),
        ("frame_of_reference_mismatch", {"FrameOfReferenceUID": "1.2.3"}),
        ("no_image_series", {"Modality": "SR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}),
    ],
)
def test_refusals(tmp_path: Path, code: str, change: dict[str, Any]) -> None:
    make_study(tmp_path / "in", **change)
    if code == "no_image_series":
        shutil.rmtree(tmp_path / "in" / "ct")
    with pytest.raises(RecordError) as fault:
        converted(tmp_path / "out", tmp_path / "in")
    assert fault.value.code == code
    assert not list((tmp_path / "out").glob("*"))


def test_pet_without_weight_stays_in_the_stream_as_failed(tmp_path: Path) -> None:
    make_study(tmp_path / "in", PatientWeight=None)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    record = only(result)
    assert (result.code, record["error"]["stage"], error_code(result)) == (1, "convert", "suv_missing_weight")
    assert record["id"] == study_id(STUDY_UID)
    assert "ct" not in record
    assert "suv_missing_weight" in result.stderr
    assert petct_here("convert", "in", "-o", "out", "--max-failures", "1", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("code", "gone", "doubled"),
    [("geometry_missing_slice", [4], []), ("geometry_duplicate_slice", [], [4])],
)
def test_stacks_that_are_no_volume(tmp_path: Path, code: str, gone: list[int], doubled: list[int]) -> None:
    pet = make_study(tmp_path / "in") / "pet"
    for k in gone:
        (pet / f"IM{k:04d}").unlink()
    for k in doubled:
        write_series(pet, "PT", PET[:1] + 1, [[0, 0, 3.0 * k]], names=["twice"], **PET_SPACING)
    with pytest.raises(RecordError) as fault:
        converted(tmp_path / "out", tmp_path / "in")
    assert fault.value.code == code


def test_identical_copies_of_a_file_do_no_harm(tmp_path: Path) -> None:
    pet = make_study(tmp_path / "in") / "pet"
    shutil.copy(pet / "IM0004", pet / "copy of IM0004")
    assert volume_of(converted(tmp_path / "out", tmp_path / "in"), "pet")[0].shape == [10, 16, 16]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_slice(tmp_path: Path, share: float) -> None:
    make_study(tmp_path / "in")
    victim = tmp_path / "in" / "pet" / "IM0009"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(share * len(whole))])
    record = Study(id="s1", series=[Series(modality="CT", dir="in/ct"), Series(modality="PT", dir="in/pet")])
    result = petct_here("convert", "-", "-o", "out", stdin=orjson.dumps(record.to_json()), cwd=tmp_path)
    assert (result.code, error_code(result)) == (1, "dicom_truncated")
    assert "in/pet/IM0009" in result.stderr
    assert "of" in result.stderr


def test_scanned_truncated_header_is_said(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    victim = tmp_path / "in" / "pet" / "IM0005"
    victim.write_bytes(victim.read_bytes()[:200])
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert error_code(result) == "geometry_missing_slice"
    assert "in/pet/IM0005: damaged DICOM or unreadable" in result.stderr


def test_not_dicom_and_empty_folders_end_the_command(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for _ in range(2):
        result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
        assert (result.code, result.stdout) == (65, b"")
        assert "no_dicom" in result.stderr
        (tmp_path / "in" / "letter.txt").write_text("this is no DICOM " * 50)
    assert petct_here("convert", "absent", "-o", "out", cwd=tmp_path).code == 65


def test_one_modality_converts_too(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    ct = only(petct_here("convert", "in/ct", "-o", "a", cwd=tmp_path))
    pet = only(petct_here("convert", "in/pet", "-o", "b", "--grid", "ct", cwd=tmp_path))
    assert ct["ct"]["shape"] == [10, 32, 32]
    assert "pet" not in ct
    assert pet["pet"]["shape"] == [10, 16, 16]
    assert "ct" not in pet


def test_manifest_fields_pass_through(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    fields = {
        "patient": "p7",
        "report": {"path": "r.json", "lang": "vi"},
        "truth": {"lesions": "l.json"},
        "site": "Huế",
    }
    line = orjson.dumps(
        {"type": "study", "id": "s1", **fields, "series": [{"modality": "PT", "dir": "in/pet", "note": 3}]}
    )
    record = only(petct_here("convert", "-", "-o", "out", stdin=line, cwd=tmp_path))
    assert {key: record[key] for key in fields} == fields
    because = "the only PET that a volume can be made of"
    told = {"modality": "PT", "dir": "in/pet", "note": 3, "role": "pet", "chosen_because": because}
    assert record["series"] == [told]
    again = petct_here("convert", "-", "-o", "elsewhere", stdin=orjson.dumps(record), cwd=tmp_path)
    assert only(again) == record
    assert not (tmp_path / "elsewhere").exists()


def test_records_that_cannot_be_worked_on(tmp_path: Path) -> None:
    lines = [
        {"type": "study", "id": "empty"},
        {"type": "study", "id": "gone", "series": [{"modality": "CT", "dir": "nowhere"}]},
        {"type": "study", "id": "../up", "series": [{"modality": "CT", "dir": "nowhere"}]},
        {"type": "study", "id": "gone2", "series": [{"modality": "CT", "dir": ".", "files": ["nothing"]}]},
    ]
    result = petct_here("convert", "-", "-o", "out", stdin=b"\n".join(map(orjson.dumps, lines)), cwd=tmp_path)
    codes = [record["error"]["code"] for record in result.records]
    assert (result.code, codes) == (1, ["no_image_series", "series_missing", "unsafe_id", "input_unreadable"])


def test_rerun_emits_the_same_bytes_without_work(petct: Petct, tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    first = petct("convert", "in", "-o", "out", cwd=tmp_path)
    stored = tmp_path / only(first)["pet"]["path"]
    before = stored.stat().st_mtime_ns
    again = petct("convert", "in", "-o", "out", cwd=tmp_path)
    assert again.stdout == first.stdout
    assert stored.stat().st_mtime_ns == before
    other = petct("convert", "in", "-o", "out", "--grid", "iso:5", cwd=tmp_path)
    assert only(other)["pet"]["shape"] != only(first)["pet"]["shape"]
    victim = tmp_path / "in" / "pet" / "IM0000"
    victim.write_bytes(victim.read_bytes()[:-2] + b"\x07\x00")
    changed = petct("convert", "in", "-o", "out", cwd=tmp_path)
    assert only(changed)["pet"]["sha256"] != only(first)["pet"]["sha256"]


def test_same_bytes_for_any_number_of_jobs(petct: Petct, tmp_path: Path) -> None:
    for n in range(3):
        make_study(tmp_path / "in" / str(n), StudyInstanceUID=f"1.2.{n}")
        write_series(tmp_path / "in" / str(n) / "ct", "CT", CT, StudyInstanceUID=f"1.2.{n}")
    runs = []
    for jobs in ("1", "2"):
        done = petct("convert", "../in", "-o", "out", "--jobs", jobs, cwd=(tmp_path / jobs).mkdir() or tmp_path / jobs)
        files = sorted((tmp_path / jobs / "out").rglob("*.*"))
        runs.append((done.stdout, [(path.name, path.read_bytes()) for path in files if path.is_file()]))
    assert runs[0] == runs[1]
    assert len(runs[0][0].splitlines()) == 3


def test_kill_in_the_middle_then_the_same_command(petct: Petct, tmp_path: Path) -> None:
    for n in range(12):
        make_study(tmp_path / "in" / f"{n:02d}", StudyInstanceUID=f"1.2.{n}")
        write_series(tmp_path / "in" / f"{n:02d}" / "ct", "CT", CT, StudyInstanceUID=f"1.2.{n}")
    command = [sys.executable, "-m", "petct_cli", "convert", "in", "-o", "out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)}
    ) as run:
        assert run.stdout is not None
        first = [run.stdout.readline() for _ in range(3)]
        run.send_signal(signal.SIGKILL)
    result = petct("convert", "in", "-o", "out", cwd=tmp_path)
    assert result.code == 0
    assert result.stdout.splitlines(keepends=True)[:3] == first
    assert len(result.records) == 12
    assert len(list((tmp_path / "out").iterdir())) == 12


@pytest.mark.parametrize("grid", ["pet", "ct", "iso:5", "native"])
def test_threads_do_not_show(tmp_path: Path, grid: str) -> None:
    make_study(tmp_path / "in")
    (study,) = scan_studies([tmp_path / "in"])
    made = []
    for threads in (1, 3):
        (record,) = Convert(tmp_path / "out", grid, threads=threads)(study)
        folder = tmp_path / "out" / study.id
        made.append((record, {path.name: path.read_bytes() for path in folder.iterdir()}))
        shutil.rmtree(folder)
    assert made[0] == made[1]


def test_inputs_are_read_again_only_to_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path / "in")
    reads: list[Path] = []
    original = InputFiles._read

    def counted(self: InputFiles, path: Path) -> Any:
        reads.append(path)
        return original(self, path)

    monkeypatch.setattr(InputFiles, "_read", counted)
    first = converted(tmp_path / "out", tmp_path / "in")
    assert sorted(reads) == sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file())
    reads.clear()
    assert converted(tmp_path / "out", tmp_path / "in") == first
    assert len(reads) == 20
    # One byte of one slice: what is finished is of another input.
    changed = tmp_path / "in/ct/IM0004"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\1")
    again = converted(tmp_path / "out", tmp_path / "in")
    assert again.provenance[0].inputs_sha256 != first.provenance[0].inputs_sha256


def test_full_disk_and_unwritable_output(petct: Petct, tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    (tmp_path / "taken").write_text("a file")
    assert petct("convert", "in", "-o", "taken/out", cwd=tmp_path).code == 74
    done = subprocess.run(
        [sys.executable, "-m", "petct_cli", "convert", "in", "-o", "out", "--grid", "ct"],
        cwd=tmp_path,
        env={**environment_on_a_full_disk(), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert (done.returncode, done.stdout) == (74, b"")
    assert not list((tmp_path / "out").iterdir())


def test_bare_environment(petct: Petct, tmp_path: Path) -> None:
    make_study(tmp_path / "chụp")
    bare = {"LC_ALL": "C", "PYTHONPATH": str(REPOSITORY)}
    result = petct("convert", "chụp", "-o", "ra", cwd=tmp_path, env=bare, bare=True)
    assert (result.code, only(result)["series"][0]["dir"]) == (0, "chụp/ct")


@pytest.mark.parametrize("text", ["", "iso", "iso:", "iso:0", "iso:-4", "iso:nan", "pet:4", "mri"])
def test_bad_grids(text: str) -> None:
    with pytest.raises(UsageError):
        parse_grid(text)


def test_usage_errors_have_the_contracts_code(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    assert petct_here("convert", "in", "-o", "out", "--grid", "iso", cwd=tmp_path).code == 2
    assert petct_here("convert", "in", cwd=tmp_path).code == 2


def test_stage_is_a_library_function_that_pickles(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    stage = pickle.loads(pickle.dumps(Convert(tmp_path / "out")))
    record = Study(id="s1", series=[Series(modality="PT", dir=str(tmp_path / "in" / "pet"))])
    (done,) = stage(record)
    assert isinstance(done, Study)
    assert done.pet is not None
    assert done.pet.shape == [10, 16, 16]
    assert os.path.exists(done.pet.path)


def test_compressed_series_equals_its_raw_form(tmp_path: Path) -> None:
    import pydicom
    from pydicom.uid import RLELossless

    volume = np.random.default_rng(2).integers(0, 30000, (6, 64, 64)).astype(np.int16)
    slopes = {"change": lambda dataset, k: setattr(dataset, "RescaleSlope", f"{1.2345 + k / 7:.8f}")}
    paths = write_series(tmp_path / "raw", "PT", volume, **slopes)
    (tmp_path / "rle").mkdir()
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(tmp_path / "rle" / path.name)
    raw, rle = (volume_of(converted(tmp_path / "out" / name, tmp_path / name), "pet")[0] for name in ("raw", "rle"))
    assert raw.sha256 == rle.sha256


def test_padding_is_air(tmp_path: Path) -> None:
    padded = CT.copy()
    padded[:, :4] = -2000
    write_series(tmp_path / "in", "CT", padded, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    _, volume = volume_of(converted(tmp_path / "out", tmp_path / "in"), "ct")
    assert (volume[:, :4] == -1024).all()
    np.testing.assert_array_equal(volume[:, 4:], CT[:, 4:] - 1024)


def test_head_of_the_stream_ends_in_silence(tmp_path: Path) -> None:
    for n in range(6):
        make_study(tmp_path / "in" / str(n), StudyInstanceUID=f"1.2.{n}")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m petct_cli convert in -o out --max-failures 99 | head -1"],
        cwd=tmp_path,
        env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert b"Traceback" not in done.stderr
