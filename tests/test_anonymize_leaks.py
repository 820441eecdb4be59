"""`petct anonymize` as a hospital runs it, over studies with identifiers wherever they can hide: none may come out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from conftest import Result
from dicom_factory import write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

Petct = Callable[..., Result]
CHARSETS: tuple[str | list[str], ...] = ("ISO_IR 192", "ISO_IR 192", "ISO_IR 100", "GB18030", ["", "ISO 2022 IR 87"])
NAMES = (
    "Nguyễn^Bình^Thị Ngọc",
    unicodedata.normalize("NFD", "Trần^An"),
    "Müller^Jürgen^François",
    "Wang^XiaoDong=王^小东",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
)
DOCTORS = ("Trịnh^Quảng", "Lý^Hồ", "Lefèvre^Zoë", "Li^Ming", "Suzuki^Ichiro")
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1", "gb18030", "iso2022_jp")
# A patient, a hospital and a street that do not exist.
AE_TITLES = ("SAOBIENAE", "SENDSAOBIEN", "RECVSAOBIEN")


@dataclass(frozen=True)
class Person:
    """Who the study of one number is about."""

    number: int

    @property
    def name(self) -> str:
        return NAMES[self.number]

    @property
    def doctor(self) -> str:
        return DOCTORS[self.number].replace("^", " ")

    @property
    def plain(self) -> str:
        return self.name.split("=")[0].replace("^", " ")

    @property
    def patient_id(self) -> str:
        return f"BN-77{self.number}31"

    @property
    def accession(self) -> str:
        return f"ACC99{self.number}0217"

    @property
    def phone(self) -> str:
        return f"091{self.number} 345 678"

    @property
    def citizen_id(self) -> str:
        return f"00108501234{self.number}"

    @property
    def address(self) -> str:
        return f"{self.number}2 Ly Thuong Kiet, phuong May Trang"

    @property
    def uid(self) -> str:
        return f"1.2.826.0.1.3680043.8.498.77.{self.number}"

    def values(self) -> set[str]:
        """Everything that must not be found anywhere."""
        digits = self.phone.replace(" ", "")
        return {
            self.name, self.plain, self.doctor, self.patient_id, self.accession, self.phone, digits,
            self.phone.replace(" ", "."), self.citizen_id, self.address, self.uid, "BV Sao Bien Xanh", "20240305",
            "05/03/2024", "2024.03.05", "19291231", "31/12/1929", *AE_TITLES,
        }  # fmt: skip


def nested(person: Person, dataset: Dataset) -> Dataset:
    """A reference with the patient's values, private elements among them."""
    item = Dataset()
    item.PatientName, item.PatientID, item.PersonName = person.name, person.patient_id, DOCTORS[person.number]
    item.TextValue = f"{person.plain} {person.patient_id}"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    item.StudyDate, item.DateTime = "20240305", "20240305101010"
    item.add_new(0x00310010, "LO", "SOMEBODY")
    item.add_new(0x00311001, "LT", person.plain)
    return item


def even(text: str) -> bytes:
    data = text.encode()
    return data + b" " * (len(data) % 2)


