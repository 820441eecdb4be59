"""`petct anonymize`: studies and reports in, nothing of the patient out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pydicom
import pytest
from conftest import Result
from pydicom.uid import SecondaryCaptureImageStorage

from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.report.deid import clean_text
from petct_cli.report.sections import parse_report
from petct_cli.stages.anonymize import Anonymize
from petct_cli.volume.pet_header import pet_headers
from petct_cli.volume.suv import suv_factors

Petct = Callable[..., Result]
STUDIES = 3


@pytest.fixture(scope="module")
def raw(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom studies full of invented identifiers, and their manifest."""
    folder = tmp_path_factory.mktemp("raw")
    made = petct("phantom", "--studies", str(STUDIES), "--seed", "5", "-o", "studies", cwd=folder)
    assert made.code == 0, made.stderr
    (folder / "raw.jsonl").write_bytes(made.stdout)
    return folder


@pytest.fixture(scope="module")
def clean(petct: Petct, raw: Path) -> Result:
    result = petct("anonymize", "raw.jsonl", "-o", "clean", "--key-file", "site.key", "--new-key", cwd=raw)
    assert result.code == 0, result.stderr
    return result


def dicom_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


def identifying_strings(folder: Path) -> set[str]:
    """Every identifying value of the input's headers and report heads, as text."""
    found: set[str] = set()
    for modality in ("CT", "PET"):
        dataset = pydicom.dcmread(next((folder / modality).iterdir()), stop_before_pixels=True)
        for element in dataset.iterall():
            if element.VR in ("PN", "UI", "DA", "DT") or element.keyword in (
                "PatientID", "AccessionNumber", "StudyID", "PatientAddress", "PatientTelephoneNumbers",
                "InstitutionName", "InstitutionAddress", "ScheduledProcedureStepID", "RequestedProcedureID",
            ):  # fmt: skip
                found.add(str(element.value))
    head = orjson.loads((folder / "report.json").read_bytes())["Hành chính"]
    found |= {re.sub(r"^BS\. ", "", value) for label, value in head.items() if label not in ("Năm sinh", "Giới tính")}
    return {value for value in found if len(value) >= 4 and not value.startswith("1.2.840.10008.")}


def test_nothing_of_the_patient_is_in_any_output(raw: Path, clean: Result) -> None:
    values = set().union(*(identifying_strings(folder) for folder in (raw / "studies").glob("study_*")))
    assert len(values) > 20 * STUDIES
    outputs = [clean.stdout, clean.stderr.encode()]
    for path in sorted((raw / "clean").rglob("*")):
        outputs.append(str(path.relative_to(raw)).encode())
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".dcm":
                header = pydicom.dcmread(path, stop_before_pixels=True)
                data = data[: len(data) - 2 * header.Rows * header.Columns]
            outputs.append(data)
    everything = b"\n".join(outputs)
    shifted = {record["study_date"].replace("-", "").encode() for record in clean.records}
    left = [v for v in values if v.encode() in everything and v.encode() not in shifted]
    assert left == []
    names = {value.replace("^", " ") for value in values if "^" in value}
    assert [name for name in names if name.casefold().encode() in everything.lower()] == []
    assert b"study_0001" not in everything


def test_records_follow_the_contract(clean: Result) -> None:
    records = clean.records
    assert len(records) == STUDIES
    allowed = {
        "type", "schema", "id", "patient", "accession", "study_date", "dates", "sex", "age", "height_m", "weight_kg",
        "series", "report", "deid", "truth", "provenance",
    }  # fmt: skip
    for record in records:
        assert set(record) <= allowed
        assert record["dates"] == "shifted"
        assert re.fullmatch(r"[0-9a-f]{16}", record["id"])
        assert re.fullmatch(r"P[A-Z2-7]{12}", record["patient"])
        assert re.fullmatch(r"A[A-Z2-7]{12}-[A-Z2-7]{4}", record["accession"])
        assert [series["modality"] for series in record["series"]] == ["CT", "PT"]
        assert [entry["stage"] for entry in record["provenance"]] == ["anonymize"]
        assert record["deid"]["suv"][0]["verdict"] == "identical"
        assert record["deid"]["counts"]["files"] > 100
        decode(orjson.dumps(record))


