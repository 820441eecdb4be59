"""`petct anonymize`: the switches of PS3.15 E.3, what --explain says of them, the sealed crosswalk, UIDs not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from conftest import REPOSITORY, Result
from dicom_factory import PATIENT_ID, STUDY_UID, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_deid_hostile import overlaid
from test_deid_rewrite import ct, saved

from petct_cli.core.errors import UsageError
from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.explain import rules_in_force
from petct_cli.dicom.deid.profile import choose, option_helps, presets
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.stages.anonymize import Anonymize

Petct = Callable[..., Result]
KEY = Key(b"k" * 32)
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def anonymize(data: bytes | list[bytes], folder: Path, **options: Any) -> tuple[dict[str, Any], list[Dataset]]:
    """Run the stage over files of one study; return its record and what was written."""
    source = folder / "in"
    source.mkdir()
    for number, one in enumerate([data] if isinstance(data, bytes) else data):
        (source / f"{number}").write_bytes(one)
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "CT", "dir": str(source)}]}
    (made,) = Anonymize(out=folder / "out", key=KEY, **options)(decode(orjson.dumps(record)))
    return made.to_json(), [pydicom.dcmread(path) for path in sorted((folder / "out").rglob("*.dcm"))]


def full_image() -> bytes:
    """An image with a value for each option to keep or take."""
    dataset = overlaid()
    dataset.InstitutionName, dataset.StationName, dataset.DeviceSerialNumber = "BV Sao Bien", "PET-2", "SN1234"
    dataset.StudyDescription, dataset.PatientWeight, dataset.PatientAge = "PET toan than", "70", "064Y"
    dataset.Manufacturer = "GE MEDICAL SYSTEMS"
    dataset.add_new(0x00090010, "LO", "GEMS_PETD_01")
    dataset.add_new(0x0009100D, "DT", "20240315101500")
    return saved(dataset)


# Option -> what stands in the output with it, and without it (None: not there, or empty).
KEEPS = {
    "clean_graphics": (0x60003000, bytes(32), None),
    "clean_descriptors": ("StudyDescription", "PET toan than", None),
    "retain_full_dates": ("StudyDate", "20240315", None),
    "retain_patient_characteristics": ("PatientAge", "064Y", None),
    "retain_device": ("DeviceSerialNumber", "SN1234", None),
    "retain_uids": ("SOPInstanceUID", "1.2.3.4.5.6", "2.25."),
    "retain_institution": ("InstitutionName", "BV Sao Bien", None),
    "retain_safe_private": (0x0009100D, "20240315101500", None),
}


@pytest.mark.parametrize("name", KEEPS)
def test_each_option_keeps_what_it_names(name: str, tmp_path: Path) -> None:
    where, kept, otherwise = KEEPS[name]
    more = {"retain_full_dates": True} if name == "retain_safe_private" else {}
    for on in (True, False):
        folder = tmp_path / str(on)
        folder.mkdir()
        record, (out,) = anonymize(full_image(), folder, profile="basic", switches={**more, name: on})
        value = out[where].value if where in out else None
        if on:
            assert value == kept
        else:
            assert not value or value in ("ANONYMIZED",) or (otherwise and value.startswith(otherwise))
        assert (name in record["deid"]["options"]) is on
        codes = {item.CodeValue for item in out.DeidentificationMethodCodeSequence}
        assert (CODES[name] in codes) is on


CODES = {
    "clean_graphics": "113103", "clean_descriptors": "113105", "retain_full_dates": "113106",
    "retain_patient_characteristics": "113108", "retain_device": "113109", "retain_uids": "113110",
    "retain_safe_private": "113111", "retain_institution": "113112",
}  # fmt: skip


def test_moved_dates_are_the_same_days_everywhere(tmp_path: Path) -> None:
    _, (out,) = anonymize(full_image(), tmp_path, profile="basic", switches={"retain_modified_dates": True})
    assert out.StudyDate != "20240315"
    assert out.LongitudinalTemporalInformationModified == "MODIFIED"


def test_overlays_that_outline_stay_without_their_words_and_drawn_ones_go(tmp_path: Path) -> None:
    record, (out,) = anonymize(full_image(), tmp_path, switches={"clean_graphics": True})
    assert out[0x60003000].value == bytes(32)
    assert "ZZLEAK" not in out[0x60001500].value
    assert 0x60004000 not in out
    (tmp_path / "drawn").mkdir()
    drawn = overlaid(_60000040="G")
    record, (out,) = anonymize(saved(drawn), tmp_path / "drawn", switches={"clean_graphics": True})
    assert [element.tag for element in out if element.tag.group == 0x6000] == []
    assert record["deid"]["counts"]["graphics_removed"] == 9


def test_sound_goes_under_every_option(tmp_path: Path) -> None:
    dataset = overlaid()
    dataset.add_new(0x50000030, "SH", "mm")
    dataset.add_new(0x5000200C, "OW", b"spoken by somebody")
    _, (out,) = anonymize(saved(dataset), tmp_path, switches={"clean_graphics": True})
    assert 0x50000030 in out
    assert 0x5000200C not in out


def test_retained_uids_may_have_the_day_in_them(tmp_path: Path) -> None:
    data = saved(ct(SOPInstanceUID="1.2.840.113619.2.20240315.7"))
    record, (out,) = anonymize(data, tmp_path, switches={"retain_uids": True})
    assert "error" not in record
    assert out.SOPInstanceUID == out.file_meta.MediaStorageSOPInstanceUID == "1.2.840.113619.2.20240315.7"


def structured_report() -> bytes:
    dataset = ct(SOPClassUID=SR, Modality="SR")
    del dataset.PixelData, dataset.ImageType
    text, person = Dataset(), Dataset()
    text.ValueType, text.TextValue = "TEXT", "Bệnh nhân Nguyễn Văn Hải, mã ZZLEAK0001, SUVmax 7,4"
    person.ValueType, person.PersonName = "PNAME", "Trần^Đọc^Kết"
    dataset.ContentSequence = Sequence([text, person])
    return saved(dataset)


def test_structured_reports_are_let_out_cleaned_when_asked(tmp_path: Path) -> None:
    (tmp_path / "off").mkdir()
    record, written = anonymize([saved(ct()), structured_report()], tmp_path / "off")
    assert [item["reason"] for item in record["deid"]["quarantined"]] == ["structured_report"]
    record, written = anonymize(
        [saved(ct()), structured_report()], tmp_path, switches={"clean_structured_content": True}
    )
    report = next(dataset for dataset in written if dataset.SOPClassUID == SR)
    text, person = report.ContentSequence
    assert "SUVmax 7,4" in text.TextValue
    assert "ZZLEAK" not in text.TextValue
    assert "Hải" not in text.TextValue
    assert str(person.PersonName) == "ANONYMIZED"


def test_full_and_moved_dates_exclude_each_other() -> None:
    assert "retain_modified_dates" not in choose("tcia", {"retain_full_dates": True}).options
    with pytest.raises(UsageError, match="exclude"):
        choose("tcia", {"retain_full_dates": True, "retain_modified_dates": True})
    with pytest.raises(UsageError, match="no option"):
        choose("tcia", {"retain_everything": True})


@pytest.mark.parametrize("preset", ["tcia", "basic", "research-full-dates"])
def test_explain_says_what_is_done(petct: Petct, preset: str, tmp_path: Path) -> None:
    said = petct("anonymize", "--explain", "--profile", preset)
    assert said.code == 0
    lines = {line[2:13]: line for line in said.stdout.decode().splitlines() if line.startswith("  (")}
    assert set(presets()) == {"tcia", "basic", "research-full-dates"}
    _, (out,) = anonymize(full_image(), tmp_path, profile=preset)
    for tag, keyword in (
        ("0008,0080", "InstitutionName"),
        ("0008,1030", "StudyDescription"),
        ("0018,1000", "DeviceSerialNumber"),
    ):
        kept = bool(out.get(keyword)) and out.get(keyword) != "ANONYMIZED"
        assert (": kept" in lines[f"({tag})"] or ": cleaned" in lines[f"({tag})"]) is kept


def test_explain_follows_the_switches(petct: Petct) -> None:
    said = petct("anonymize", "--explain", "--retain-institution", "--no-clean-descriptors").stdout.decode()
    assert re.search(r"\(0008,0080\).*kept", said)
    assert re.search(r"\(0008,1030\).*removed", said)
    assert "on  113112 retain_institution" in said


def test_the_readme_says_what_is_done() -> None:
    """Every row of the README's table of actions is what the rules come to."""
    rules = {f"({rule.tag >> 16:04X},{rule.tag & 0xFFFF:04X})": rule for rule in rules_in_force("tcia")}
    rows = re.findall(
        r"^\| [^|]*?(\([0-9A-F]{4},[0-9A-F]{4}\)) \| ([^|]+) \|$", (REPOSITORY / "README.md").read_text("utf-8"), re.M
    )
    assert len(rows) >= 12
    assert [(tag, said.strip()) for tag, said in rows] == [(tag, rules[tag].words) for tag, _ in rows]


