"""Folders as hospitals deliver them, and what one DICOM file holds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import PATIENT_ID, STUDY_UID, image, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from petct_cli.core.errors import InputError, RecordError
from petct_cli.dicom.read import NotDicomError, UnreadableDicomError, quiet_pydicom, read_instance, stored_values
from petct_cli.dicom.scan import scan, scan_studies, series_files, study_id, study_record
from petct_cli.dicom.scan_index import ScannedStudy

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
