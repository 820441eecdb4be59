"""Reports that come beside the studies: whose they are, and what becomes of those that nobody claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from conftest import Result
from dicom_factory import PATIENT_ID, STUDY_UID, write_series
from samples import lines, study, volume

from petct_cli.core.errors import InputError, UsageError
from petct_cli.dataset.report_names import listed_reports, name_pattern
from petct_cli.dicom.deid.pseudonyms import raw_study_id
from petct_cli.stages.pair_reports import ReportSource

Petct = Callable[..., Result]
RULES = ("pair", "--regions", "whole", "--duplicates", "off")


def write(path: Path, text: str, **fields: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps({**fields, "Mô tả hình ảnh": {"Lồng ngực": text}}))


def bare(identity: str, **fields: Any) -> dict[str, Any]:
    return study(identity, report=None, **fields)


def told(result: Result) -> dict[str, str]:
    return {record["study"]: record.get("error", {}).get("code") or record["reference"] for record in result.records}


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("{study}_report.json", "s1_report.json", {"study": "s1"}),
        ("{study}_report.json", "S1_REPORT.JSON", {"study": "S1"}),
        ("{study}_report.json", "s1.json", None),
        ("{patient}_*_{date}.txt", "P7_pet_ct_03-01-2024.txt", {"patient": "P7", "date": "03-01-2024"}),
        ("day_{date}_{patient}.json", "day_2024.01.03_a_b.json", {"date": "2024.01.03", "patient": "a_b"}),
        ("{patient}/{accession}.txt", "P1/A+1.txt", {"patient": "P1", "accession": "A+1"}),
        ("{study}.j*n", "a/b.json", None),
    ],
)
def test_a_pattern_reads_file_names(pattern: str, name: str, found: dict[str, str] | None) -> None:
    match = name_pattern(pattern).fullmatch(name)
    assert (match and match.groupdict()) == found


@pytest.mark.parametrize(
    "pattern", ["", "report.json", "*", "{date}.json", "{name}.json", "{study}{study}", "{study", "{}"]
)
def test_a_pattern_that_cannot_be_meant(pattern: str) -> None:
    with pytest.raises(UsageError):
        name_pattern(pattern)


def test_reports_are_matched_by_the_pattern_of_their_names(petct: Petct, tmp_path: Path) -> None:
    write(tmp_path / "r/s1_report.json", "Phổi sáng.")
    write(tmp_path / "r/s2_report.json", "Nốt phổi phải.", patient="somebody")
    write(tmp_path / "r/s3.json", "Gan to.")
    stdin = lines(*(bare(f"s{n}") for n in (1, 2, 3)))
    command = (*RULES, "--reports", tmp_path / "r", "--report-pattern", "{study}_report.json")
    result = petct(*command, "--unmatched", tmp_path / "u.jsonl", stdin=stdin)
    assert told(result) == {"s1": "Phổi sáng.", "s2": "Nốt phổi phải.", "s3": "no_report"}
    assert result.code == 1
    assert "1 of 3 reports matched no study of this run" in result.stderr
    assert [orjson.loads(line) for line in (tmp_path / "u.jsonl").read_bytes().splitlines()] == [
        {"side": "study", "study": "s3", "code": "no_report"},
        {"side": "report", "report": 3, "code": "report_unmatched"},
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("i.csv", "study,report\ns1,a.json\ns2,deep/b.json\n"),
        ("i.csv", "\ufeffMã BN;Ngày chụp;report\nP-s1;03/01/2024;a.json\nP-s2;;deep/b.json\nP-s9;;\n"),
        (
            "i.jsonl",
            '{"patient": "P-s1", "date": "2024-01-03", "report": "a.json"}\n{"study":"s2","path":"deep/b.json"}',
        ),
    ],
)
def test_a_list_says_whose_reports_are(petct: Petct, tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / "a.json", "Phổi sáng.", patient="not this one")
    write(tmp_path / "deep/b.json", "Nốt phổi phải.")
    (tmp_path / name).write_text(text, encoding="utf-8")
    stdin = lines(bare("s1", study_date="2024-01-03"), bare("s2"), bare("s3"))
    result = petct(*RULES, "--report-index", tmp_path / name, stdin=stdin)
    assert told(result) == {"s1": "Phổi sáng.", "s2": "Nốt phổi phải.", "s3": "no_report"}


@pytest.mark.parametrize(
    "text", ["study,report\ns1,gone.json\n", "date,report\n2024-01-03,a.json\n", "study,report\ns1,.\n"]
)
def test_a_list_with_a_bad_row_is_named_by_the_row(tmp_path: Path, text: str) -> None:
    write(tmp_path / "a.json", "x")
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        list(listed_reports(tmp_path / "i.csv", None))
    assert caught.value.code == "report_index"
    assert "i.csv:2" in caught.value.message
    assert "gone" not in caught.value.message


def test_a_report_that_two_studies_claim_goes_to_neither(petct: Petct, tmp_path: Path) -> None:
    write(tmp_path / "r/a.json", "Phổi sáng.", patient="P1")
    write(tmp_path / "r/b.json", "Gan to.", patient="P2")
    stdin = lines(bare("s1", patient="P1"), bare("s2", patient="P1"), bare("s3", patient="P2"))
    result = petct(*RULES, "--reports", tmp_path / "r", "--unmatched", tmp_path / "u.jsonl", stdin=stdin)
    assert told(result) == {"s1": "report_shared", "s2": "report_shared", "s3": "Gan to."}
    assert "report 1 of 2 matches 2 studies: s1, s2" in result.stderr
    assert [orjson.loads(line)["study"] for line in (tmp_path / "u.jsonl").read_bytes().splitlines()] == ["s1", "s2"]


def test_near_misses_and_ambiguity_name_both_sides(petct: Petct, tmp_path: Path) -> None:
    write(tmp_path / "r/a.json", "Phổi sáng.", patient="P1", date="2024-01-05")
    write(tmp_path / "r/b.json", "Gan to.", study="S 02")
    write(tmp_path / "r/c.json", "Gan to.", patient="P3")
    write(tmp_path / "r/d.json", "Lách to.", patient="P3")
    stdin = lines(bare("s1", patient="P1", study_date="2024-01-03"), bare("s2"), bare("s3", patient="P3"))
    result = petct(*RULES, "--reports", tmp_path / "r", stdin=stdin)
    assert told(result) == {"s1": "report_near_miss", "s2": "report_near_miss", "s3": "report_ambiguous"}
    assert "s1/whole/report: report 1 of 4 is of the same patient 2 days off" in result.stderr
    assert "reports 3, 4 of 4 differ" in result.stderr
    assert "P1" not in result.stderr


@pytest.fixture(scope="module")
def deidentified(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a study with an accession number that went through `anonymize`, and its record."""
    folder = tmp_path_factory.mktemp("numbered")
    for modality in ("CT", "PT"):
        write_series(folder / "raw" / modality, modality, np.ones((3, 4, 4), np.int16), AccessionNumber="PX-0012")
    made = petct("anonymize", "raw", "-o", "clean", "--key-file", "key", "--new-key", cwd=folder)
    assert made.code == 0, made.stderr
    (record,) = made.records
    return folder, record | {"ct": volume("ct"), "pet": volume("pet")}