def test_every_option_is_a_switch(petct: Petct) -> None:
    shown = petct("anonymize", "--help").stdout.decode()
    for name in option_helps():
        assert f"--{name.replace('_', '-')} / --no-" in shown
    wrong = petct("anonymize", ".", "-o", "x")
    assert (wrong.code, "--key-file" in wrong.stderr) == (2, True)


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    write_series(tmp_path / "in/CT", "CT", np.zeros((3, 8, 8)))
    write_series(tmp_path / "in/PT", "PT", np.ones((3, 8, 8)))
    return tmp_path


def test_the_crosswalk_opens_for_the_key_alone(petct: Petct, hospital: Path) -> None:
    arguments = ("anonymize", "in", "-o", "out", "--key-file", "key", "--crosswalk", "walk.jsonl")
    made = petct(*arguments, "--new-key", cwd=hospital)
    assert made.code == 0, made.stderr
    walk = hospital / "walk.jsonl"
    sealed = walk.read_bytes()
    assert walk.stat().st_mode & 0o777 == 0o600
    assert PATIENT_ID.encode() not in sealed
    assert STUDY_UID.encode() not in sealed
    assert petct(*arguments, cwd=hospital).code == 0
    assert walk.read_bytes() == sealed, "a study stands in it once"
    (opened,) = petct("crosswalk", "walk.jsonl", "--key-file", "key", cwd=hospital).records
    (record,) = made.records
    assert (opened["id"], opened["patient"]) == (record["id"], record["patient"])
    assert (opened["patient_id"], opened["study_instance_uid"]) == (PATIENT_ID, STUDY_UID)
    assert opened["study_date"] == "20240305"
    (hospital / "other").write_bytes(b"x" * 32)
    (hospital / "other").chmod(0o600)
    refused = petct("crosswalk", "walk.jsonl", "--key-file", "other", cwd=hospital)
    assert (refused.code, refused.records[0]["error"]["code"]) == (1, "crosswalk_other_key")
    line = orjson.loads(sealed)
    damaged = orjson.dumps({**line, "patient": "PAAAAAAAAAAAA"})
    refused = petct("crosswalk", "-", "--key-file", "key", cwd=hospital, stdin=damaged)
    assert refused.records[0]["error"]["code"] == "crosswalk_damaged"