def plant(person: Person) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, index: int) -> None:
        dataset.SpecificCharacterSet = CHARSETS[person.number]
        dataset.StudyInstanceUID = person.uid
        dataset.SeriesInstanceUID = f"{person.uid}.{1 if dataset.Modality == 'CT' else 2}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SeriesInstanceUID}.{index}"
        dataset.FrameOfReferenceUID = f"{person.uid}.9"
        dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = (
            person.name,
            person.patient_id,
            person.accession,
        )
        dataset.PatientBirthDate, dataset.PatientAge = "19291231", "094Y"
        dataset.PatientTelephoneNumbers, dataset.PatientAddress = person.phone, person.address
        dataset.InstitutionName, dataset.OtherPatientIDs = "BV Sao Bien Xanh", person.citizen_id
        dataset.InstitutionalDepartmentName = "PET/CT"
        dataset.ReferringPhysicianName = dataset.OperatorsName = DOCTORS[person.number]
        dataset.StudyDescription = f"PET/CT {person.plain} {person.accession}"
        dataset.SeriesDescription = f"WB {person.accession}_AC 05/03/2024 {person.patient_id}"
        dataset.ProtocolName = f"PET {person.doctor} 2024.03.05"
        dataset.PatientComments = (
            f"Bn {person.plain} dt {person.phone.replace(' ', '.')} dc {person.address} cccd {person.citizen_id}"
        )
        dataset.ImageComments = f"uid {person.uid} 20240305 31/12/1929"
        meta = dataset.file_meta
        for number, title in zip((0x00020016, 0x00020017, 0x00020018), AE_TITLES, strict=True):
            meta.add_new(number, "AE", title)
        meta.add_new(0x00020100, "UI", "1.2.3.4")
        meta.add_new(0x00020102, "OB", even(f"{person.plain} {person.patient_id}"))
        dataset.preamble = (even(person.plain) * 20)[:128]
        third = nested(person, dataset)
        second, first = Dataset(), Dataset()
        second.ReferencedImageSequence, second.AccessionNumber = Sequence([third]), person.accession
        second.add_new(0x00400280, "ST", f"seen {person.plain}")
        first.RequestedProcedureDescription, first.ReferencedStudySequence = f"PET {person.plain}", Sequence([second])
        dataset.RequestAttributesSequence, dataset.AnatomicRegionSequence = Sequence([first]), Sequence([second])
        dataset.ReferencedImageSequence = Sequence([third])
        plant_private(person, dataset)
        if person.number % 2:
            wrong_vrs(person, dataset)

    return change


def plant_private(person: Person, dataset: Dataset) -> None:
    """Private blocks, the safe ones among them, overlays, curves and padding."""
    dataset.add_new(0x00990010, "LO", person.plain)
    dataset.add_new(0x00991001, "UN", even(person.patient_id))
    dataset.add_new(0x00991002, "SQ", Sequence([nested(person, dataset)]))
    dataset.add_new(0x70530010, "LO", "Philips PET Private Group")
    dataset.add_new(0x70531000, "DS", "0.00123")
    dataset.add_new(0x70531003, "PN", person.name)
    dataset.add_new(0x70531004, "LO", person.patient_id)
    dataset.add_new(0x70531005, "UN", even(person.plain))
    dataset.add_new(0x00090010, "LO", "GEMS_PETD_01")
    dataset.add_new(0x0009100D, "UN", b"20240305101010.00 ")
    dataset.add_new(0x60020022, "LO", person.plain)
    dataset.add_new(0x60023000, "OW", even(person.plain))
    dataset.add_new(0x50200022, "LO", person.plain)
    dataset.add_new(0xFFFCFFFC, "OB", even(person.plain))


def wrong_vrs(person: Person, dataset: Dataset) -> None:
    """Dates and names that the file calls something else."""
    dataset.add_new(0x00080022, "LO", "20240305")
    dataset.add_new(0x00189074, "SH", "20240305101010")
    dataset.add_new(0x00081070, "LO", DOCTORS[person.number])
    dataset.add_new(0x00081048, "UN", even(DOCTORS[person.number]))
    dataset.add_new(0x00402017, "UN", even(person.accession))


def report_of(person: Person) -> dict[str, Any]:
    grouped = " ".join(person.citizen_id[at : at + 3] for at in range(0, 12, 3))
    decomposed = unicodedata.normalize("NFD", person.plain)
    return {
        "Hành chính": {
            "Họ tên": person.plain.upper(), "Mã BN": person.patient_id, "CCCD": person.citizen_id,
            "Điện thoại": person.phone, "Địa chỉ": person.address, "Khoa": "Ung bướu",
        },
        "Bác Sĩ": f"bs. {person.doctor}",
        "Nhận định kết quả": (
            f"Bn: {person.plain.lower()}. {decomposed}, {person.plain.replace(' ', '')}; bs {person.doctor.lower()} "
            f"đọc ngày 05/03/2024. Tel {person.phone.replace(' ', '.')}, +84 {person.phone[1:]}. CCCD {grouped}. "
            "Hạch 12,5 mm SUVmax 4,7 theo chuyên khoa ung bướu."
        ),
        "Mô tả hình ảnh": {
            "Đầu - cổ": f"{person.accession.lower()} hạch {person.patient_id.lower()} {person.address.upper()}",
            "Lồng ngực": {"x": f"sinh 31/12/1929, {person.uid}"},
            "Hệ cơ - xương": "so sánh 5-3-2024, 20240305, bv sao bien xanh",
        },
    }  # fmt: skip


