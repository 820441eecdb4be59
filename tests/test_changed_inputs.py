"""Files that change while they are converted: never the header of one with the pixels of another, never kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_factory import STUDY_UID, image
from enhanced_factory import enhanced
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Series, Study
from petct_cli.dicom.multiframe import frames_of
from petct_cli.dicom.read import read_instance
from petct_cli.stages import convert
from petct_cli.stages.convert import Convert
from petct_cli.volume.series_volume import read_ct
from petct_cli.volume.storage import load_volume

VALUES = np.arange(3 * 8 * 8).reshape(3, 8, 8).astype(np.int16)
SYNTAXES = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
)  # fmt: skip


def write(dataset: Dataset, path: Path, syntax: str, written_s: int) -> None:
    """Write a file that says it was written at `written_s`: the clock of a file system may be coarse."""
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    os.utime(path, (written_s, written_s))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_header_and_pixels_of_two_files(tmp_path: Path, syntax: str) -> None:
    def series(slope: str, written_s: int) -> None:
        for k in range(3):
            one = image(
                "CT", VALUES[k], f"{STUDY_UID}.1", k + 1, RescaleSlope=slope, ImagePositionPatient=[0, 0, 3 * k]
            )
            write(one, tmp_path / f"{k}.dcm", syntax, written_s)

    series("1", 1000)
    volume = read_ct([read_instance(tmp_path / f"{k}.dcm") for k in range(3)])
    series("2", 2000)
    with pytest.raises(RecordError) as fault:
        volume.load()
    assert fault.value.code == "input_changed"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_and_groups_of_two_files(tmp_path: Path, syntax: str) -> None:
    def whole(slope: int, written_s: int) -> Path:
        dataset = enhanced("CT", VALUES)
        dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleSlope = slope
        write(dataset, tmp_path / "a.dcm", syntax, written_s)
        return tmp_path / "a.dcm"

    volume = read_ct(frames_of(read_instance(whole(1, 1000))))
    whole(2, 2000)
    with pytest.raises(RecordError) as fault:
        volume.load()
    assert fault.value.code == "input_changed"


def test_array_that_changes_after_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "CT.nii.gz"

    def put(value: int) -> None:
        nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), value, np.int16), np.eye(4)), place)

    read: Callable[..., Any] = convert.read_arrays

    def read_then_change(*arguments: Any) -> Any:
        found = read(*arguments)
        put(200)
        return found

    put(100)
    study = Study(id="s", patient="s", series=[Series(modality="CT", dir=str(tmp_path), files=["CT.nii.gz"])])
    monkeypatch.setattr(convert, "read_arrays", read_then_change)
    (first,) = Convert(tmp_path / "out")(study)
    monkeypatch.setattr(convert, "read_arrays", read)
    (second,) = Convert(tmp_path / "out")(study)
    assert isinstance(first, Study)
    assert isinstance(second, Study)
    assert first.ct is not None
    assert second.ct is not None
    assert second.ct.sha256 != first.ct.sha256
    assert int(load_volume(second.ct.path).max()) == 200


def test_unchanged_files_are_read(tmp_path: Path) -> None:
    write(enhanced("CT", VALUES), tmp_path / "a.dcm", ExplicitVRLittleEndian, 1000)
    volume = read_ct(frames_of(read_instance(tmp_path / "a.dcm")))
    np.testing.assert_array_equal(volume.array, pydicom.dcmread(tmp_path / "a.dcm").pixel_array)
