"""Enhanced multi-frame CT and PET for tests, and classic series turned into legacy converted objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dicom_factory import CT_CLASS, PET_CLASS, image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

ENHANCED_CLASS = {"CT": f"{CT_CLASS}.1", "PT": "1.2.840.10008.5.1.4.1.1.130"}
LEGACY_CLASS = {"CT": f"{CT_CLASS}.2", "PT": f"{PET_CLASS}.1"}
FrameChange = Callable[[Dataset, int], None]
_CLASSIC_ONLY = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime", "Units", "DecayCorrection",
    "CorrectedImage", "SeriesType", "ActualFrameDuration", "FrameReferenceTime",
)  # fmt: skip


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def only(**elements: Any) -> DicomSequence:
    """A sequence of one item."""
    return DicomSequence([item(**elements)])


def mapping(unit: str, slope: float, intercept: float = 0.0, quantity: str | None = None) -> Dataset:
    value = {"CodeValue" if len(unit) <= 16 else "LongCodeValue": unit}
    code = only(**value, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
    made = item(RealWorldValueSlope=slope, RealWorldValueIntercept=intercept, MeasurementUnitsCodeSequence=code)
    if quantity is not None:
        name = only(CodeValue=quantity, CodingSchemeDesignator="DCM", CodeMeaning="SUV")
        made.QuantityDefinitionSequence = only(ValueType="CODE", ConceptCodeSequence=name)
    return made


def frame(position: Sequence[float], number: int, **macros: Any) -> Dataset:
    """The functional groups of one frame; `macros` are further sequences."""
    content = item(
        FrameAcquisitionDateTime="20240305110000.5",
        FrameReferenceDateTime="20240305110100",
        FrameAcquisitionDuration=120000.0,
        StackID="1",
        InStackPositionNumber=number,
        TemporalPositionIndex=1,
    )
    made = Dataset()
    made.FrameContentSequence = DicomSequence([content])
    made.PlanePositionSequence = only(ImagePositionPatient=list(position))
    for keyword, value in macros.items():
        setattr(made, keyword, value)
    return made


def enhanced(
    modality: str,
    volume: np.ndarray,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    mappings: Callable[[int], list[Dataset]] | None = None,
    change: FrameChange | None = None,
    number: int = 1,
    **elements: Any,
) -> Dataset:
    """One enhanced object of `volume` (frames, rows, columns), decay-corrected to 11:00, injected at 10:00."""
    whole = image(modality, volume[0], f"1.2.826.0.1.3680043.8.498.1.{1 if modality == 'CT' else 2}", number)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = ENHANCED_CLASS[modality]
    for keyword in _CLASSIC_ONLY:
        if keyword in whole:
            delattr(whole, keyword)
    whole.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    whole.NumberOfFrames = len(volume)
    whole.PixelData = volume.astype("<i2").tobytes()
    frame_type = only(FrameType=["ORIGINAL", "PRIMARY", "AXIAL", "NONE"])
    shared = item(
        PixelMeasuresSequence=only(PixelSpacing=[2, 2], SliceThickness=3),
        PlaneOrientationSequence=only(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=only(RescaleSlope=1, RescaleIntercept=0, RescaleType="US"),
        **{"CTImageFrameTypeSequence" if modality == "CT" else "PETFrameTypeSequence": frame_type},
    )
    whole.SharedFunctionalGroupsSequence = DicomSequence([shared])
    if modality == "PT":
        for keyword in ("DecayCorrected", "AttenuationCorrected", "ScatterCorrected"):
            setattr(whole, keyword, "YES")
        whole.DecayCorrectionDateTime = "20240305110000"
        tracer = whole.RadiopharmaceuticalInformationSequence[0]
        del tracer.RadiopharmaceuticalStartTime
        tracer.RadiopharmaceuticalStartDateTime = "20240305100000"
        mappings = mappings or (lambda _: [mapping("Bq/ml", 1.0)])
    frames = []
    for k in range(len(volume)):
        one = frame(positions[k] if positions is not None else [0, 0, 3.0 * k], k + 1)
        if mappings is not None:
            one.RealWorldValueMappingSequence = DicomSequence(mappings(k))
        if change is not None:
            change(one, k)
        frames.append(one)
    whole.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    for keyword, value in elements.items():
        if value is None:
            delattr(whole, keyword)
        else:
            setattr(whole, keyword, value)
    return whole


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def legacy_converted(slices: Sequence[Dataset]) -> Dataset:
    """A classic series as one legacy converted object: what has no functional group goes to the unassigned ones."""
    first = slices[0]
    whole = Dataset()
    whole.file_meta = copy.deepcopy(first.file_meta)
    whole.file_meta.MediaStorageSOPClassUID = LEGACY_CLASS[first.Modality]
    at_the_top = {
        "SpecificCharacterSet", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
        "PatientName", "PatientID", "PatientSex", "PatientWeight", "PatientSize", "Modality", "Manufacturer", "Rows",
        "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "StudyDate",
    }  # fmt: skip
    for element in first:
        if element.keyword in at_the_top:
            whole.add(copy.deepcopy(element))
    whole.SOPClassUID = LEGACY_CLASS[first.Modality]
    whole.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    macros = {
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PlanePositionSequence": ("ImagePositionPatient",),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }
    moved = {*at_the_top, "PixelData", "SOPClassUID", *(keyword for some in macros.values() for keyword in some)}
    rest = [[element for element in one if element.keyword not in moved] for one in slices]
    common = [element for element in rest[0] if all(element in other for other in rest)]
    frames = []
    for one, elements in zip(slices, rest, strict=True):
        groups, left = Dataset(), Dataset()
        for name, keywords in macros.items():
            setattr(groups, name, only(**{keyword: one[keyword].value for keyword in keywords}))
        groups.FrameContentSequence = only(StackID="1")
        for element in elements:
            if element not in common:
                left.add(copy.deepcopy(element))
        groups.UnassignedPerFrameConvertedAttributesSequence = DicomSequence([left])
        frames.append(groups)
    shared = Dataset()
    for element in common:
        shared.add(copy.deepcopy(element))
    name = "CTImageFrameTypeSequence" if first.Modality == "CT" else "PETFrameTypeSequence"
    groups = item(**{name: only(FrameType=list(first.ImageType))})
    groups.UnassignedSharedConvertedAttributesSequence = DicomSequence([shared])
    whole.SharedFunctionalGroupsSequence = DicomSequence([groups])
    whole.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    whole.NumberOfFrames = len(slices)
    whole.PixelData = b"".join(one.PixelData for one in slices)
    return whole