def test_suv_pixels_and_geometry_are_what_they_were(raw: Path, clean: Result) -> None:
    for number, record in enumerate(clean.records, start=1):
        source = sorted((raw / f"studies/study_{number:04d}/PET").iterdir())
        before = sorted((pydicom.dcmread(path) for path in source), key=lambda ds: ds.InstanceNumber)
        after = [pydicom.dcmread(path) for path in dicom_files(raw / record["series"][1]["dir"])]
        assert len(before) == len(after)
        one, two = suv_factors(pet_headers(before)), suv_factors(pet_headers(after))
        assert (one.branch, one.factor, one.per_slice) == (two.branch, two.factor, two.per_slice)
        for old, new in zip(before, after, strict=True):
            assert old.PixelData == new.PixelData
            for keyword in ("RescaleSlope", "ImagePositionPatient", "PatientWeight", "AcquisitionTime", "SeriesTime"):
                assert old[keyword].value == new[keyword].value
        assert len({ds.FrameOfReferenceUID for ds in after}) == 1
        ct = pydicom.dcmread(dicom_files(raw / record["series"][0]["dir"])[0])
        assert (ct.FrameOfReferenceUID, ct.StudyInstanceUID) == (
            after[0].FrameOfReferenceUID,
            after[0].StudyInstanceUID,
        )


def test_the_report_comes_along_clean(raw: Path, clean: Result) -> None:
    for number, record in enumerate(clean.records, start=1):
        source = parse_report(orjson.loads((raw / f"studies/study_{number:04d}/report.json").read_bytes())).sections
        sections = record["report"]["sections"]
        assert set(sections) == set(source)
        for name in source:
            if name != "indication":
                assert sections[name] == source[name]
        assert "[TÊN]" in sections["indication"]
        assert "[MÃ SỐ]" in sections["indication"]
        document = orjson.loads((raw / record["report"]["path"]).read_bytes())
        assert "Hành chính" not in document
        assert parse_report(document).sections == sections


def test_the_truth_survives_and_nothing_rides_on_it(raw: Path, clean: Result) -> None:
    for number, record in enumerate(clean.records, start=1):
        source = orjson.loads((raw / f"studies/study_{number:04d}/lesions.json").read_bytes())["lesions"]
        assert orjson.loads((raw / record["truth"]["lesions"]).read_bytes())["lesions"] == source


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_dciodvfy_finds_no_new_error(raw: Path, clean: Result, modality: str) -> None:
    tool = Path(sys.executable).with_name("dciodvfy")
    if not tool.exists():
        pytest.skip("dicom3tools is not installed")
    series = next(s for s in clean.records[0]["series"] if s["modality"] == modality)
    for path in dicom_files(raw / series["dir"])[::40]:
        said = subprocess.run([tool, path], capture_output=True, text=True, errors="replace").stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_same_key_same_bytes_whatever_the_jobs_and_a_rerun_does_nothing(petct: Petct, raw: Path, clean: Result) -> None:
    again = petct("anonymize", "raw.jsonl", "-o", "clean2", "--key-file", "site.key", "--jobs", "2", cwd=raw)
    assert again.stdout.replace(b"clean2/", b"clean/") == clean.stdout
    files = sorted(path.relative_to(raw / "clean") for path in (raw / "clean").rglob("*") if path.is_file())
    others = sorted(path.relative_to(raw / "clean2") for path in (raw / "clean2").rglob("*") if path.is_file())
    assert files == others
    for name in files:
        if name.suffix == ".dcm":
            assert (raw / "clean" / name).read_bytes() == (raw / "clean2" / name).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (raw / "clean").rglob("*")}
    rerun = petct("anonymize", "raw.jsonl", "-o", "clean", "--key-file", "site.key", cwd=raw)
    assert rerun.stdout == clean.stdout
    assert {path: path.stat().st_mtime_ns for path in (raw / "clean").rglob("*")} == before


def test_another_key_gives_other_pseudonyms(petct: Petct, raw: Path, clean: Result) -> None:
    other = petct("anonymize", "raw.jsonl", "-o", "clean3", "--key-file", "other.key", "--new-key", cwd=raw)
    assert not {r["id"] for r in other.records} & {r["id"] for r in clean.records}
    assert not {r["patient"] for r in other.records} & {r["patient"] for r in clean.records}


