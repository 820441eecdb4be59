"""The few elements that SUV depends on, handed from raw bytes to pydicom without reading the rest of the header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petct_cli.dicom.deid.files import DicomBytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.3 C.7.1.1, C.7.2.2, C.8.9.1 and C.8.9.4, and the vendors' groups.
_SUV_TAGS = frozenset(
    {
        0x00080005, 0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A, 0x00080030, 0x00080031, 0x00080032,
        0x00080033, 0x00080070, 0x00080201, 0x00100040, 0x00101010, 0x00101020, 0x00101030, 0x00181242, 0x00280051,
        0x00540016, 0x00541001, 0x00541006, 0x00541102, 0x00541300, 0x00541321,
    }
)  # fmt: skip
_SUV_GROUPS = frozenset({0x0009, 0x0071, 0x7053})
_RESCALE_TAGS = frozenset({0x00281052, 0x00281053})


def suv_elements(dicom: DicomBytes) -> bytes:
    """Return the raw bytes of everything SUV depends on: equal bytes give equal SUV headers."""
    ranges = ((e.start, e.end) for e in dicom.elements if e.tag in _SUV_TAGS or e.tag >> 16 in _SUV_GROUPS)
    return b"".join(dicom.buffer[start:end] for start, end in ranges)


def rescale_elements(dicom: DicomBytes) -> bytes:
    """Return the raw values of rescale slope and intercept."""
    return b"\\".join(dicom.buffer[e.value : e.value_end] for e in dicom.elements if e.tag in _RESCALE_TAGS)


def suv_dataset(dicom: DicomBytes) -> Dataset:
    """Return a data set of the elements of `suv_elements`; values are decoded when they are asked for."""
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    explicit, little = dicom.syntax
    raw = {}
    for e in dicom.elements:
        if e.tag in _SUV_TAGS or e.tag >> 16 in _SUV_GROUPS:
            tag = BaseTag(e.tag)
            value = dicom.buffer[e.value : e.value_end]
            raw[tag] = RawDataElement(tag, e.vr.decode(), len(value), value, 0, not explicit, little, True)
    return Dataset(raw)