@pytest.mark.parametrize(
    ("name", "fields", "found"),
    [
        ("a", {"Số phiếu": "px 0012"}, "Phổi sáng."),
        ("PX-0012", {}, "Phổi sáng."),
        ("a", {"Số phiếu": "PX12"}, "report_near_miss"),
        ("PX12", {}, "report_near_miss"),
        ("a", {"Số phiếu": "PX-0013"}, "no_report"),
        ("a", {"Số phiếu": "-"}, "no_report"),
    ],
)
def test_accession_numbers_are_found_under_the_key(
    petct: Petct,
    deidentified: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    name: str,
    fields: dict[str, str],
    found: str,
) -> None:
    folder, record = deidentified
    assert re.fullmatch("A[A-Z2-7]{12}-[A-Z2-7]{4}", record["accession"])
    write(tmp_path / f"r/{name}.json", "Phổi sáng.", **fields)
    write(tmp_path / "r/other.json", "Gan to.", accession="7")
    done = petct(*RULES, "--reports", tmp_path / "r", "--key-file", folder / "key", stdin=lines(record))
    assert told(done) == {record["id"]: found}
    assert "0012" not in done.stderr.casefold() + done.stdout.decode()
    # Without the key the pseudonym is all that a report may name.
    write(tmp_path / "p/a.json", "Gan to.", accession=record["accession"])
    assert told(petct(*RULES, "--reports", tmp_path / "p", stdin=lines(record))) == {record["id"]: "Gan to."}