def test_folders_and_loose_reports_give_what_the_manifest_gives(petct: Petct, raw: Path, clean: Result) -> None:
    (raw / "dicom").mkdir()
    (raw / "reports").mkdir()
    for number in range(1, STUDIES + 1):
        folder = raw / f"studies/study_{number:04d}"
        shutil.copytree(folder / "CT", raw / f"dicom/NGUYEN VAN {number}/a")
        shutil.copytree(folder / "PET", raw / f"dicom/NGUYEN VAN {number}/b")
        shutil.copy(folder / "report.json", raw / f"reports/{number}.json")
    result = petct("anonymize", "dicom", "--reports", "reports", "-o", "clean4", "--key-file", "site.key", cwd=raw)
    assert result.code == 0, result.stderr
    assert "NGUYEN" not in result.stdout.decode() + result.stderr
    ours = {record["id"]: record for record in result.records}
    for record in clean.records:
        mine = ours[record["id"]]
        assert mine["patient"] == record["patient"]
        assert mine["report"]["sections"] == record["report"]["sections"]


def copy_of(raw: Path, target: Path) -> Path:
    shutil.copytree(raw / "studies/study_0001", target)
    return target


def edit(path: Path, **values: Any) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if "SOPClassUID" in values:
        dataset.file_meta.MediaStorageSOPClassUID = values["SOPClassUID"]
    dataset.save_as(path)


def patient_of(path: Path) -> bytes:
    return b"\1 " + str(pydicom.dcmread(path).PatientID).encode() + b" \1"


