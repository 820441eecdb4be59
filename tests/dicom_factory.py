"""Small DICOM series for tests: every fault is one argument away from a well-formed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
FRAME_UID = "1.2.826.0.1.3680043.8.498.9"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
PATIENT_NAME = "Nguyễn^Thị^Bí Mật"
PATIENT_ID = "BN-SECRET-4711"

Change = Callable[[Dataset, int], None]


def image(modality: str, values: np.ndarray, series: str, number: int, **elements: Any) -> Dataset:
    """One CT or PET image with `values` as stored; `elements` replace header elements, None removes them."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CT_CLASS if modality == "CT" else PET_CLASS
    dataset.SOPInstanceUID = f"{series}.{number}"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY_UID, series, FRAME_UID
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientSex, dataset.PatientWeight, dataset.PatientSize = "F", "70", "1.75"
    dataset.Modality = modality
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240305"
    dataset.SeriesTime = dataset.AcquisitionTime = "110000"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY"]
    dataset.InstanceNumber = number
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, number]
    dataset.PixelSpacing = [2, 2]
    dataset.SliceThickness = 3
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    if modality == "PT":
        _add_pet(dataset)
    dataset.PixelData = values.astype("<i2").tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def _add_pet(dataset: Dataset) -> None:
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage = ["ATTN", "DECY", "SCAT"]
    dataset.SeriesType = ["WHOLE BODY", "IMAGE"]
    dataset.ActualFrameDuration, dataset.FrameReferenceTime = 120000, 60000
    tracer, nuclide = Dataset(), Dataset()
    nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    tracer.RadionuclideCodeSequence = DicomSequence([nuclide])
    tracer.RadiopharmaceuticalStartTime, tracer.RadionuclideTotalDose = "100000", 350e6
    tracer.RadionuclideHalfLife = 6586.2
    dataset.RadiopharmaceuticalInformationSequence = DicomSequence([tracer])


def write_series(
    folder: Path,
    modality: str,
    volume: np.ndarray,
    positions: Sequence[Sequence[float]] | None = None,
    *,
    series: str | None = None,
    change: Change | None = None,
    names: Sequence[str] | None = None,
    **elements: Any,
) -> list[Path]:
    """Write `volume` (slices, rows, columns) as one file per slice, 3 mm apart along z unless `positions` are given."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, values in enumerate(volume):
        uid = series or f"{STUDY_UID}.{1 if modality == 'CT' else 2}"
        dataset = image(modality, values, uid, index + 1, **elements)
        dataset.ImagePositionPatient = list(positions[index]) if positions is not None else [0, 0, 3.0 * index]
        if change is not None:
            change(dataset, index)
        path = folder / (names[index] if names else f"IM{index:04d}")
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
