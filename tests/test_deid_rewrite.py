"""De-identification of single data sets: planted identifiers at every depth, in every syntax, against an answer key."""

from __future__ import annotations

import contextlib
import io
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import parse_dicom
from petct_cli.dicom.deid.identifiers import Collector
from petct_cli.dicom.deid.known import know
from petct_cli.dicom.deid.output import ResidualScan, write_deidentified
from petct_cli.dicom.deid.profile import load_profile
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.deid.rewrite import Rewriter

KEY = Key(b"0123456789abcdef-test-key")
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
SECRET = "ZZLEAK"


def deidentify(data: bytes, folder: Path, preset: str = "tcia") -> tuple[bytes, Rewriter]:
    """Do what the stage does to one file, the residual scan included."""
    dicom = parse_dicom(data)
    collector = Collector(load_profile(preset))
    collector.add(dicom)
    known = know(collector.found)

    def clean(text: str) -> str:
        for hit in reversed(known.find(text)):
            text = text[: hit.start] + text[hit.end :]
        return text

    patient_id = dicom.text(0x00100020)
    rewriter = Rewriter(KEY, preset, patient_id, patient_id, clean, known.find, dicom.text(0x00080070))
    target = folder / "out.dcm"
    write_deidentified(dicom, target, rewriter, None)
    ResidualScan(known, rewriter.written).check(dicom, target)
    return target.read_bytes(), rewriter