def run_stage(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    record = {
        "type": "study",
        "schema": 1,
        "id": "0" * 16,
        "series": [{"modality": "CT", "dir": str(folder / "CT")}, {"modality": "PT", "dir": str(folder / "PET")}],
    }
    (result,) = Anonymize(out=out, key=Key(b"k" * 32), **options)(decode(orjson.dumps(record)))
    return result.to_json()


def test_what_may_show_text_is_set_aside(raw: Path, tmp_path: Path) -> None:
    folder = copy_of(raw, tmp_path / "study")
    files = dicom_files(folder / "CT")
    edit(files[0], BurnedInAnnotation="YES")
    edit(files[1], SOPClassUID=SecondaryCaptureImageStorage)
    edit(files[2], ImageType=["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"])
    edit(files[3], SeriesDescription="Dose Report")
    edit(files[4], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67")
    edit(files[5], SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    (folder / "CT/notes.txt").write_text("not DICOM", encoding="utf-8")
    record = run_stage(folder, tmp_path / "out", quarantine=tmp_path / "aside")
    reasons = sorted(item["reason"] for item in record["deid"]["quarantined"])
    assert reasons == [
        "burned_in_annotation", "encapsulated_document", "secondary_capture", "structured_report",
        "text_bearing_description", "text_bearing_image_type",
    ]  # fmt: skip
    assert record["deid"]["counts"]["files_not_dicom"] == 1
    assert len(dicom_files(tmp_path / "out")) == len(dicom_files(folder)) - 6
    assert len(dicom_files(tmp_path / "aside")) == 6
    assert (tmp_path / "aside").stat().st_mode & 0o777 == 0o700


def test_what_is_set_aside_is_copied_by_a_later_run_too(raw: Path, tmp_path: Path) -> None:
    folder = copy_of(raw, tmp_path / "study")
    edit(dicom_files(folder / "CT")[0], BurnedInAnnotation="YES")
    first = run_stage(folder, tmp_path / "out")
    assert run_stage(folder, tmp_path / "out", quarantine=tmp_path / "aside") == first
    assert len(dicom_files(tmp_path / "aside")) == 1


def test_a_moved_date_that_is_another_date_of_the_study_is_no_leak(raw: Path, tmp_path: Path) -> None:
    folder = copy_of(raw, tmp_path / "study")
    files = dicom_files(folder / "CT")
    header = pydicom.dcmread(files[0])
    days = Key(b"k" * 32).day_offset(f"{header.PatientID}\\{header.get('IssuerOfPatientID', '')}")
    moved = header.StudyDate.__class__(header.StudyDate)
    landed = pydicom.valuerep.DA(moved) + timedelta(days=days)
    for path in files:
        edit(
            path,
            AcquisitionDate=landed.strftime("%Y%m%d"),
            StudyDescription=f"PET {pydicom.valuerep.DA(moved):%d/%m/%Y}",
        )
    record = run_stage(folder, tmp_path / "out")
    assert "error" not in record


def test_a_file_that_cannot_be_read_is_not_skipped_in_silence(raw: Path, tmp_path: Path) -> None:
    folder = copy_of(raw, tmp_path / "study")
    path = dicom_files(folder / "CT")[0]
    path.write_bytes(path.read_bytes() + b"NGUYEN VAN A 0912345678")
    log = tmp_path / "private.log"
    log.touch(mode=0o644)
    record = run_stage(folder, tmp_path / "out", private_log=log)
    assert record["error"]["code"] in ("dicom_damaged", "dicom_truncated")
    assert log.stat().st_mode & 0o777 == 0o600


def test_quarantine_inside_the_output_is_refused(petct: Petct, raw: Path) -> None:
    result = petct("anonymize", "raw.jsonl", "-o", "x", "--key-file", "k", "--new-key", "--quarantine", "x/q", cwd=raw)
    assert result.code == 2


def test_a_missing_key_is_a_usage_error(petct: Petct, raw: Path) -> None:
    result = petct("anonymize", "raw.jsonl", "-o", "x", "--key-file", "nowhere.key", cwd=raw)
    assert result.code == 2
    assert "--new-key" in result.stderr
    assert not (raw / "nowhere.key").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda files: files[0].write_bytes(files[0].read_bytes()[:900]), "dicom_truncated"),
        (lambda files: edit(files[0], StudyInstanceUID="1.2.3"), "mixed_studies"),
        (lambda files: edit(files[0], PatientID="SOMEBODY ELSE"), "mixed_patients"),
        (lambda files: edit(files[0], ICCProfile=patient_of(files[0])), "residual_identifier"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_let_out_fails_whole(
    raw: Path, tmp_path: Path, change: Callable[[list[Path]], None], code: str
) -> None:
    folder = copy_of(raw, tmp_path / "NGUYEN VAN A")
    change(dicom_files(folder / "CT"))
    record = run_stage(folder, tmp_path / "out", private_log=tmp_path / "private.log")
    assert record["error"]["code"] == code
    assert set(record) == {"type", "schema", "id", "error"}
    assert "NGUYEN" not in str(record)
    assert dicom_files(tmp_path / "out") == []
    if code == "dicom_truncated":
        assert (tmp_path / "private.log").stat().st_mode & 0o777 == 0o600
        assert b"NGUYEN" in (tmp_path / "private.log").read_bytes()


def test_a_pet_without_suv_is_let_out_as_it_is(raw: Path, tmp_path: Path) -> None:
    folder = copy_of(raw, tmp_path / "study")
    for path in dicom_files(folder / "PET"):
        edit(path, PatientWeight=None)
    record = run_stage(folder, tmp_path / "out")
    assert record["deid"]["suv"] == [{"series": "PT_001", "verdict": "not_computable", "reason": "suv_missing_weight"}]


def test_the_basic_profile_gives_suv_up_and_says_so(raw: Path, tmp_path: Path) -> None:
    record = run_stage(copy_of(raw, tmp_path / "study"), tmp_path / "out", profile="basic")
    assert record["deid"]["suv"] == [{"series": "PT_001", "verdict": "given_up"}]
    assert record["dates"] == "none"
    assert not {"study_date", "weight_kg", "age"} & set(record)


def test_failed_and_foreign_records_lose_their_identity(petct: Petct, raw: Path) -> None:
    lines = [
        {"type": "study", "schema": 1, "id": "abc", "error": {"stage": "s", "code": "c", "message": "NGUYEN"}},
        {"type": "sample", "schema": 1, "id": "NGUYEN/chest", "study": "NGUYEN", "patient": "NGUYEN"},
        {"type": "study", "schema": 1, "id": "def", "series": [{"modality": "CT", "dir": "/NGUYEN/nowhere"}]},
    ]  # fmt: skip
    stdin = b"\n".join(map(orjson.dumps, lines))
    result = petct("anonymize", "-", "-o", "y", "--key-file", "site2.key", "--new-key", stdin=stdin, cwd=raw)
    assert [record["error"]["code"] for record in result.records] == ["c", "wrong_type", "series_missing"]
    assert "NGUYEN" not in result.stdout.decode() + result.stderr
    assert result.code == 1


def test_runs_without_home_or_locale(petct: Petct, raw: Path, clean: Result) -> None:
    environment = {"LC_ALL": "C", "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent)}
    result = petct(
        "anonymize", "raw.jsonl", "-o", "bare", "--key-file", "site.key", cwd=raw, env=environment, bare=True
    )
    assert result.code == 0, result.stderr


@pytest.mark.real
@pytest.mark.parametrize("number", ["0_0", "1_0", "2_0", "2_3", "3_0", "3_2", "4_0", "5_0"])
def test_suv_of_the_ibsi_objects_is_bit_identical(real_data: Path, tmp_path: Path, number: str) -> None:
    self_check(real_data / f"ibsi_suv/DRO_{number}", tmp_path)


@pytest.mark.real
def test_suv_of_a_real_ge_series_is_bit_identical(real_data: Path, tmp_path: Path) -> None:
    self_check(real_data / "sts_001/pet_raw_ge", tmp_path)


def self_check(folder: Path, tmp_path: Path) -> None:
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "PT", "dir": str(folder)}]}
    (result,) = Anonymize(out=tmp_path / "out", key=Key(b"k" * 32))(decode(orjson.dumps(record)))
    done = result.to_json()
    assert "error" not in done, done["error"]
    assert done["deid"]["suv"][0]["verdict"] == "identical"
    before = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda ds: ds.InstanceNumber)
    after = [pydicom.dcmread(path) for path in dicom_files(tmp_path / "out")]
    one, two = suv_factors(pet_headers(before)), suv_factors(pet_headers(after))
    assert (one.branch, one.factor, one.per_slice) == (two.branch, two.factor, two.per_slice)
    assert all(old.PixelData == new.PixelData for old, new in zip(before, after, strict=True))