PEOPLE = [Person(number) for number in range(len(NAMES))]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "reports").mkdir()
    for person in PEOPLE:
        rng = np.random.default_rng(person.number)
        own = folder / "in" / f"{person.plain} {person.patient_id}"
        names = [f"{person.plain}_{index}.dcm" for index in range(2)]
        write_series(own / "CT", "CT", rng.integers(-900, 900, (2, 8, 8)), change=plant(person), names=names)
        write_series(own / "PET", "PT", rng.integers(0, 900, (2, 8, 8)), change=plant(person))
        (folder / f"reports/{person.number}.json").write_bytes(orjson.dumps(report_of(person)))
    return folder


def spellings(value: str) -> set[bytes]:
    found = set()
    for text in (value, value.lower(), value.upper(), *(unicodedata.normalize(f, value) for f in ("NFC", "NFD"))):
        for encoding in ENCODINGS:
            try:
                found.add(text.encode(encoding))
            except UnicodeEncodeError:
                continue
    return found


def left_in(outputs: list[bytes]) -> list[tuple[int, str]]:
    everything = b"\n".join(outputs)
    return [
        (person.number, value)
        for person in PEOPLE
        for value in person.values()
        if any(spelling in everything for spelling in spellings(value))
    ]


def outputs_of(folder: Path, out: str, result: Result) -> list[bytes]:
    found = [result.stdout, result.stderr.encode()]
    for path in sorted((folder / out).rglob("*")):
        found.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            found.append(path.read_bytes())
    return found


@pytest.fixture(scope="module")
def clean(petct: Petct, planted: Path) -> Result:
    result = petct(
        "anonymize", "in", "--reports", "reports", "-o", "out", "--key-file", "key", "--new-key", "--json-logs", "log",
        cwd=planted,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    return result


def test_no_planted_value_is_in_any_output_byte(planted: Path, clean: Result) -> None:
    assert len(clean.records) == len(PEOPLE)
    assert left_in([*outputs_of(planted, "out", clean), (planted / "log").read_bytes()]) == []


def test_what_is_no_identifier_stays(planted: Path, clean: Result) -> None:
    for record in clean.records:
        assert record["age"] == "090Y"
        assert "Hạch 12,5 mm SUVmax 4,7 theo chuyên khoa ung bướu." in record["report"]["sections"]["impression"]
        day = record["study_date"]
        assert f"ngày {day[8:]}/{day[5:7]}/{day[:4]}" in record["report"]["sections"]["impression"]
        header = pydicom.dcmread(next((planted / record["series"][1]["dir"]).iterdir()))
        assert header.StudyDescription.startswith("PET/CT")
        assert header.SeriesDescription == f"WB _AC {day[8:]}/{day[5:7]}/{day[:4]}"
        assert header[0x70531000].value in ("0.00123", b"0.00123 ", 0.00123)
        assert 0x70531003 not in header
        assert header.AcquisitionDate == day.replace("-", "")


def test_uids_agree_across_the_files_of_a_study(planted: Path, clean: Result) -> None:
    for record in clean.records:
        files = sorted((planted / "out" / record["id"]).rglob("*.dcm"))
        headers = [pydicom.dcmread(path) for path in files]
        assert len({header.FrameOfReferenceUID for header in headers}) == 1
        assert len({header.SOPInstanceUID for header in headers}) == len(files)
        for header in headers:
            assert header.ReferencedImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
            assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID


def test_one_folder_of_many_patients_gives_the_same_studies(petct: Petct, planted: Path, clean: Result) -> None:
    flat = planted / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(p for p in (planted / "in").rglob("*") if p.is_file())):
        (flat / f"{path.parent.parent.name}_{number}").write_bytes(path.read_bytes())
    (flat / "again").write_bytes(next(iter(sorted(flat.iterdir()))).read_bytes())
    result = petct("anonymize", "flat", "--reports", "reports", "-o", "out2", "--key-file", "key", "-j2", cwd=planted)
    assert result.code == 0, result.stderr
    mine = {record["id"]: record for record in result.records}
    for record in clean.records:
        assert mine[record["id"]]["patient"] == record["patient"]
        assert mine[record["id"]]["study_date"] == record["study_date"]
    assert sum(record["deid"]["counts"].get("files_duplicate", 0) for record in result.records) == 1
    assert left_in(outputs_of(planted, "out2", result)) == []