def test_one_accession_number_of_two_studies_or_two_reports_is_nobodys(
    petct: Petct, deidentified: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, record = deidentified
    command = (*RULES, "--reports", tmp_path / "r", "--key-file", folder / "key")
    write(tmp_path / "r/a.json", "Phổi sáng.", accession="PX-0012")
    second = record | {"id": "s2", "patient": "P2"}
    shared = petct(*command, stdin=lines(record, second))
    assert set(told(shared).values()) == {"report_shared"}
    assert f"report 1 of 1 matches 2 studies: {', '.join(sorted((record['id'], 's2')))}" in shared.stderr
    write(tmp_path / "r/b.json", "Gan to.", accession="PX-0012")
    assert told(petct(*command, stdin=lines(record))) == {record["id"]: "report_ambiguous"}


def test_another_key_is_told_of(petct: Petct, deidentified: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, record = deidentified
    write(tmp_path / "r/a.json", "Phổi sáng.", accession="PX-0012")
    (tmp_path / "key").write_text("0" * 64)
    (tmp_path / "key").chmod(0o600)
    done = petct(*RULES, "--reports", tmp_path / "r", "--key-file", tmp_path / "key", stdin=lines(record))
    assert told(done) == {record["id"]: "other_key"}


@pytest.mark.parametrize("by", ["patient and date", "study", "name"])
def test_raw_identifiers_are_found_under_the_key(petct: Petct, tmp_path: Path, by: str) -> None:
    ones = np.ones((3, 4, 4), np.int16)
    write_series(tmp_path / "raw/ct", "CT", ones)
    write_series(tmp_path / "raw/pet", "PT", ones)
    made = petct("anonymize", "raw", "-o", "clean", "--key-file", "key", "--new-key", cwd=tmp_path)
    assert made.code == 0, made.stderr
    (record,) = made.records
    assert record["dates"] == "shifted"
    record |= {"ct": volume("ct"), "pet": volume("pet")}
    fields = {
        "patient and date": {"Mã BN": PATIENT_ID, "Ngày chụp": "05/03/2024"},
        "study": {"StudyInstanceUID": STUDY_UID},
        "name": {},
    }[by]
    write(tmp_path / "r" / (f"{PATIENT_ID}.json" if by == "name" else "x.json"), "Phổi sáng.", **fields)
    write(tmp_path / "r/y.json", "Gan to.", **{"Mã BN": PATIENT_ID, "Ngày chụp": "05/03/2022"})
    command = (*RULES, "--reports", "r", "--key-file", "key")
    assert told(petct(*command, stdin=lines(record), cwd=tmp_path)) == {record["id"]: "Phổi sáng."}
    if by == "patient and date":
        write(tmp_path / "r/x.json", "Phổi sáng.", **{"Mã BN": PATIENT_ID, "Ngày chụp": "06/03/2024"})
        missed = petct(*command, stdin=lines(record), cwd=tmp_path)
        assert told(missed) == {record["id"]: "report_near_miss"}
        assert PATIENT_ID not in missed.stderr


def test_a_patient_number_with_an_issuer_is_found_when_the_reports_tell_it(petct: Petct, tmp_path: Path) -> None:
    ones = np.ones((3, 4, 4), np.int16)
    write_series(tmp_path / "raw/ct", "CT", ones, IssuerOfPatientID="Sao Mai")
    write_series(tmp_path / "raw/pet", "PT", ones, IssuerOfPatientID="Sao Mai")
    (record,) = petct("anonymize", "raw", "-o", "clean", "--key-file", "key", "--new-key", cwd=tmp_path).records
    record |= {"ct": volume("ct"), "pet": volume("pet")}
    write(tmp_path / "r/x.json", "Phổi sáng.")
    command = (*RULES, "--reports", "r", "--key-file", "key", "--report-index", "i.csv")
    for issuer, found in (("Sao Mai", "Phổi sáng."), ("Sao Hôm", "no_report")):
        row = f"patient,issuer,date,report\n{PATIENT_ID},{issuer},05/03/2024,x.json\n"
        (tmp_path / "i.csv").write_text(row, "utf-8")
        done = petct(*command, stdin=lines(record), cwd=tmp_path)
        assert told(done) == {record["id"]: found}
        assert "Sao" not in done.stderr
        assert PATIENT_ID not in done.stderr


def test_raw_identifiers_of_studies_that_were_never_anonymised(petct: Petct, tmp_path: Path) -> None:
    import hashlib

    write(tmp_path / "r/a.json", "Phổi sáng.", study="1.2.3")
    write(tmp_path / "r/b.json", "Gan to.", patient="77", date="2024-01-03")
    patient = hashlib.sha256(b"77").hexdigest()[:16]
    first = bare(raw_study_id("1.2.3"))
    second = bare("s2", patient=patient, study_date="2024-01-03", dates="full")
    result = petct(*RULES, "--reports", tmp_path / "r", stdin=lines(first, second))
    assert told(result) == {raw_study_id("1.2.3"): "Phổi sáng.", "s2": "Gan to."}


def test_what_was_not_understood_is_told_of_reports_in_records_too(petct: Petct, tmp_path: Path) -> None:
    write(tmp_path / "a.json", "Phổi sáng.", **{"Ghi gì đó": "không rõ"})
    said = {"chest": "Phổi sáng.", "findings": "Nốt gan 5 mm. Còn lại bình thường."}
    deid = {"profile": "tcia", "edition": "x", "key_id": "x", "counts": {"report_not_understood": 3}}
    stdin = lines(
        study("path", report={"path": str(tmp_path / "a.json")}),
        study("told", report={"sections": {"chest": "Phổi sáng."}, "not_understood": 2}),
        study("clean", report={"sections": {"chest": "Phổi sáng."}}, deid=deid),
        study("outside", report={"sections": said}),
        study("fine", report={"sections": {"findings": "Còn lại bình thường."}}),
    )
    streamed = petct("pair", "--duplicates", "off", stdin=stdin)
    assert "4 reports have parts that were not understood [report_not_understood]" in streamed.stderr
    command = ("pair", "--duplicates", "off", "--unmatched", tmp_path / "u.jsonl")
    done = petct(*command, stdin=stdin)
    assert done.stdout == streamed.stdout
    assert [orjson.loads(line) for line in (tmp_path / "u.jsonl").read_bytes().splitlines()] == [
        {"side": "study", "study": name, "code": "report_not_understood", "parts": parts}
        for name, parts in (("clean", 3), ("outside", 1), ("path", 1), ("told", 2))
    ]
    assert "4 reports have parts that were not understood [report_not_understood]" in done.stderr
    # What names a site goes where that lies, whatever stands about it.
    assert {
        record["region"]["name"]: record["reference"]
        for record in done.records
        if record["study"] == "outside" and "reference" in record
    } == {
        "chest": "Phổi sáng.",
        "abdomen_pelvis": "Nốt gan 5 mm.",
    }


def test_faults_of_reports_are_told_of(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Mã BN,KL\nP-s1,u,di căn\nP-s2,v\n", "utf-8")
    stdin = lines(bare("s1"), bare("s2"), bare("s3"))
    command = (*RULES, "--reports", tmp_path / "r.csv", "--unmatched", tmp_path / "u.jsonl")
    done = petct(*command, stdin=stdin)
    assert told(done)["s1"] == "report_row"
    assert "1 of 2 reports cannot be used [report_row]" in done.stderr
    assert "matched no study" not in done.stderr
    rows = [orjson.loads(line) for line in (tmp_path / "u.jsonl").read_bytes().splitlines()]
    assert {(row.get("study") or row.get("report"), row["code"]) for row in rows} == {
        ("s1", "report_row"),
        ("s3", "no_report"),
        (1, "report_row"),
    }


def test_options_that_mean_nothing_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ReportSource.of(None, "{study}.json", None, None)
    with pytest.raises(UsageError):
        ReportSource.of(tmp_path, "{study}.json", tmp_path / "i.csv", None)
    assert ReportSource.of(None, None, None, None) is None
