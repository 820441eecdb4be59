"""Raw headers say what pydicom says, through the accessors that read both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import image, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from petct_cli.dicom.header import Header, HeaderReader, UndecidedError
from petct_cli.dicom.read import NotDicomError, UnreadableDicomError, quiet_pydicom, read_header, read_instance
from petct_cli.dicom.values import first_item, integer, items, number, numbers, private, text, texts

PIXELS = np.arange(64).reshape(8, 8)
TEXTS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "Manufacturer", "PatientID", "PatientName", "PatientSex", "StudyDate", "SeriesDate", "SeriesTime",
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "TimezoneOffsetFromUTC", "Units", "SUVType",
    "DecayCorrection", "ImageType", "CorrectedImage", "SeriesType", "SeriesDescription", "PatientComments",
    "SoftwareVersions", "NoSuchElementHere",
)  # fmt: skip
NUMBERS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames",
    "SamplesPerPixel", "RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "InstanceNumber", "AcquisitionNumber", "PatientWeight", "PatientSize",
    "FrameReferenceTime", "ActualFrameDuration", "PixelPaddingValue", "RevolutionTime",
)  # fmt: skip
SEQUENCES = {
    "RadiopharmaceuticalInformationSequence": "RadionuclideCodeSequence",
    "RequestAttributesSequence": "ScheduledProtocolCodeSequence",
    "ReferencedImageSequence": "PurposeOfReferenceCodeSequence",
}
PRIVATE = (
    (0x0009, "GEMS_PETD_01", 0x0D),
    (0x7053, "Philips PET Private Group", 0x00),
    (0x0071, "SIEMENS MED PT", 0x22),
)
INNER = (
    "CodeValue",
    "CodeMeaning",
    "RadiopharmaceuticalStartTime",
    "RadionuclideTotalDose",
    "ReferencedSOPInstanceUID",
)


def told(header: Any) -> dict[str, Any]:
    """Everything that the accessors get out of a header."""
    with quiet_pydicom():
        found: dict[str, Any] = {}
        for keyword in TEXTS[:-1]:
            found[keyword] = (text(header, keyword), texts(header, keyword))
        for keyword in NUMBERS:
            # Of integer strings pydicom refuses what is no integer; a raw header leaves that to `integer`.
            found[keyword] = (number(header, keyword), numbers(header, keyword), integer(header, keyword))
        for keyword, inner in SEQUENCES.items():
            found[keyword] = [
                (
                    [texts(item, name) for name in INNER],
                    [texts(code, name) for code in items(item, inner) for name in INNER],
                )
                for item in items(header, keyword)
            ]
        found["private"] = [private(header, *where) for where in PRIVATE]
        return found


def by_pydicom(path: Path) -> Any:
    with quiet_pydicom(), path.open("rb") as file:
        return read_header(file)


def rich(syntax: str = ExplicitVRLittleEndian) -> Dataset:
    dataset = image("PT", PIXELS, "1.2.3", 7, SeriesDescription="Toàn thân", PatientComments="a\\b \r\n")
    dataset.PixelPaddingValue = -2000
    dataset.SoftwareVersions = ["a", "", "c"]
    dataset.RevolutionTime = 0.1
    nested = Dataset()
    nested.ReferencedSOPInstanceUID, nested.is_undefined_length_sequence_item = "1.2.3.4", True
    dataset.ReferencedImageSequence = [nested, nested]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.RequestAttributesSequence = []
    dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240305110000.00")
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.0123")
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset["PixelData"].VR = "OW"
    return dataset


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_rich_header(tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "image"
    rich(syntax).save_as(path, enforce_file_format=True)
    header = read_instance(path).header
    assert isinstance(header, Header) == (syntax != ExplicitVRBigEndian)
    assert told(header) == told(by_pydicom(path))
    assert text(header, "SeriesDescription") == "Toàn thân"
    assert texts(header, "SoftwareVersions") == ("a", "c")
    assert private(header, *PRIVATE[0]) == ("20240305110000.00", True)
    assert first_item(header, "RequestAttributesSequence") is None


def test_values_as_unknown_vr(tmp_path: Path) -> None:
    """Some archives write UN for what they do not know, sequences too."""
    dataset = rich()
    for keyword in ("Units", "RescaleSlope", "PixelSpacing"):
        dataset[keyword].VR = "UN"
        dataset[keyword].value = str(dataset[keyword].value if keyword == "Units" else "2.5 ").encode()
    path = tmp_path / "image"
    dataset.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    # A sequence of undefined length under UN is implicit inside (PS3.5 6.2.2).
    start = data.index(b"\x08\x00\x40\x11SQ")
    item = b"\xfe\xff\x00\xe0\x10\0\0\0" + b"\x08\x00\x55\x11\x08\0\0\0" + b"1.2.3.4\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    end = data.index(b"\xfe\xff\xdd\xe0", start) + 8
    path.write_bytes(data[:start] + b"\x08\x00\x40\x11UN\0\0\xff\xff\xff\xff" + item + data[end:])
    header = read_instance(path).header
    assert isinstance(header, Header)
    assert told(header) == told(by_pydicom(path))
    assert (text(header, "Units"), number(header, "RescaleSlope")) == ("BQML", 2.5)
    assert [text(one, "ReferencedSOPInstanceUID") for one in items(header, "ReferencedImageSequence")] == ["1.2.3.4"]


@pytest.mark.real
def test_real_headers(real_data: Path) -> None:
    raw = 0
    for folder in ("sts_001", "lung1_001_ct", "odd_ct", "ibsi_suv"):
        for path in sorted(path for path in (real_data / folder).rglob("*") if path.is_file())[::9]:
            try:
                header = read_instance(path).header
            except (NotDicomError, UnreadableDicomError):
                continue
            raw += isinstance(header, Header)
            assert told(header) == told(by_pydicom(path)), path
    assert raw > 60


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_changed_header_is_read_alike_or_left_to_pydicom(
    tmp_path: Path, syntax: str, changes: list[tuple[float, int]]
) -> None:
    """Whatever bytes stand in it, a raw header lies where pydicom's does."""
    path = tmp_path / "image"
    rich(syntax).save_as(path, enforce_file_format=True)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[132 + int(place * (len(data) - 260))] = value
    path.write_bytes(data)
    try:
        quick = HeaderReader().read(bytes(data), whole=True)
    except UndecidedError:
        return
    with quiet_pydicom():
        try:
            slow = by_pydicom(path)
        except (NotDicomError, UnreadableDicomError):
            return  # pydicom gives up on a value that nobody asked for
    mine = {tag for tag in quick.header.tags() if tag >> 16 != 2}
    theirs = {tag for tag in map(int, slow.keys()) if tag < 0x7FE00008}
    assert mine == theirs