def test_the_descriptor_cleaner_is_the_reports(raw: Path, clean: Result) -> None:
    """A procedure description that names the patient keeps its first words."""
    path = dicom_files(raw / clean.records[0]["series"][0]["dir"])[0]
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    texts = [str(element.value) for element in dataset.iterall() if element.VR in ("LO", "LT", "SH")]
    assert not any("[TÊN]" in text for text in texts)
    assert clean_text("PET/CT", lambda _: [], -10).text == "PET/CT"


def test_no_report_and_no_study_goes_missing_in_silence(petct: Petct, raw: Path, clean: Result) -> None:
    folder = raw / "some_reports"
    folder.mkdir()
    document = orjson.loads((raw / "studies/study_0001/report.json").read_bytes())
    document["Nhận định kết quả"] = "Theo Zơrâm Nhíp, ổn định. Xem Krajewski Tomasz."
    (folder / "TRAN VAN B.json").write_bytes(orjson.dumps(document))
    (folder / "LE THI C.txt").write_text("Mã BN: 999999\nKết luận: nốt phổi", encoding="utf-8")
    (folder / "HO VAN D.txt").write_bytes("NguyÔn V¨n An, bÖnh nh©n, phæi ph¶i b×nh th­êng".encode("latin-1"))
    result = petct(
        "anonymize", "studies", "--reports", "some_reports", "-o", "clean_some", "--key-file", "site.key",
        "--private-log", "private.jsonl", "-j2", cwd=raw,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert "1 of 3 reports cannot be read [report_encoding]" in result.stderr
    assert "1 of 3 reports matched no study of this run [report_unmatched]" in result.stderr
    assert f"{STUDIES - 1} studies had no report [report_missing]" in result.stderr
    assert not re.search("TRAN VAN|LE THI|HO VAN", result.stderr + result.stdout.decode())
    private = [orjson.loads(line) for line in (raw / "private.jsonl").read_bytes().splitlines()]
    assert [(line["code"], Path(line["path"]).name) for line in private] == [
        ("report_encoding", "HO VAN D.txt"),
        ("report_unmatched", "LE THI C.txt"),
    ]
    missing = [record for record in result.records if record["deid"]["counts"].get("report_missing")]
    assert len(missing) == STUDIES - 1
    assert all("report" not in record and "report_source" not in record["deid"] for record in missing)
    (got,) = [record for record in result.records if "report" in record]
    assert got["deid"]["report_source"]["by"] == "accession"
    # A rerun that only repeats finished studies says the same.
    again = petct(
        "anonymize", "studies", "--reports", "some_reports", "-o", "clean_some", "--key-file", "site.key", cwd=raw
    )
    assert again.stdout == result.stdout
    assert "1 of 3 reports matched no study of this run" in again.stderr
    text = got["report"]["sections"]["impression"]
    assert text == "Theo [TÊN], ổn định. Xem Krajewski Tomasz."
    shown = [(text[span["start"] : span["end"]], span["reason"]) for span in got["deid"]["review"]]
    assert ("Krajewski Tomasz", "unknown_surname_run") in shown
