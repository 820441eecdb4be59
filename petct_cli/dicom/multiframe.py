"""Enhanced multi-frame CT and PET as what they hold: slices, each with a header and pixels like a single-frame image.

What a classic image says at the top an enhanced one says in functional groups (PS3.3 C.7.6.16), shared by all frames
or per frame, in other words at times: a `LayeredHeader` answers to the classic keywords. Legacy converted objects keep
what fits no functional group in the Unassigned Converted Attributes sequences, also private elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from petct_cli.dicom.frame_pixels import FrameStore
from petct_cli.dicom.header import LayeredHeader
from petct_cli.dicom.read import DEFLATED, Instance
from petct_cli.dicom.value_mapping import DECAY_TO_MOMENT, mapped_values
from petct_cli.dicom.values import first_item, integer, items, number, text, texts, to_datetime, to_number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
ENHANCED = {
    f"{CT_IMAGE}.1": CT_IMAGE,
    f"{CT_IMAGE}.2": CT_IMAGE,
    "1.2.840.10008.5.1.4.1.1.130": PET_IMAGE,
    f"{PET_IMAGE}.1": PET_IMAGE,
}
"""SOP classes: enhanced and legacy converted CT and PET -> the class of one slice."""
_PLAIN_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("StackID", "InStackPositionNumber", "TemporalPositionIndex"),
}
_FRAME_TYPES = ("CTImageFrameTypeSequence", "PETFrameTypeSequence")
_APART = 10_000_000
_NO_RENDERING = {"NONE", "MPR", "CURVED_MPR"}
_CORRECTIONS = {
    "DecayCorrected": "DECY",
    "AttenuationCorrected": "ATTN",
    "ScatterCorrected": "SCAT",
    "DeadTimeCorrected": "DTIM",
    "GantryMotionCorrected": "MOTN",
    "PatientMotionCorrected": "PMOT",
    "CountLossNormalizationCorrected": "CLN",
    "RandomsCorrected": "RAN",
    "NonUniformRadialSamplingCorrected": "RADL",
    "SensitivityCalibrated": "DCAL",
    "DetectorNormalizationCorrection": "NORM",
}
"""Enhanced PET Corrections (PS3.3 C.8.22.6) -> value of Corrected Image (0028,0051)."""


@dataclass(frozen=True)
class EncodedFrame(Instance):
    """A frame whose pixels do not lie in the file as they are: compressed, or in a deflated data set."""

    store: FrameStore = field(kw_only=True)
    index: int = field(kw_only=True)

    def values(self) -> npt.NDArray[np.generic]:
        return self.store.values(self.index)


def frames_of(instance: Instance) -> tuple[Instance, ...]:
    """Return an enhanced CT or PET object as its frames, in the order of the file; any other image as it is.

    An object whose frames and functional groups do not match is left as it is: nothing says where its frames lie.
    Pixels are read when asked for, one frame at a time.
    """
    header = instance.header
    slice_class = ENHANCED.get(text(header, "SOPClassUID") or "")
    groups = items(header, "PerFrameFunctionalGroupsSequence") if slice_class else []
    if not groups or len(groups) != (integer(header, "NumberOfFrames") or 1):
        return (instance,)
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    common = {**_unframed(header), "SOPClassUID": slice_class}
    headers = [_frame_header(header, shared, group, common) for group in groups]
    if instance.pixel_bytes is not None and instance.syntax != DEFLATED:
        return tuple(_native(instance, frame, place) for place, frame in enumerate(headers))
    store = FrameStore(instance, len(groups))
    return tuple(
        EncodedFrame(
            instance.path, frame, instance.syntax, instance.file_bytes, instance.pixel_offset, None,
            modified_ns=instance.modified_ns, store=store, index=place,
        )
        for place, frame in enumerate(headers)
    )  # fmt: skip


def _native(instance: Instance, frame: LayeredHeader, place: int) -> Instance:
    rows, columns = instance.shape
    size = rows * columns * ((integer(instance.header, "BitsAllocated") or 16) // 8)
    left = max(0, min(size, (instance.pixel_bytes or 0) - place * size))
    start = instance.pixel_offset + place * size
    return Instance(
        instance.path, frame, instance.syntax, instance.file_bytes, start, left, modified_ns=instance.modified_ns
    )


def _unframed(header: Dataset) -> dict[str, Any]:
    """Return what is said of the whole object, in classic words."""
    found: dict[str, Any] = {"NumberOfFrames": 1, "InstanceNumber": None}
    if text(header, "CorrectedImage") is None:
        applied = {name: (text(header, name) or "").upper() for name in _CORRECTIONS}
        if any(applied.values()):
            found["CorrectedImage"] = [_CORRECTIONS[name] for name, value in applied.items() if value == "YES"]
        if text(header, "DecayCorrection") is None and applied["DecayCorrected"] in ("YES", "NO"):
            found["DecayCorrection"] = DECAY_TO_MOMENT if applied["DecayCorrected"] == "YES" else "NONE"
    return found


def _frame_header(header: Dataset, shared: Dataset | None, group: Dataset, common: dict[str, Any]) -> LayeredHeader:
    unassigned = [
        found
        for found in (
            first_item(group, "UnassignedPerFrameConvertedAttributesSequence"),
            first_item(shared, "UnassignedSharedConvertedAttributesSequence"),
        )
        if found is not None
    ]
    own = dict(common)
    for name, keywords in _PLAIN_MACROS.items():
        macro = _macro(group, shared, name)
        for keyword in keywords if macro is not None else ():
            value = texts(macro, keyword) if macro is not None else ()
            if value:
                own[keyword] = value
    own.update(
        _told_in_frame_content(_macro(group, shared, "FrameContentSequence"), text(header, "TimezoneOffsetFromUTC"))
    )
    own["InstanceNumber"] = _number_in_stack(unassigned, own, integer(header, "InstanceNumber"))
    own.update(_frame_type(group, shared))
    frame = LayeredHeader((*unassigned, header), own)
    if unassigned:  # a legacy converted object may say there what the object itself left to `_unframed`
        for keyword in ("CorrectedImage", "DecayCorrection"):
            if any(text(layer, keyword) is not None for layer in unassigned):
                own.pop(keyword, None)
    if own["SOPClassUID"] == PET_IMAGE and text(frame, "Units") is None:
        mappings = items(group, "RealWorldValueMappingSequence") or items(shared, "RealWorldValueMappingSequence")
        own.update(mapped_values(mappings, text(frame, "RescaleType")))
    return frame


def _macro(group: Dataset, shared: Dataset | None, name: str) -> Dataset | None:
    own = first_item(group, name)
    return own if own is not None else first_item(shared, name)


def _told_in_frame_content(content: Dataset | None, zone: str | None) -> dict[str, Any]:
    """Return acquisition time, duration and number of a frame (PS3.3 C.7.6.16.2.2) in classic words."""
    if content is None:
        return {}
    found: dict[str, Any] = {}
    moment = to_datetime(text(content, "FrameAcquisitionDateTime"), zone)
    if moment is not None:
        found["AcquisitionDate"] = moment.strftime("%Y%m%d")
        found["AcquisitionTime"] = moment.strftime("%H%M%S.%f")
    duration = number(content, "FrameAcquisitionDuration")
    if duration is not None:
        found["ActualFrameDuration"] = duration
    acquisition = integer(content, "FrameAcquisitionNumber")
    if acquisition is not None:
        found["AcquisitionNumber"] = acquisition
    return found


def _number_in_stack(unassigned: Sequence[Dataset], own: dict[str, Any], of_object: int | None) -> int | None:
    """Return the number that the slice had before it became a frame, else its place in its stack.

    Objects of a series may each count from 1: numbers of two objects never follow each other, so that nothing vouches
    for a gap between them.
    """
    before = next((value for layer in unassigned if (value := integer(layer, "InstanceNumber")) is not None), None)
    (place,) = own.get("InStackPositionNumber") or (None,)
    number_in_stack = to_number(place)
    if before is not None or number_in_stack is None:
        return before
    return (of_object or 0) * _APART + int(number_in_stack)


def _frame_type(group: Dataset, shared: Dataset | None) -> dict[str, Any]:
    for name in _FRAME_TYPES:
        macro = _macro(group, shared, name)
        values = list(texts(macro, "FrameType")) if macro is not None else []
        if macro is None or not values:
            continue
        technique = (text(macro, "VolumeBasedCalculationTechnique") or "NONE").upper()
        return {"ImageType": values if technique in _NO_RENDERING else [*values, "RENDERED"]}
    return {}