def test_headers_that_lie_alike_are_not_mixed_up(tmp_path: Path) -> None:
    """The second of two headers of one layout is recognised, not parsed: its values must be its own."""
    paths = write_series(tmp_path, "PT", np.zeros((12, 8, 8), np.int16))
    reader = HeaderReader()
    for path in [*paths, *reversed(paths)]:
        header = reader.read(path.read_bytes(), whole=True).header
        assert told(header) == told(by_pydicom(path))


def test_sequences_that_end_elsewhere(tmp_path: Path) -> None:
    """Two headers of equal length and equal bytes but within a sequence of undefined length."""
    one, other = rich(), rich()
    inner = Dataset()
    inner.ReferencedSOPInstanceUID, inner.is_undefined_length_sequence_item = "1.2.3.4", True
    short, long = Dataset(), Dataset()
    for dataset, uid in ((short, "1.2"), (long, "1.2.3.4.5.6.7.8")):
        dataset.ReferencedSOPInstanceUID, dataset.is_undefined_length_sequence_item = uid, True
    one.ReferencedImageSequence, other.ReferencedImageSequence = [short, long], [long, short]
    reader = HeaderReader()
    for number_made, dataset in enumerate((one, other, one)):
        dataset["ReferencedImageSequence"].is_undefined_length = True
        path = tmp_path / str(number_made)
        dataset.save_as(path, enforce_file_format=True)
        assert told(reader.read(path.read_bytes(), whole=True).header) == told(by_pydicom(path))


def test_long_headers_are_read_on(tmp_path: Path) -> None:
    for number_made, size in enumerate((100, 20_000, 400_000, 9_000_000)):
        dataset = rich()
        dataset.private_block(0x0019, "MAKER", create=True).add_new(1, "OB", bytes(size))
        path = tmp_path / str(number_made)
        dataset.save_as(path, enforce_file_format=True)
        instance = read_instance(path)
        assert isinstance(instance.header, Header) == (size < 1 << 23)
        assert told(instance.header) == told(by_pydicom(path))
        assert instance.pixel_bytes == PIXELS.size * 2


def test_pydicom_agrees_on_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "image"
    rich().save_as(path, enforce_file_format=True)
    instance = read_instance(path)
    data = path.read_bytes()
    assert data[instance.pixel_offset :][: instance.pixel_bytes] == pydicom.dcmread(path).PixelData