def test_a_line_cut_short_by_a_power_cut_spoils_no_other(petct: Petct, hospital: Path) -> None:
    (hospital / "walk.jsonl").write_bytes(b'{"type":"crosswalk","id":"half')
    made = petct(
        "anonymize", "in", "-o", "out", "--key-file", "key", "--new-key", "--crosswalk", "walk.jsonl", cwd=hospital
    )
    assert made.code == 0, made.stderr
    assert len((hospital / "walk.jsonl").read_bytes().splitlines()) == 2


def test_the_crosswalk_inside_the_output_is_refused(petct: Petct, hospital: Path) -> None:
    made = petct("anonymize", "in", "-o", "out", "--key-file", "key", "--new-key", "--crosswalk", "out/w", cwd=hospital)
    assert made.code == 2


def test_uids_that_are_not_there_are_made_the_same_way_each_time(tmp_path: Path) -> None:
    def without(dataset: Dataset, _: int) -> None:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            delattr(dataset, keyword)
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    files = write_series(tmp_path / "raw", "CT", np.arange(12).reshape(3, 2, 2), change=without)
    data = [path.read_bytes() for path in files]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    record, one = anonymize(data, tmp_path / "a")
    _, two = anonymize(data[::-1], tmp_path / "b")
    assert "error" not in record
    assert len({out.StudyInstanceUID for out in one}) == len({out.SeriesInstanceUID for out in one}) == 1
    assert len({out.SOPInstanceUID for out in one}) == 3
    assert all(out.SOPInstanceUID == out.file_meta.MediaStorageSOPInstanceUID for out in one)
    assert [out.SOPInstanceUID for out in one] == [out.SOPInstanceUID for out in two]


