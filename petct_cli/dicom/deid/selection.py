"""Which objects are written and which are set aside because their pixels or their content may be text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from petct_cli.dicom.deid.beside_pixels import has_bytes_after_pixels
from petct_cli.dicom.deid.profile import Profile, load_rules
from petct_cli.dicom.deid.syntax import DicomBytes

_SOP_CLASS, _IMAGE_TYPE, _MODALITY, _BURNED_IN = 0x00080016, 0x00080008, 0x00080060, 0x00280301
_CONVERSION_TYPE, _SAMPLES_PER_PIXEL = 0x00080064, 0x00280002
_OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION = 0x0100, 0x0102
_DESCRIPTIONS = (0x00081030, 0x0008103E, 0x00181030)
_DERIVATION_VALUES = 2


def sop_class_of(dicom: DicomBytes) -> str:
    """Return the SOP Class UID of a file, from the data set or else its File Meta."""
    return dicom.text(_SOP_CLASS) or dicom.meta_value(0x00020002).decode("latin-1").strip(" \0")


def quarantine_reason(dicom: DicomBytes, profile: Profile) -> str | None:
    """Return why an object must not be let out unseen, or None for one that may be written.

    Reasons are codes: ``burned_in_annotation``, ``secondary_capture``, ``structured_report``, ``embedded_overlay`` ...
    """
    rules = profile.rules
    sop_class = sop_class_of(dicom)
    by_class = rules["quarantine"]["sop_classes"].get(sop_class)
    if by_class is not None:
        return str(by_class)
    for prefix, reason in rules["quarantine"]["sop_class_prefixes"].items():
        if sop_class.startswith(prefix):
            return None if reason == "structured_report" and profile.has("clean_structured_content") else str(reason)
    if sop_class not in rules["sop_classes"]["images"]:
        return "not_an_image"
    return _reason_by_pixels(dicom, rules)


def _reason_by_pixels(dicom: DicomBytes, rules: Mapping[str, Any]) -> str | None:  # noqa: PLR0911  one line per rule
    """Return why the pixels of an image may be text."""
    if dicom.text(_BURNED_IN).upper() not in ("", "NO"):
        return "burned_in_annotation"
    marks = rules["quarantine"]["text_bearing"]
    for value in dicom.text(_IMAGE_TYPE).upper().split("\\")[_DERIVATION_VALUES:]:
        # Siemens writes "CT_SOM5 PROT": the mark is one word of a value.
        if any(mark in (value.strip(), *value.split()) for mark in marks["image_type"]):
            return "text_bearing_image_type"
    for tag in _DESCRIPTIONS:
        words = " ".join(unicodedata.normalize("NFKC", dicom.text(tag)).upper().replace("_", " ").split())
        if any(mark in words for mark in marks["description"]):
            return "text_bearing_description"
    if dicom.text(_MODALITY) in ("SR", "DOC", "KO", "PR", "SC"):
        return "not_an_image"
    if dicom.text(_CONVERSION_TYPE):
        # Only what was captured, digitised or converted has one (PS3.3 C.8.6.1).
        return "secondary_capture"
    if sop_class_of(dicom) in rules["sop_classes"]["grayscale"] and dicom.number(_SAMPLES_PER_PIXEL, 1) != 1:
        return "colour_image"
    if has_bytes_after_pixels(dicom):
        return "bytes_after_pixels"
    return "embedded_overlay" if _has_embedded_overlay(dicom) else None


def _has_embedded_overlay(dicom: DicomBytes) -> bool:
    """Say whether the unused high bits of the pixels are an overlay (retired: PS3.3 C.9.2, 2004)."""
    groups = {element.tag >> 16 for element in dicom.elements if 0x6000 <= element.tag >> 16 <= 0x60FF}
    return any(
        dicom.number(group << 16 | _OVERLAY_BIT_POSITION, 0) != 0
        or dicom.number(group << 16 | _OVERLAY_BITS_ALLOCATED, 1) > 1
        for group in groups
    )


def has_clean_pixels(dicom: DicomBytes) -> bool:
    """Say whether the image may be claimed clean (code 113101): ORIGINAL PRIMARY images of CT and PET show no text."""
    kinds = dicom.text(_IMAGE_TYPE).upper().split("\\")
    return sop_class_of(dicom) in load_rules()["sop_classes"]["without_text"] and kinds[:2] == ["ORIGINAL", "PRIMARY"]