def saved(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, preamble: bytes = bytes(128)) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.SourceApplicationEntityTitle = SECRET + "AE"
    dataset.file_meta = meta
    dataset.preamble = preamble
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def ct(**more: Any) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.3.4.5.6"
    dataset.StudyInstanceUID = "1.2.3.4.5"
    dataset.SeriesInstanceUID = "1.2.3.4.5.1"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName = "Nguyễn^Hải^Văn"
    dataset.PatientID = SECRET + "0001"
    dataset.PatientBirthDate = "19310203"
    dataset.StudyDate = "20240315"
    dataset.StudyTime = "101500.123"
    dataset.PixelData = bytes(range(256))
    dataset["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def planted() -> Dataset:
    """A CT image with the secret in every place that other tools leak from."""
    dataset = ct(
        AccessionNumber=SECRET + "ACC",
        ReferringPhysicianName=f"{SECRET}^Doctor",
        StudyDescription=f"PET/CT {SECRET}0001 whole body",
        PatientComments=f"calls himself {SECRET}0001",
        InstitutionName=f"{SECRET} Hospital",
        PatientAge="093Y",
        PatientWeight="70.50",
        StudyID=SECRET + "SID",
        TimezoneOffsetFromUTC="+0700",
        AcquisitionDateTime="20240315101500.123456+0700",
    )
    inner = Dataset()
    inner.PatientID = SECRET + "0001"
    inner.PatientName = "Nguyễn^Hải^Văn"
    inner.ReferencedSOPInstanceUID = "1.2.3.4.5.6"
    inner.ReferencedSOPClassUID = CTImageStorage
    inner.add_new(0x00110010, "LO", "SOMEBODY")
    inner.add_new(0x00111001, "LO", SECRET + "NESTEDPRIVATE")
    outer = Dataset()
    outer.RequestedProcedureDescription = f"CT of {SECRET}0001"
    outer.ReferencedImageSequence = Sequence([inner])
    outer.ScheduledProcedureStepStartDate = "20240315"
    dataset.RequestAttributesSequence = Sequence([outer])
    dataset.ReferencedImageSequence = Sequence([inner])
    dataset.add_new(0x00090010, "LO", "VENDOR")
    dataset.add_new(0x00091001, "LO", SECRET + "PRIVATE")
    dataset.add_new(0x00091002, "SQ", Sequence([inner]))
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000022, "LO", SECRET + "OVERLAY")
    dataset.add_new(0x60003000, "OW", SECRET.encode() + b"!!")
    dataset.add_new(0x50000022, "LO", SECRET + "CURVE")
    dataset.add_new(0xFFFCFFFC, "OB", SECRET.encode())
    dataset.add_new(0x00104000, "LT", f"{SECRET}0001")
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_no_planted_string_is_left_in_any_syntax(syntax: str, tmp_path: Path) -> None:
    data, _ = deidentify(saved(planted(), syntax, (SECRET.encode() * 30)[:128]), tmp_path)
    result = read(data)
    assert SECRET not in str(result) + str(result.file_meta)
    assert result.preamble == bytes(128)
    if syntax != DeflatedExplicitVRLittleEndian:
        assert SECRET.encode() not in data
        assert "Nguyễn".encode() not in data


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_answer_key_holds_in_any_syntax(syntax: str, tmp_path: Path) -> None:
    source = planted()
    result = read(deidentify(saved(source, syntax), tmp_path)[0])
    days = KEY.day_offset(SECRET + "0001")
    pseudonym = KEY.patient(SECRET + "0001")
    moved = pydicom.valuerep.DA("20240315") + timedelta(days=days)
    assert result.file_meta.TransferSyntaxUID == syntax
    assert result.PatientID == str(result.PatientName) == pseudonym
    assert result.StudyDate == moved.strftime("%Y%m%d")
    assert result.AcquisitionDateTime == moved.strftime("%Y%m%d") + "101500.123456+0700"
    assert result.StudyTime == "101500.123"
    assert result.TimezoneOffsetFromUTC == "+0700"
    assert result.PatientBirthDate == result.AccessionNumber == result.StudyID == ""
    assert result.PatientAge == "090Y"
    assert result["PatientWeight"].value.original_string == "70.50"
    assert "InstitutionName" not in result
    assert result.StudyDescription == "PET/CT  whole body"
    assert result.SOPInstanceUID == KEY.uid("1.2.3.4.5.6") == result.file_meta.MediaStorageSOPInstanceUID
    reference = result.RequestAttributesSequence[0].ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == result.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == CTImageStorage
    assert reference.PatientID == pseudonym
    assert result.SOPClassUID == CTImageStorage
    assert result.PixelData == source.PixelData
    assert result.PatientIdentityRemoved == "YES"
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    assert result.BurnedInAnnotation == "NO"
    codes = [item.CodeValue for item in result.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113105", "113107", "113108", "113109", "113111"]
    assert [int(e.tag) for e in result] == sorted(int(e.tag) for e in result)


def test_derived_images_are_not_claimed_clean(tmp_path: Path) -> None:
    result = read(deidentify(saved(ct(ImageType=["DERIVED", "SECONDARY"])), tmp_path)[0])
    assert "BurnedInAnnotation" not in result
    assert "113101" not in [item.CodeValue for item in result.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize(
    ("group", "creator", "element", "vr", "value", "stays"),
    [
        (0x7053, "Philips PET Private Group", 0x00, "DS", "0.000123", True),
        (0x7053, "Philips PET Private Group", 0x09, "DS", "1.75", True),
        (0x7053, "Philips PET Private Group", 0x00, "DS", "", False),
        (0x7053, "Philips PET Private Group", 0x01, "DS", "1.75", False),
        (0x7053, "Somebody else", 0x00, "DS", "1.75", False),
        (0x0009, "GEMS_PETD_01", 0x02, "LO", "1234", False),
    ],
)
def test_private_elements_stay_only_when_suv_needs_them(
    group: int, creator: str, element: int, vr: str, value: str, stays: bool, tmp_path: Path
) -> None:
    dataset = ct()
    dataset.add_new(group << 16 | 0x0010, "LO", creator)
    dataset.add_new(group << 16 | 0x1000 | element, vr, value)
    result = read(deidentify(saved(dataset), tmp_path)[0])
    assert ((group << 16 | 0x1000 | element) in result) is stays
    assert ((group << 16 | 0x0010) in result) is stays


@pytest.mark.parametrize(
    ("group", "creator", "element", "manufacturer"),
    [
        (0x0009, "GEMS_PETD_01", 0x0D, ""),
        (0x0071, "SIEMENS MED PT", 0x22, ""),
        (0x0009, "", 0x0D, "GE MEDICAL SYSTEMS"),
    ],
)
def test_private_scan_times_move_with_the_other_dates(
    group: int, creator: str, element: int, manufacturer: str, tmp_path: Path
) -> None:
    dataset = ct(Manufacturer=manufacturer)
    if creator:
        dataset.add_new(group << 16 | 0x0011, "LO", creator)
    tag = group << 16 | 0x1100 | element
    dataset.add_new(tag, "UN", b"20240315101500.00 ")
    data, rewriter = deidentify(saved(dataset), tmp_path)
    result = read(data)
    kept = result[tag].value
    text = kept.decode() if isinstance(kept, bytes) else str(kept)
    assert text[:8] == result.StudyDate
    assert text[8:].strip() == "101500.00"
    assert rewriter.counts["private_kept_without_creator"] == (0 if creator else 1)


def test_dates_that_cannot_be_read_are_emptied_and_counted(tmp_path: Path) -> None:
    data = saved(ct(SeriesDate="20240316")).replace(b"20240316", b"2024 SPR")
    result, rewriter = deidentify(data, tmp_path)
    assert read(result).SeriesDate == ""
    assert rewriter.counts["dates_emptied"] == 1


def test_a_value_left_behind_stops_the_file(tmp_path: Path) -> None:
    """Bulk data that no rule treats: the scan after writing is the last line of defence."""
    dataset = ct(ICCProfile=b"\1\2 " + SECRET.encode() + b"0001 ")
    with pytest.raises(RecordError) as caught:
        deidentify(saved(dataset), tmp_path)
    assert caught.value.code == "residual_identifier"
    assert SECRET not in str(caught.value)


def test_what_a_file_calls_text_and_the_standard_a_date_moves(tmp_path: Path) -> None:
    dataset = ct()
    dataset.add_new(0x00080022, "LO", "20240315")
    dataset.add_new(0x00189074, "SH", "20240316101500")
    result = read(deidentify(saved(dataset), tmp_path)[0])
    days = timedelta(days=KEY.day_offset(SECRET + "0001"))
    assert str(result[0x00080022].value) == (pydicom.valuerep.DA("20240315") + days).strftime("%Y%m%d")
    assert str(result[0x00189074].value) == (pydicom.valuerep.DA("20240316") + days).strftime("%Y%m%d") + "101500"


def test_uids_that_only_begin_like_the_standards_are_replaced(tmp_path: Path) -> None:
    own, registered = "1.2.840.10008.5.1.4.1.1.2.99.20240315", "1.2.840.10008.1.4.1.1"
    dataset = ct(SOPInstanceUID=own, FrameOfReferenceUID=registered, StudyDescription=f"of {own}")
    result = read(deidentify(saved(dataset), tmp_path)[0])
    assert result.SOPInstanceUID == KEY.uid(own)
    assert result.FrameOfReferenceUID == registered
    assert own not in str(result)


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
@pytest.mark.parametrize("size", [2, 8, 4096])
def test_nuls_after_the_data_set_are_padding(syntax: str, size: int, tmp_path: Path) -> None:
    data = saved(ct(), syntax)
    assert deidentify(data + bytes(size), tmp_path)[0] == deidentify(data, tmp_path)[0]


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_text_after_the_data_set_is_damage_and_not_skipped(syntax: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        deidentify(saved(ct(), syntax) + SECRET.encode() * 3, tmp_path)
    assert caught.value.code in ("dicom_damaged", "dicom_truncated")


def test_a_deflated_file_cut_short_is_truncated(tmp_path: Path) -> None:
    data = saved(planted(), DeflatedExplicitVRLittleEndian)
    with pytest.raises(RecordError) as caught:
        deidentify(data[:-40], tmp_path)
    assert caught.value.code == "dicom_truncated"


def test_only_the_images_own_pixels_stay(tmp_path: Path) -> None:
    inner = Dataset()
    inner.add_new(0x7FE00010, "OB", SECRET.encode())
    dataset = ct(AnatomicRegionSequence=Sequence([inner]))
    dataset.add_new(0x50220022, "LO", SECRET)
    data, _ = deidentify(saved(dataset), tmp_path)
    assert SECRET.encode() not in data


def test_values_behind_the_pixels_stop_the_file(tmp_path: Path) -> None:
    shape = {"Rows": 8, "Columns": 8, "SamplesPerPixel": 1, "BitsAllocated": 16}
    pixels = bytes(128)
    dataset = ct(**shape, PixelData=pixels + f"{SECRET}0001 ".encode() * 2)
    with pytest.raises(RecordError) as caught:
        deidentify(saved(dataset), tmp_path)
    assert caught.value.code == "residual_identifier"
    assert read(deidentify(saved(ct(**shape, PixelData=pixels + bytes(8))), tmp_path)[0]).PixelData == pixels + bytes(8)


def test_religion_and_procedure_codes_are_no_identifiers(tmp_path: Path) -> None:
    dataset = ct(PatientReligiousPreference="Không", RequestedProcedureID="PETCT", StudyDescription="PETCT Không sốt")
    result = read(deidentify(saved(dataset), tmp_path)[0])
    assert result.StudyDescription == "PETCT Không sốt"


def test_names_listed_beside_ids_are_names(tmp_path: Path) -> None:
    dataset = ct(PhysiciansOfRecord="Trịnh^Quảng^Văn", StudyDescription="xem boi Trinh Quang ky")
    assert "Trinh" not in read(deidentify(saved(dataset), tmp_path)[0]).StudyDescription


def test_technical_text_stays_unless_it_holds_a_value_of_the_study(tmp_path: Path) -> None:
    dataset = ct(ConvolutionKernel="B19f NGUYEN", SequenceName=f"run {SECRET}0001")
    result = read(deidentify(saved(dataset), tmp_path)[0])
    assert result.ConvolutionKernel == "B19f NGUYEN"
    assert result.SequenceName == "run"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1"])
def test_names_are_found_in_other_encodings(encoding: str, tmp_path: Path) -> None:
    dataset = ct(PatientName="Nguyen^Hai^Van")
    dataset.add_new(0x00282000, "OB", b"\x01\x02" + "xx hai nguyen xx ".encode(encoding))
    with pytest.raises(RecordError, match="is left in"):
        deidentify(saved(dataset), tmp_path)


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "rtplan.dcm",
     "nested_priv_SQ.dcm", "priv_SQ.dcm", "examples_overlay.dcm", "chrH31.dcm", "chrGreek.dcm",
     "reportsi.dcm", "MR_truncated.dcm", "emri_small.dcm"],
)  # fmt: skip
def test_files_of_the_wild(name: str, tmp_path: Path) -> None:
    """pydicom's own test files: names, IDs, dates, UIDs and private elements go, pixels stay."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("not shipped with this pydicom")
    data = Path(path).read_bytes()
    if "truncated" in name or data[128:132] != b"DICM":
        with pytest.raises(RecordError) as caught:
            deidentify(data, tmp_path)
        assert caught.value.code in ("dicom_truncated", "not_dicom")
        return
    result_bytes, _ = deidentify(data, tmp_path)
    source, result = pydicom.dcmread(path, force=True), read(result_bytes)
    if "PixelData" in source:
        assert result.PixelData == source.PixelData
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if source.get(keyword):
            assert result[keyword].value == KEY.uid(source[keyword].value)
    if source.get("PatientName"):
        assert str(result.PatientName) != str(source.PatientName)

    def walk(dataset: Dataset) -> None:
        for element in dataset:
            assert not element.tag.is_private
            assert not 0x6000 <= element.tag.group <= 0x60FF
            if element.VR == "SQ":
                for item in element.value:
                    walk(item)

    walk(result)


_NAMES = st.sampled_from(
    ["PatientName", "OtherPatientNames", "OperatorsName", "PatientAddress", "AccessionNumber", "PatientID"]
)  # fmt: skip


@st.composite
def nested(draw: st.DrawFn, depth: int = 3) -> Dataset:
    dataset = Dataset()
    for keyword in draw(st.lists(_NAMES, max_size=3, unique=True)):
        setattr(dataset, keyword, SECRET + draw(st.text("ABCDEFGH", min_size=4, max_size=8)))
    if draw(st.booleans()):
        dataset.ContentDate = "20240315"
    if draw(st.booleans()):
        dataset.add_new(0x00131001, "LO", SECRET)
    if draw(st.booleans()):
        dataset.CodeMeaning = draw(st.text("abc ", max_size=5))
    if depth:
        for keyword in draw(
            st.lists(
                st.sampled_from(["ReferencedImageSequence", "RequestAttributesSequence", "AnatomicRegionSequence"]),
                max_size=2,
                unique=True,
            )
        ):
            items = Sequence([draw(nested(depth=depth - 1)) for _ in range(draw(st.integers(0, 2)))])
            setattr(dataset, keyword, items)
            dataset[keyword].is_undefined_length = draw(st.booleans())
            for item in items:
                item.is_undefined_length_sequence_item = draw(st.booleans())
    return dataset


@settings(max_examples=60, deadline=None)
@given(tree=nested(), syntax=st.sampled_from(SYNTAXES[:3]))
def test_nothing_planted_survives_at_any_depth(tree: Dataset, syntax: str, tmp_path_factory: Any) -> None:
    dataset = ct()
    dataset.update(tree)
    folder = tmp_path_factory.mktemp("deep")
    data, _ = deidentify(saved(dataset, syntax), folder)
    assert SECRET.encode() not in data
    again, _ = deidentify(saved(dataset, syntax), folder)
    assert again == data
    result = read(data)
    assert result.PixelData == dataset.PixelData
    assert "20240315" not in str(result)


def test_every_truncation_is_an_error_or_harmless(tmp_path: Path) -> None:
    whole = saved(planted())
    for size in range(0, len(whole) - 1, 7):
        data = b""
        with contextlib.suppress(RecordError):
            data, _ = deidentify(whole[:size], tmp_path)
        assert SECRET.encode() not in data