def test_an_object_without_a_patient_id_is_of_the_studys_patient(tmp_path: Path) -> None:
    record, written = anonymize([saved(ct()), saved(ct(PatientID="", SOPInstanceUID="1.2.3.4.5.7"))], tmp_path)
    assert "error" not in record
    assert {str(out.PatientID) for out in written} == {record["patient"]}


def born(dataset: Dataset, _: int) -> None:
    dataset.PatientBirthDate, dataset.PatientAge = "19280817", "095Y"
    dataset.StudyDescription = "PET 17/08/1928"


@pytest.mark.parametrize("preset", ["tcia", "basic", "research-full-dates"])
def test_a_birth_date_is_taken_out_everywhere_and_never_moved(petct: Petct, tmp_path: Path, preset: str) -> None:
    write_series(tmp_path / "in", "CT", np.zeros((2, 8, 8)), change=born)
    text = f"Ông nam, 95 tuổi (17/08/1928), mã {PATIENT_ID}.\nLồng ngực: u phổi 12 mm."
    (tmp_path / f"{PATIENT_ID}.txt").write_text(text, "utf-8")
    arguments = ("--reports", f"{PATIENT_ID}.txt", "--profile", preset, "--key-file", "key", "--new-key")
    made = petct("anonymize", "in", "-o", "out", *arguments, cwd=tmp_path)
    assert made.code == 0, made.stderr
    (record,) = made.records
    said = " ".join(record["report"]["sections"].values())
    assert "[NGÀY]" in said
    assert "12 mm" in said
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert "/" not in str(pydicom.dcmread(path).get("StudyDescription", ""))
    assert not re.search(r"\d\d/\d\d/\d{4}", said)