def test_a_dry_run_names_pseudonyms_and_writes_nothing(petct: Petct, planted: Path, clean: Result) -> None:
    line = orjson.dumps({"type": "study", "schema": 1, "id": "NGUYEN VAN A"})
    result = petct("anonymize", "-", "-o", "dry", "--key-file", "dry.key", "--new-key", "--dry-run",
                   stdin=line, cwd=planted)  # fmt: skip
    assert result.code == 0
    assert "would work on" in result.stderr
    assert "NGUYEN" not in result.stderr
    assert not (planted / "dry.key").exists()
    assert not (planted / "dry").exists()


def test_bad_lines_tell_nothing(petct: Petct, planted: Path, clean: Result) -> None:
    name = "nguyen van a"
    bad: list[dict[str, Any]] = [
        {"type": "study", "schema": 99, "id": name, "patient": name},
        {"type": "study", "schema": 1, "id": name, "report": {"sections": {name: 5}}},
        {"type": name, "schema": 1, "id": name},
        {"type": "study", "schema": 1, "id": name, "error": {"stage": name, "code": name, "message": name}},
        {"type": "study", "schema": 1, "id": name, "series": [{"modality": "CT", "files": [f"/{name}"]}]},
    ]
    stdin = b"\n".join(map(orjson.dumps, bad)) + b'\n{"' + name.encode() + b"\n"
    result = petct("anonymize", "-", "-o", "bad", "--key-file", "key", "--json-logs", "bad.log",
                   stdin=stdin, cwd=planted)  # fmt: skip
    assert result.code == 1
    assert len(result.records) == len(bad)
    assert name not in result.stdout.decode() + result.stderr + (planted / "bad.log").read_text()


def test_quiet_says_nothing_of_faces(petct: Petct, planted: Path, clean: Result) -> None:
    loud = petct("anonymize", "in", "-o", "loud", "--key-file", "key", cwd=planted)
    quiet = petct("anonymize", "in", "-o", "loud", "--key-file", "key", "-q", cwd=planted)
    assert "faces stay" in loud.stderr
    assert quiet.stderr == ""


@pytest.mark.parametrize("option", ["--key-file", "--private-log", "--quarantine"])
def test_secrets_do_not_go_where_the_output_goes(petct: Petct, planted: Path, clean: Result, option: str) -> None:
    places = {"--key-file": "key", option: "clean/secret"}
    arguments = [part for pair in places.items() for part in pair]
    result = petct("anonymize", "in", "-o", "clean", "--new-key", *arguments, cwd=planted)
    assert result.code == 2
    assert not (planted / "clean").exists()


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [(b"short\n", 0o600, 2), (b"", 0o600, 2), (b"k" * 32, 0o644, 2), (b"k" * 32 + b"\n", 0o600, 0)],
)
def test_an_existing_key_is_never_replaced(
    petct: Petct, planted: Path, tmp_path: Path, content: bytes, mode: int, code: int
) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    key.chmod(mode)
    result = petct("anonymize", "in", "-o", "none", "--key-file", str(key), "--new-key", "--dry-run", cwd=planted)
    assert result.code == code
    assert key.read_bytes() == content
