"""Ways past de-identification that a hostile reading found; each stays closed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit
from test_deid_rewrite import ct, deidentify, read, saved

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import parse_dicom
from petct_cli.dicom.deid.identifiers import Identifiers
from petct_cli.dicom.deid.known import know
from petct_cli.dicom.deid.profile import load_profile
from petct_cli.dicom.deid.selection import quarantine_reason

FORMS = know(
    Identifiers(
        names={"Nguyễn^Bình^An", "王小东", "Sukarnoputra", "Διονύσιος^Παπαδόπουλος", "OPERATOR"},
        dates={date(2024, 3, 5)},
    )
)


@pytest.mark.parametrize(
    "text",
    [
        "2024年3月5日", "2024年03月05日", "2024년 3월 5일", "05MAR24", "5 Mar 24", "240305", "2024:03:05", "2024. 3. 5",
        "05|03|2024", "5 марта 2024", "05.III.2024", "2024-065", "ngày 5 tháng ba năm 2024", "5 mars 2024",
        "PET 王小东 WB", "PET Sukarnoputra", "NguyenBinh", "BinhNguyen1985", "Nguyễn A. Bình", "N. A. Bình",
        "nguyen b. a.",
        "Διονύσιος Παπαδό", "1.2.826.0.1.20240305.1",
    ],
)  # fmt: skip
def test_written_forms_of_a_value_are_hits(text: str) -> None:
    assert FORMS.find(text)


@pytest.mark.parametrize(
    "text", ["240306", "05.IV.2024", "2024年3月6日", "operator", "Bình thường", "N. A.", "5 cm 24", "2024-066", "a b"]
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert not FORMS.find(text)


def test_text_of_an_escaped_character_set_is_read(tmp_path: Path) -> None:
    dataset = ct(
        PatientName="Yamada^Tarou=山田^太郎", StudyDescription="PET 山田太郎", SeriesDescription="山田 太郎 WB"
    )
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    out = read(deidentify(saved(dataset), tmp_path)[0])
    assert "山田" not in str(out.get("StudyDescription", "")) + str(out.get("SeriesDescription", ""))


def hidden_in_sequence(value: bytes, vr: str = "SQ") -> bytes:
    """A file whose (0008,2228) holds `value` raw."""
    dataset = ct()
    dataset.add_new(0x00082228, "UT" if vr == "SQ" else vr, "X" * len(value))
    data = saved(dataset)
    return data.replace(b"X" * len(value), value).replace(b"\x08\x00\x28\x22UT", b"\x08\x00\x28\x22SQ")


@pytest.mark.parametrize(
    ("value", "vr"),
    [
        (b"\xfe\xff\xdd\xe0\0\0\0\0SOMEBODY HERE ", "SQ"),
        (b"\xfe\xff\x00\xe0\0\0\0\0SOMEBO", "SQ"),
        (b"SOMEBO", "LO"),
    ],
)
def test_nothing_hides_beside_the_items_of_a_sequence(value: bytes, vr: str, tmp_path: Path) -> None:
    assert b"SOMEBO" not in deidentify(hidden_in_sequence(value, vr), tmp_path)[0]


def test_text_in_numbers_and_times_is_emptied(tmp_path: Path) -> None:
    dataset = ct(AcquisitionTime="101500.5", PatientWeight="70.5")
    dataset.add_new(0x00280030, "DS", ["0.5", "0.5"])
    data = saved(dataset)
    spoilt = data.replace(b"101500.5", b"SOMEBODY").replace(b"70.5", b"Hanh")
    out = deidentify(spoilt, tmp_path)[0]
    assert b"SOMEBODY" not in out
    assert b"Hanh" not in out
    assert read(out).PixelSpacing == [0.5, 0.5]


def test_elements_that_no_dictionary_knows_go(tmp_path: Path) -> None:
    dataset = ct()
    dataset.add_new(0x00082FF1, "OB", b"SOMEBODY")
    assert b"SOMEBODY" not in deidentify(saved(dataset), tmp_path)[0]


def test_an_application_title_like_our_own_name_is_no_leak(tmp_path: Path) -> None:
    dataset = ct(StationName="PETCT01", DeviceUID="1.2.3.4.9.9")
    data = saved(dataset).replace(b"ZZLEAKAE", b"PETCT01 ")
    assert read(deidentify(data, tmp_path)[0]).StationName == "PETCT01"


def test_a_patient_id_that_is_a_time_of_day_is_no_leak(tmp_path: Path) -> None:
    out = read(deidentify(saved(ct(PatientID="110000", AcquisitionTime="110000")), tmp_path)[0])
    assert out.AcquisitionTime == "110000"


def test_an_insurance_number_is_looked_for(tmp_path: Path) -> None:
    dataset = ct(InsurancePlanIdentification="HS4010123456789", StudyDescription="PET HS4010123456789")
    assert b"HS4010123456789" not in deidentify(saved(dataset), tmp_path)[0]


def test_bytes_after_float_pixels_are_searched(tmp_path: Path) -> None:
    dataset = ct(Rows=2, Columns=2)
    del dataset.PixelData
    dataset.FloatPixelData = np.zeros(4, "<f4").tobytes() + b"ZZLEAK0001  "
    with pytest.raises(RecordError, match="7FE0,0008"):
        deidentify(saved(dataset), tmp_path)


@pytest.mark.parametrize("place", ["comment", "after", "fragment"])
def test_text_beside_compressed_pixels_is_searched(place: str, tmp_path: Path) -> None:
    text = b"by ZZLEAK0001 "
    comment = b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text if place == "comment" else b""
    frame = b"\xff\xd8" + comment + b"\xff\xda\0\2" + bytes(20) + b"\xff\xd9" + (text if place == "after" else b"")
    dataset = ct()
    dataset.PixelData = encapsulate([frame, *([text] if place == "fragment" else [])])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(RecordError, match="7FE0,0010"):
        deidentify(saved(dataset, JPEGBaseline8Bit), tmp_path)


def overlaid(**elements: object) -> Dataset:
    dataset = ct()
    for (tag, vr), value in {
        (0x60000010, "US"): 16, (0x60000011, "US"): 16, (0x60000040, "CS"): "R", (0x60000050, "SS"): [1, 1],
        (0x60000100, "US"): 1, (0x60000102, "US"): 0, (0x60001500, "LO"): "liver of ZZLEAK0001",
        (0x60003000, "OW"): bytes(32), (0x60004000, "LT"): "drawn by somebody",
    }.items():  # fmt: skip
        dataset.add_new(tag, vr, elements.get(f"_{tag:08X}", value))
    return dataset


def test_pixels_that_may_be_text_are_set_aside() -> None:
    profile = load_profile("tcia")
    reasons = {
        "embedded_overlay": overlaid(_60000100=16, _60000102=12),
        "secondary_capture": ct(ConversionType="WSD"),
        "colour_image": ct(SamplesPerPixel=3),
    }
    for reason, dataset in reasons.items():
        assert quarantine_reason(parse_dicom(saved(dataset)), profile) == reason
    assert quarantine_reason(parse_dicom(saved(overlaid())), profile) is None


def test_a_name_of_single_characters_is_whole() -> None:
    known = know(Identifiers(names={"Wang^XiaoDong", "王^小东", "Y^Thuyên"}))
    assert known.find("PET 王 小东")
    assert known.find("Y Thuyên")


def test_an_institution_that_a_kept_text_holds_is_still_looked_for(tmp_path: Path) -> None:
    dataset = ct(InstitutionName="BV Sao Bien Xanh", StationName="PET-2", StudyDescription="PET BV Sao Bien Xanh")
    nested = Dataset()
    nested.ModifyingSystem, nested.StationName = "BV Sao Bien Xanh", "BV Sao Bien Xanh"
    dataset.OriginalAttributesSequence = Sequence([nested])
    assert b"Sao Bien" not in deidentify(saved(dataset), tmp_path)[0]
    inside = ct(InstitutionName="BV Sao Bien Xanh", DeviceSerialNumber="SN1 BV Sao Bien Xanh")
    assert b"Sao Bien" not in deidentify(saved(inside), tmp_path)[0]


def test_what_was_anonymised_before_can_be_again(tmp_path: Path) -> None:
    item = Dataset()
    item.AcquisitionDateTime, item.DateTime = "20240315101500", "20240315101500"
    dataset = ct(ReferencedImageSequence=Sequence([item]))
    once = deidentify(saved(dataset), tmp_path, "basic")[0]
    again = deidentify(once, tmp_path, "basic")[0]
    assert read(again).PatientID


def test_bytes_after_the_last_pixel_are_set_aside() -> None:
    profile = load_profile("tcia")
    image = {"Rows": 2, "Columns": 2, "BitsAllocated": 16}
    after = ct(**image, PixelData=bytes(8) + b"SOMEBODY")
    assert quarantine_reason(parse_dicom(saved(after)), profile) == "bytes_after_pixels"
    assert quarantine_reason(parse_dicom(saved(ct(**image, PixelData=bytes(12)))), profile) is None


@pytest.mark.parametrize("keyword", ["WaveformData", "PulseSequenceName"])
def test_bulk_that_cannot_be_looked_at_goes(keyword: str, tmp_path: Path) -> None:
    item = Dataset()
    item.add_new(keyword, "OB", b"BS Le Thi Mai at ZZLEAK0001 ")
    out = deidentify(saved(ct(WaveformSequence=Sequence([item]))), tmp_path)[0]
    assert b"ZZLEAK" not in out


def test_sequences_deeper_than_any_real_one_are_a_fault_with_a_code(tmp_path: Path) -> None:
    from petct_cli.dicom.deid.study import FileError, survey_study

    value = b""
    for _ in range(1000):
        value = (
            b"\x08\x00\x15\x11SQ\0\0"
            + (len(value) + 8).to_bytes(4, "little")
            + b"\xfe\xff\x00\xe0"
            + len(value).to_bytes(4, "little")
            + value
        )
    data = saved(ct())
    place = data.index(b"\x10\x00\x10\x00PN")
    (tmp_path / "a").write_bytes(data[:place] + value + data[place:])
    with pytest.raises(FileError) as caught:
        survey_study([tmp_path / "a"], "tcia")
    assert caught.value.code == "dicom_too_deep"


def test_an_unknown_modality_names_nothing(tmp_path: Path) -> None:
    from petct_cli.dicom.deid.study import survey_study

    (tmp_path / "a").write_bytes(saved(ct(Modality="NGUYENAN")))
    (image,) = survey_study([tmp_path / "a"], "tcia").images
    assert image.modality == "OT"


def test_a_private_sequence_of_a_safe_creator_goes(tmp_path: Path) -> None:
    dataset = ct(Manufacturer="GE MEDICAL SYSTEMS")
    dataset.add_new(0x00090010, "LO", "GEMS_PETD_01")
    item = Dataset()
    item.PatientComments = "SOMEBODY"
    dataset.add_new(0x0009100D, "SQ", Sequence([item]))
    assert b"SOMEBODY" not in deidentify(saved(dataset), tmp_path)[0]


def test_letters_that_look_latin_fold_like_what_they_look_like_and_like_their_capitals() -> None:
    from petct_cli.core.lookalikes import LATIN_OF
    from petct_cli.dicom.deid.folding import fold

    assert [letter for letter, latin in LATIN_OF.items() if fold(letter)[0] != fold(latin)[0]] == []
    for name in ("Петров Иван", "Διονύσιος Παπαδόπουλος", "Nguyễn Văn Ơn", "Groß Jürgen"):
        assert fold(name)[0].replace("ς", "σ") == fold(name.upper())[0]


def undefined_sequence(inner: bytes) -> bytes:
    """A file with (0008,2112) of undefined length that holds `inner` between its head and its delimiter."""
    data = saved(ct())
    at = data.index(b"\x10\x00\x10\x00PN")
    head = b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff"
    return data[:at] + head + inner + b"\xfe\xff\xdd\xe0\0\0\0\0" + data[at:]


def test_the_layout_of_another_file_is_no_excuse_for_damage() -> None:
    item = b"\xfe\xff\x00\xe0\x0a\0\0\0\x08\0\x50\x11UI\x02\x001\0"
    sound, damaged = undefined_sequence(item), undefined_sequence(b"\xfe\xff\x01\xe0" + item[4:])
    parse_dicom(sound)
    parse_dicom(sound)
    with pytest.raises(RecordError):
        parse_dicom(damaged)
    hidden = b"\xfe\xff\xdd\xe0\0\0\0\0\x09\0\x01\0LO\x02\0ab"
    assert len(hidden) == len(item)
    with pytest.raises(RecordError):
        parse_dicom(undefined_sequence(hidden))


def test_each_delimiter_is_looked_at(tmp_path: Path) -> None:
    item = b"\xfe\xff\x00\xe0\x0a\0\0\0\x08\0\x50\x11UI\x02\x001\0"
    from petct_cli.dicom.deid.study import survey_study

    data = undefined_sequence(item)
    end = data.index(b"\xfe\xff\xdd\xe0") + 4
    marked = data[:end] + b"7391" + data[end + 4 :]
    for first in (data, marked):
        assert b"7391" not in deidentify(first, tmp_path)[0]
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(marked)
    assert len(survey_study([tmp_path / "a", tmp_path / "b"], "tcia").images) == 2


def test_what_is_no_date_goes_under_full_dates_too(tmp_path: Path) -> None:
    data = saved(ct(SeriesDate="20240316")).replace(b"20240316", b"LE T MAI")
    out = deidentify(data, tmp_path, "research-full-dates")[0]
    assert b"LE T MAI" not in out
    assert read(out).StudyDate == "20240315"
