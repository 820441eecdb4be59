"""Folders as hospitals deliver them, and what one DICOM file holds."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import PATIENT_ID, STUDY_UID, image, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from petct_cli.core.errors import InputError, RecordError
from petct_cli.dicom.heads import Head, UndecidedError, quick_head, read_head, slow_head
from petct_cli.dicom.read import NotDicomError, UnreadableDicomError, quiet_pydicom, read_instance, stored_values
from petct_cli.dicom.scan import scan, scan_studies, series_files, study_id, study_record
from petct_cli.dicom.scan_index import ScanIndex, ScannedStudy

SLICES = np.arange(3 * 4 * 6).reshape(3, 4, 6) - 20


def studies(*paths: Path) -> list[ScannedStudy]:
    return list(scan(list(paths)).studies())


def test_groups_by_uid_whatever_the_folders(tmp_path: Path) -> None:
    write_series(tmp_path / "b" / "deep" / "er", "CT", SLICES)
    write_series(tmp_path / "a", "PT", SLICES, names=["x.dcm", "y", "z.IMA"])
    write_series(tmp_path / "a", "CT", SLICES[:1], series="1.2.9", names=["scout"], StudyInstanceUID="1.2.3.4")
    (tmp_path / "a" / "readme.txt").write_text("no DICOM")
    (tmp_path / "empty").write_bytes(b"")
    found = scan([tmp_path])
    first, second = found.studies()
    assert [first.id, second.id] == [study_id("1.2.3.4"), study_id(STUDY_UID)]
    assert found.skipped == 2
    record = study_record(second)
    assert [(one.modality, one.dir, one.files) for one in record.series] == [
        ("PT", str(tmp_path / "a"), ["x.dcm", "y", "z.IMA"]),
        ("CT", str(tmp_path / "b" / "deep" / "er"), None),
    ]
    assert [path.name for path in series_files(record.series[0])] == ["x.dcm", "y", "z.IMA"]
    assert len(series_files(record.series[1])) == 3


def test_record_names_the_patient_by_hash_only(tmp_path: Path) -> None:
    write_series(tmp_path, "PT", SLICES)
    (record,) = scan_studies([tmp_path])
    assert record.to_json() == {
        "type": "study",
        "schema": 1,
        "id": study_id(STUDY_UID),
        "patient": record.patient,
        "study_date": "2024-03-05",
        "dates": "full",
        "sex": "F",
        "height_m": 1.75,
        "weight_kg": 70.0,
        "series": [{"modality": "PT", "dir": str(tmp_path)}],
    }
    assert record.patient is not None
    assert PATIENT_ID not in record.patient


def test_one_file_given_does_not_bring_its_folder(tmp_path: Path) -> None:
    paths = write_series(tmp_path, "CT", SLICES)
    (record,) = scan_studies([paths[1]])
    assert record.series[0].files == [paths[1].name]


def test_overlapping_paths_links_and_circles_count_once(tmp_path: Path) -> None:
    write_series(tmp_path / "s", "CT", SLICES)
    os.symlink(tmp_path, tmp_path / "s" / "circle")
    os.symlink(tmp_path / "s" / "IM0000", tmp_path / "again")
    os.symlink(tmp_path / "nowhere", tmp_path / "dangling")
    (study,) = studies(tmp_path, tmp_path / "s")
    assert sum(len(series.files) for series in study.series) == 3


def test_series_spread_over_folders(tmp_path: Path) -> None:
    write_series(tmp_path / "1", "CT", SLICES[:2], names=["a", "b"])
    write_series(tmp_path / "2", "CT", SLICES[2:], names=["a"])
    (record,) = scan_studies([tmp_path])
    assert record.series[0].dir == str(tmp_path)
    assert record.series[0].files == ["1/a", "1/b", "2/a"]


def test_missing_uids_are_made_up_from_folder_and_images(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write_series(tmp_path / place, "CT", SLICES, StudyInstanceUID=None, SeriesInstanceUID=None)
    first, second = studies(tmp_path)
    assert len(first.series) == len(second.series) == 1
    assert first.id == second.id  # the same images, wherever they lie


def test_damaged_file_is_named_and_does_not_end_the_scan(tmp_path: Path) -> None:
    paths = write_series(tmp_path, "CT", SLICES)
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    found = scan([tmp_path])
    assert list(found.unreadable()) == [paths[1]]
    record = study_record(*found.studies())
    assert record.series[0].files == ["IM0000", "IM0002"]
    assert (record.series[1].set_aside, record.series[1].files) == ("unreadable", ["IM0001"])


def test_dicomdir_is_not_an_image(tmp_path: Path) -> None:
    write_series(tmp_path, "CT", SLICES)
    directory = image("CT", SLICES[0], "1.2.3", 9)
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del directory.SOPClassUID
    directory.save_as(tmp_path / "DICOMDIR")
    found = scan([tmp_path])
    (study,) = found.studies()
    assert (len(study.series[0].files), found.skipped) == (3, 1)


def test_nothing_to_scan(tmp_path: Path) -> None:
    with pytest.raises(InputError) as fault:
        studies(tmp_path)
    assert fault.value.code == "no_dicom"
    with pytest.raises(InputError) as fault:
        scan([tmp_path / "none"])
    assert fault.value.code == "no_such_path"


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [16, 12])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
def test_stored_values(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    values = np.arange(64 * 48).reshape(64, 48) % 4000 // 2 - (1000 if signed else 0)
    dataset = image("CT", values, "1.2.3", 1, PixelRepresentation=int(signed))
    if bits == 12:
        dataset.BitsStored, dataset.HighBit = 12, 11
        if syntax != "rle":  # old files keep overlays in the unused bits
            dataset.PixelData = ((values & 0x0FFF) | 0x5000).astype("<i2").tobytes()
    path = tmp_path / "image"
    if syntax == "implicit":
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    elif syntax == "big":
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset["PixelData"].VR = "OW"
    elif syntax == "deflated":
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    elif syntax == "rle":
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.37", "-12.5"
        dataset.compress(RLELossless, values.astype(np.int16 if signed else np.uint16))
    dataset.save_as(path, enforce_file_format=True)
    read = stored_values(read_instance(path))
    assert read.dtype == (np.int16 if signed else np.uint16)
    np.testing.assert_array_equal(read, values)


def test_file_without_preamble(tmp_path: Path) -> None:
    dataset = image("CT", SLICES[0], "1.2.3", 1)
    del dataset.file_meta
    dataset.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(stored_values(read_instance(tmp_path / "bare")), SLICES[0])
    assert len(studies(tmp_path)) == 1


@pytest.mark.real
@pytest.mark.parametrize("name", ["J2KR", "JLSL", "JPLL", "RLE"])
def test_lossless_syntaxes_are_bit_exact(real_data: Path, name: str) -> None:
    folder = real_data / "odd_ct" / "compressed"
    raw = stored_values(read_instance(folder / "CT1_UNC.dcm"))
    np.testing.assert_array_equal(stored_values(read_instance(folder / f"CT1_{name}.dcm")), raw)
    np.testing.assert_array_equal(raw, pydicom.dcmread(folder / "CT1_UNC.dcm").pixel_array)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_never_taken_for_whole(tmp_path: Path, share: float) -> None:
    (path,) = write_series(tmp_path, "PT", SLICES[:1])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    try:
        with quiet_pydicom():
            instance = read_instance(path)
    except (NotDicomError, UnreadableDicomError):
        return
    assert instance.is_truncated
    with pytest.raises(RecordError):
        stored_values(instance)


def test_a_file_that_changes_between_its_header_and_its_pixels(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, "PT", SLICES[:1])
    instance, whole = read_instance(path), path.read_bytes()
    place = whole.index(b"BQML")
    for changed in (whole + b"\0\0", whole[:place] + b"CNTS" + whole[place + 4 :]):
        path.write_bytes(changed)
        with pytest.raises(RecordError) as fault:
            stored_values(instance)
        assert fault.value.code == "input_changed"


@pytest.mark.parametrize("cut", [40, 400])
def test_damaged_compressed_pixels(tmp_path: Path, cut: int) -> None:
    dataset = image("CT", np.arange(64 * 64).reshape(64, 64) % 251, "1.2.3", 1)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "image", enforce_file_format=True)
    whole = (tmp_path / "image").read_bytes()
    (tmp_path / "image").write_bytes(whole[:-cut])
    with pytest.raises(RecordError) as fault:
        stored_values(read_instance(tmp_path / "image"))
    assert fault.value.code in ("dicom_undecodable", "dicom_truncated")


def test_colour_and_other_widths_are_refused(tmp_path: Path) -> None:
    for change in ({"SamplesPerPixel": 3}, {"NumberOfFrames": 2}, {"BitsAllocated": 32}):
        (path,) = write_series(tmp_path, "CT", SLICES[:1], **change)
        with pytest.raises(RecordError):
            stored_values(read_instance(path))


def raw_dicom(number: int, study: str = "1.2.3", patient: str = "BN1", preamble: bool = True) -> bytes:
    """The bytes of a small head, written by hand: fast enough for thousands."""
    values: list[tuple[int, bytes, str]] = [
        (0x00080016, b"UI", "1.2.840.10008.5.1.4.1.1.2"),
        (0x00080018, b"UI", f"{study}.{number}"),
        (0x00100020, b"LO", patient),
        (0x0020000D, b"UI", study),
        (0x0020000E, b"UI", f"{study}.0"),
    ]
    meta = element(0x00020010, b"UI", "1.2.840.10008.1.2.1")
    return (b"\0" * 128 + b"DICM" + meta if preamble else b"") + b"".join(element(*value) for value in values)


def element(tag: int, vr: bytes, value: str) -> bytes:
    raw = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(raw)) + raw


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 5000):
        for number in range(count):
            folder = tmp_path / str(count) / f"{number // 100}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}").write_bytes(raw_dicom(number, f"1.2.{number // 100}"))
        list(scan([tmp_path / str(count)]).studies())  # what is imported and cached by now is not counted
        tracemalloc.start()
        found = scan([tmp_path / str(count)])
        assert sum(len(series.files) for study in found.studies() for series in study.series) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 1 << 20


@contextlib.contextmanager
def deep_folder(top: Path, depth: int) -> Iterator[None]:
    """Folders nested deeper than one path may name, with an image in the last."""
    top.mkdir()
    with contextlib.chdir(top):
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("IM1").write_bytes(raw_dicom(1))
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", top], check=True)  # shutil would recurse


def test_folders_of_any_depth(tmp_path: Path) -> None:
    with deep_folder(tmp_path / "top", 1500):
        (study,) = studies(tmp_path / "top")
        assert len(study.series[0].files[0].parts) > 1500


def test_what_lies_deeper_than_paths_go_is_told(tmp_path: Path) -> None:
    (tmp_path / "IM2").write_bytes(raw_dicom(2))
    with deep_folder(tmp_path / "top", 2500):
        found = scan([tmp_path])
        assert [(fault.what, fault.code) for fault in found.faults()] == [("folder", "unreadable_path")]
        assert found.images == 1


def test_two_patients_in_one_folder_and_no_extension(tmp_path: Path) -> None:
    for number in range(6):
        who = number % 2
        (tmp_path / f"{number:08X}").write_bytes(raw_dicom(number, f"1.2.{who}", f"BN{who}"))
    records = list(scan_studies([tmp_path]))
    assert [record.series[0].files for record in records] == [
        ["00000000", "00000002", "00000004"],
        ["00000001", "00000003", "00000005"],
    ]
    assert len({record.patient for record in records}) == 2


def test_one_instance_in_several_files_is_named_each_time(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "IM1").write_bytes(raw_dicom(1))
    os.link(tmp_path / "a" / "IM1", tmp_path / "b" / "IM2")  # the same file once more
    (study,) = studies(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in study.series[0].files] == ["a/IM1", "b/IM1"]


def test_files_without_any_uid(tmp_path: Path) -> None:
    uids = dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    write_series(tmp_path / "one", "CT", SLICES, **uids)
    write_series(tmp_path / "one", "PT", SLICES, names=["p1", "p2", "p3"], **uids)
    write_series(tmp_path / "two", "CT", SLICES, names=["x", "y", "z"], **uids)
    first, second = studies(tmp_path)
    assert [len(series.files) for series in first.series] == [3, 3]
    assert first.id != second.id
    (tmp_path / "elsewhere").mkdir()
    os.rename(tmp_path / "one", tmp_path / "elsewhere" / "else")
    assert studies(tmp_path / "elsewhere")[0].id == first.id


def test_pipes_and_sockets_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(raw_dicom(1))
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "to_pipe")
    os.symlink("loop", tmp_path / "loop")
    assert scan([tmp_path]).images == 1


def test_the_index_takes_numbers_beyond_its_own(tmp_path: Path) -> None:
    status = list(os.stat(tmp_path))
    status[1:3] = [2**64 - 1, 2**63]
    index = ScanIndex()
    assert [index.first_visit(os.stat_result(status)) for _ in range(2)] == [True, False]


def both_heads(path: Path) -> tuple[Head | str | None, Head | str | None]:
    def told(read: Callable[[Path], Head | None]) -> Head | str | None:
        try:
            return read(path)
        except UnreadableDicomError:
            return "unreadable"

    with quiet_pydicom():
        return told(read_head), told(slow_head)


def test_heads_are_what_pydicom_reads(tmp_path: Path) -> None:
    folder = Path(pydicom.__file__).parent / "data"
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 100
    assert [path for path in paths if len(set(both_heads(path))) > 1] == []


@pytest.mark.real
def test_heads_of_real_files_are_what_pydicom_reads(real_data: Path) -> None:
    paths = [path for path in real_data.rglob("*") if path.is_file()]
    assert len(paths) > 300
    assert [path for path in paths if len(set(both_heads(path))) > 1] == []
    quick = [path for path in paths if is_quick(path)]
    assert len(quick) > 0.8 * len(paths)


def is_quick(path: Path) -> bool:
    try:
        quick_head(path.read_bytes(), whole=True)
    except UndecidedError:
        return False
    return True


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_changed_head_is_read_alike_or_left_to_pydicom(
    tmp_path: Path, syntax: str, changes: list[tuple[float, int]]
) -> None:
    dataset = image("PT", SLICES[0], "1.2.3", 1, PatientAge="061Y", PatientID="BN\u1ec5 1")
    if len(changes) == 1:
        dataset.PatientID = "BN 1"
    inner = Dataset()
    inner.ReferencedSOPInstanceUID, inner.is_undefined_length_sequence_item = "1.2.3", True
    dataset.ReferencedImageSequence = [inner]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "image"
    dataset.save_as(path, enforce_file_format=True)
    data = bytearray(path.read_bytes()[:900])
    for place, value in changes:
        data[128 + int(place * (len(data) - 128))] = value
    path.write_bytes(data)
    quick, slow = both_heads(path)
    assert slow in (quick, "unreadable")


def test_long_heads_are_read_on(tmp_path: Path) -> None:
    for number, size in enumerate((100, 20_000, 400_000)):
        dataset = image("CT", SLICES[0], "1.2.3", number)
        dataset.private_block(0x0009, "MAKER", create=True).add_new(1, "OB", bytes(size))
        dataset.save_as(tmp_path / f"{number}", enforce_file_format=True)
        quick, slow = both_heads(tmp_path / f"{number}")
        assert quick == slow != "unreadable"