def test_the_record_tells_dates_as_the_options_say(tmp_path: Path) -> None:
    for number, (options, expected) in enumerate(
        [
            ({"profile": "basic"}, "none"),
            ({"profile": "basic", "switches": {"retain_modified_dates": True}}, "shifted"),
            ({"switches": {"retain_modified_dates": False}}, "none"),
            ({"profile": "research-full-dates"}, "full"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        record, (out,) = anonymize(full_image(), folder, keep_period="month", **options)
        assert record["dates"] == expected
        assert bool(out.StudyDate) is (expected != "none")
        assert record["period"] == "2024-03"


def test_a_report_given_to_another_study_is_not_taken_from_the_last_run(petct: Petct, tmp_path: Path) -> None:
    for number in (1, 2):

        def numbered(dataset: Dataset, _: int, number: int = number) -> None:
            dataset.StudyInstanceUID, dataset.AccessionNumber = f"1.2.3.{number}", f"ACC-000{number}"

        write_series(tmp_path / f"in/{number}", "CT", np.zeros((1, 8, 8)), series=f"1.2.3.{number}.1", change=numbered)
    arguments = ("anonymize", "in", "-o", "out", "--reports", "r.csv", "--key-file", "key", "--new-key")
    found = []
    for first, second in ((1, 2), (2, 1)):
        rows = f"so phieu,noi dung\nACC-000{first},Lồng ngực: một.\nACC-000{second},Lồng ngực: hai.\n"
        (tmp_path / "r.csv").write_text(rows, "utf-8")
        made = petct(*arguments, cwd=tmp_path)
        assert made.code == 0, made.stderr
        found.append({record["id"]: record["report"]["sections"] for record in made.records})
    assert found[0] != found[1]
    assert sorted(map(str, found[0].values())) == sorted(map(str, found[1].values()))


def test_a_study_that_is_refused_leaves_nothing_of_an_earlier_run(tmp_path: Path) -> None:
    from petct_cli.stages.anonymize_pixels import PixelOptions

    data = [path.read_bytes() for path in write_series(tmp_path / "raw", "CT", np.zeros((4, 8, 8)))]
    _, written = anonymize(data, tmp_path)
    assert len(written) == 4
    manifest = {"type": "study", "schema": 1, "id": "0", "series": [{"modality": "CT", "dir": str(tmp_path / "in")}]}
    stage = Anonymize(out=tmp_path / "out", key=KEY, pixels=PixelOptions(deface=True))
    (refused,) = stage(decode(orjson.dumps(manifest)))
    assert refused.error is not None
    assert list((tmp_path / "out").rglob("*.dcm")) == []


def test_places_that_would_spoil_each_other_are_refused(petct: Petct, hospital: Path) -> None:
    (hospital / "key").write_bytes(b"k" * 32)
    (hospital / "key").chmod(0o600)
    for wrong in (("--crosswalk", "key"), ("--private-log", "key")):
        assert petct("anonymize", "in", "-o", "out", "--key-file", "key", *wrong, cwd=hospital).code == 2
    assert (hospital / "key").read_bytes() == b"k" * 32
    inside = petct("anonymize", "in", "-o", "in/out", "--key-file", "key", cwd=hospital)
    assert (inside.code, "outside" in inside.stderr) == (2, True)


def test_messages_name_files_by_their_place(petct: Petct, hospital: Path) -> None:
    (hospital / "NGUYEN_VAN_A").mkdir()
    (hospital / "NGUYEN_VAN_A/x.jsonl").write_text("no json\n")
    for paths in (["NGUYEN_VAN_A/x.jsonl"], ["NGUYEN_VAN_A/none.jsonl"], ["in", "--reports", "NGUYEN_VAN_A/none"]):
        said = petct("anonymize", *paths, "-o", "out", "--key-file", "key", "--new-key", cwd=hospital)
        assert said.code != 0
        assert "NGUYEN" not in said.stderr
        assert "argument 1" in said.stderr or "--reports" in said.stderr


def test_an_identity_is_the_same_in_any_character_set(tmp_path: Path) -> None:
    records = []
    for number, charset in enumerate(("ISO_IR 192", "ISO_IR 100")):
        folder = tmp_path / str(number)
        folder.mkdir()
        dataset = ct(IssuerOfPatientID="Hôpital")
        dataset.SpecificCharacterSet, dataset.PatientName = charset, "Muller^Jurgen"
        records.append(anonymize(saved(dataset), folder)[0]["patient"])
    assert len(set(records)) == 1


def test_a_study_in_two_records_is_told_of(petct: Petct, hospital: Path) -> None:
    lines = [
        orjson.dumps({"type": "study", "schema": 1, "id": name, "series": [{"modality": name, "dir": f"in/{name}"}]})
        for name in ("CT", "PT")
    ]
    arguments = ("anonymize", "-", "-o", "out", "--key-file", "key", "--new-key")
    said = petct(*arguments, stdin=b"\n".join(lines), cwd=hospital)
    assert "[study_twice]" in said.stderr
