"""What ``anonymize`` does to pixels on request: faces out of the CT, rectangles of devices, a look for text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DicomBytes, read_dicom
from petct_cli.dicom.deid.known import Known, know
from petct_cli.dicom.deid.ocr import shows_text, tesseract_version
from petct_cli.dicom.deid.pixels import UNTREATED, Treatment, air_word, read_words, rescale_of, with_words
from petct_cli.dicom.deid.redaction import Redaction, blackened
from petct_cli.dicom.deid.selection import sop_class_of
from petct_cli.dicom.deid.study import Instance, Survey, in_order
from petct_cli.volume.ct_stack import CtSlice, HuSlice
from petct_cli.volume.deface import Face, find_face
from petct_cli.volume.geometry import SlicePlane
from petct_cli.volume.head import rules

_CT = "1.2.840.10008.5.1.4.1.1.2"
_UPTAKE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.128.1",
    "1.2.840.10008.5.1.4.1.1.130",
    "1.2.840.10008.5.1.4.1.1.20",
)
_SAMPLED = 50
_REACHES_MM = 5.0
_FEWEST_ACROSS, _AXIAL = 3, 0.7


@dataclass(frozen=True)
class PixelOptions:
    """What is asked for beyond copying pixels bit for bit.

    Parameters
    ----------
    redaction
        Rules that black out what would be quarantined for its pixels.
    """

    deface: bool = False
    redaction: Redaction = field(default_factory=Redaction)
    ocr: bool = False

    def key(self) -> dict[str, Any]:
        """Return what of this changes the content of outputs; nothing where nothing is asked for.

        Raises
        ------
        UsageError
            ``ocr_missing``.
        """
        said: dict[str, Any] = {}
        if self.deface:
            said["deface"] = True
        if self.redaction.rules:
            said["redact"] = self.redaction.sha256
        if self.ocr:
            said["ocr"] = tesseract_version()
        return said


@dataclass
class _Defacing:
    """The CT of a study: the face by series, and what was done about it."""

    faces: dict[str, Face] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)
    changed: Counter[str] = field(default_factory=Counter)


class PixelWork:
    """Decides what is done to the pixels of each object of one study, and does it.

    Attributes
    ----------
    survey
        The study as it is let out: without what is set aside in addition, with what redaction lets out.

    Raises
    ------
    RecordError
        ``deface_no_landmark``, ``redaction_outside``, ``ocr_failed``.
    """

    def __init__(self, options: PixelOptions, survey: Survey, known: Known) -> None:
        self.options = options
        self.survey = survey
        self._rules: dict[str, str] = {}
        self._face = _Defacing()
        self._redacted = self._looked_at = 0
        if options.redaction.rules:
            self._let_out()
        if options.deface:
            self._find_faces()
        if options.ocr:
            self._look_for_text(known)

    def treated(self, image: Instance, dicom: DicomBytes) -> tuple[DicomBytes, Treatment]:
        """Return an object as it is meant to be written, and what was done to it."""
        reason = self._rules.get(image.digest)
        if reason is not None:
            words, form = read_words(dicom, image.path)
            self._redacted += 1
            new = blackened(words, form, self.options.redaction.rules_for(dicom, reason))
            return with_words(dicom, new, form), Treatment(redacted=True)
        face = self._face.faces.get(image.digest)
        if face is None:
            return dicom, UNTREATED
        plane = _plane_of(dicom)
        if plane is None or not face.head.has_face:
            return dicom, UNTREATED
        mask = face.mask(plane, _hounsfield(dicom, image))
        if mask is None:
            return dicom, Treatment(face_removed=image.digest not in self._face.borrowed)
        words, form = read_words(dicom, image.path)
        new = words.copy()
        new[0, mask, 0] = air_word(dicom, form)
        changed = with_words(dicom, new, form)
        kept = read_words(changed, image.path)[0][0, ~mask, 0]
        if not np.array_equal(kept, words[0, ~mask, 0]):
            raise RecordError("pixels_changed", "pixels that are no part of the face would change")
        self._face.changed[image.series_uid] += 1
        return changed, Treatment(face_removed=True)

    def record(self) -> dict[str, Any]:
        """Return the fields of ``deid`` that tell of pixels, once all objects are written."""
        if not self.options.deface:
            return {"face": "present"}
        series: dict[str, dict[str, Any]] = {}
        for image, place in self.survey.names():
            face = self._face.faces.get(image.digest)
            if face is None:
                continue
            changed = self._face.changed[image.series_uid]
            entry = series.setdefault(place.partition("/")[0], {"face": "absent", "slices_changed": 0})
            if changed:
                entry |= {"face": "removed", "slices_changed": changed, "landmark": face.head.method}
                entry["all_around"] = face.all_around
        removed = any(entry["face"] == "removed" for entry in series.values())
        said = [{"series": name, **entry} for name, entry in sorted(series.items())]
        return {"face": "removed" if removed else "absent", "deface": {"series": said, "pet": "untouched"}}

    def counts(self) -> dict[str, int]:
        """Return how many objects were changed or looked at."""
        return {
            "slices_defaced": sum(self._face.changed.values()),
            "images_redacted": self._redacted,
            "images_looked_at_for_text": self._looked_at,
        }

    def _set_aside(self, reasons: dict[str, str]) -> None:
        """Move images of these digests to the quarantined, with their reasons."""
        if not reasons:
            return
        kept = tuple(image for image in self.survey.images if image.digest not in reasons)
        moved = [replace(i, reason=reasons[i.digest]) for i in self.survey.images if i.digest in reasons]
        self.survey = replace(self.survey, images=kept, quarantined=in_order([*self.survey.quarantined, *moved]))

    def _let_out(self) -> None:
        """Let out what is quarantined for pixels that a rule blacks out."""
        for instance in self.survey.quarantined:
            if instance.reason is None:
                continue
            dicom = read_dicom(instance.path)
            matching = self.options.redaction.rules_for(dicom, instance.reason)
            if not matching:
                continue
            try:
                words, form = read_words(dicom, instance.path)
            except RecordError:
                # What cannot be read cannot be blacked out: it stays where it is.
                continue
            blackened(words[:1], form, matching)
            self._rules[instance.digest] = instance.reason
        out = [replace(i, reason=None) for i in self.survey.quarantined if i.digest in self._rules]
        kept = tuple(i for i in self.survey.quarantined if i.digest not in self._rules)
        self.survey = replace(self.survey, images=in_order([*self.survey.images, *out]), quarantined=kept)

    def _find_faces(self) -> None:
        """Find the face in every CT series; what may show one that cannot be taken out is set aside."""
        aside: dict[str, str] = {}
        series: dict[tuple[str, str], list[tuple[Instance, SlicePlane]]] = {}
        for image in self.survey.images:
            dicom = read_dicom(image.path)
            sop_class = sop_class_of(dicom)
            if sop_class in _UPTAKE_CLASSES and image.digest not in self._rules:
                continue
            plane = _plane_of(dicom) if sop_class == _CT and image.digest not in self._rules else None
            if plane is None or _is_projection(dicom) or not _is_one_grey_image(dicom):
                aside[image.digest] = "face_not_removable"
                continue
            series.setdefault((dicom.text(0x00200052), image.series_uid), []).append((image, plane))
        found, unknown = _faces_of(series)
        if series and not found and unknown:
            raise unknown[min(unknown)]
        for key, images in series.items():
            face = found.get(key)
            for image, plane in images:
                if face is not None:
                    self._face.faces[image.digest] = face
                    continue
                known = [one for frame, one in found.items() if frame[0] == key[0] != ""]
                # One or two images across the body that do not say so are scouts as often as planes.
                other = _borrowed(plane, known) if len(images) >= _FEWEST_ACROSS or _is_axial(plane) else None
                if other is None or not _decodes(image, other):
                    aside[image.digest] = "face_not_removable"
                    continue
                self._face.faces[image.digest] = other
                self._face.borrowed.add(image.digest)
        self._set_aside(aside)

    def _look_for_text(self, known: Known) -> None:
        """Set aside what shows text, of the images that may and of a sample of the others."""
        aside: dict[str, str] = {}
        others: dict[str, list[Instance]] = {}
        for image in self.survey.images:
            if image.digest in self._rules or not _is_original(read_dicom(image.path)):
                reason = self._text_in(image, known)
                aside |= {image.digest: reason} if reason else {}
            else:
                others.setdefault(image.series_uid, []).append(image)
        for images in others.values():
            looked_at = images[::_SAMPLED]
            hits = {image.digest for image in looked_at if self._text_in(image, known) == "ocr_text"}
            if hits:
                # Text comes in series: the rest of this one is looked at, too.
                seen = {image.digest for image in looked_at}
                hits |= {i.digest for i in images if i.digest not in seen and self._text_in(i, known) == "ocr_text"}
            aside |= dict.fromkeys(hits, "ocr_text")
        self._set_aside(aside)

    def _text_in(self, image: Instance, known: Known) -> str | None:
        """Return why an image is set aside: ``ocr_text``, ``ocr_unreadable``, or None."""
        dicom = read_dicom(image.path)
        try:
            words, form = read_words(dicom, image.path)
        except RecordError:
            return "ocr_unreadable"
        reason = self._rules.get(image.digest)
        if reason is not None:
            words = blackened(words, form, self.options.redaction.rules_for(dicom, reason))
        self._looked_at += 1
        return "ocr_text" if shows_text(words, form, known) else None


def survey_let_out(options: PixelOptions, survey: Survey) -> Survey:
    """Return a survey as `PixelWork` leaves it, for a study that is finished already."""
    return PixelWork(options, survey, know(survey.identifiers)).survey


def _is_original(dicom: DicomBytes) -> bool:
    return dicom.text(0x00080008).upper().split("\\")[:2] == ["ORIGINAL", "PRIMARY"]


def _faces_of(
    series: dict[tuple[str, str], list[tuple[Instance, SlicePlane]]],
) -> tuple[dict[tuple[str, str], Face], dict[tuple[str, str], RecordError]]:
    """Return the face of every series that tells by itself where its head is, and why others do not."""
    found: dict[tuple[str, str], Face] = {}
    unknown: dict[tuple[str, str], RecordError] = {}
    for key, images in series.items():
        try:
            found[key] = find_face([CtSlice(plane, _Reader(image)) for image, plane in images])
        except RecordError as error:
            if error.code == "deface_no_landmark":
                unknown[key] = error
    return found, unknown


@dataclass(frozen=True)
class _Reader:
    image: Instance

    def __call__(self) -> HuSlice:
        return _hounsfield(read_dicom(self.image.path), self.image)


def _borrowed(plane: SlicePlane, faces: Sequence[Face]) -> Face | None:
    """Return a face of the same frame of reference that is known for all of an image, or None."""
    ends = [
        plane.position[2] + i * plane.column[2] * plane.spacing[0] + j * plane.row[2] * plane.spacing[1]
        for i in (0, plane.shape[0] - 1)
        for j in (0, plane.shape[1] - 1)
    ]
    for face in faces:
        if max(ends) < face.head.floor_mm or (face.head.has_face and max(ends) <= face.top_mm + _REACHES_MM):
            return face
    return None


def _is_axial(plane: SlicePlane) -> bool:
    return abs(float(np.cross(plane.row, plane.column)[2])) > _AXIAL


def _decodes(image: Instance, face: Face) -> bool:
    """Say whether an image can be treated: where there is a face to take out, its pixels have to be readable."""
    if not face.head.has_face:
        return True
    try:
        read_words(read_dicom(image.path), image.path)
    except RecordError:
        return False
    return True


def _is_projection(dicom: DicomBytes) -> bool:
    kinds = [value.strip() for value in dicom.text(0x00080008).upper().split("\\")]
    marks = rules()["projections"]["image_type"]
    return any(mark in (kind, *kind.replace("_", " ").split()) for kind in kinds for mark in marks)


def _is_one_grey_image(dicom: DicomBytes) -> bool:
    return dicom.number(0x00280002, 1) == 1 and dicom.text(0x00280008) in ("", "1")


def _plane_of(dicom: DicomBytes) -> SlicePlane | None:
    numbers = []
    for tag, count in ((0x00200032, 3), (0x00200037, 6), (0x00280030, 2)):
        try:
            values = tuple(float(part) for part in dicom.text(tag).split("\\"))
        except ValueError:
            return None
        if len(values) != count or not np.isfinite(values).all():
            return None
        numbers.append(values)
    position, orientation, spacing = numbers
    shape = [dicom.number(tag, 0) for tag in (0x00280010, 0x00280011)]
    if min(spacing) <= 0 or min(shape) <= 0:
        return None
    return SlicePlane(
        position=(position[0], position[1], position[2]),
        row=(orientation[0], orientation[1], orientation[2]),
        column=(orientation[3], orientation[4], orientation[5]),
        spacing=(spacing[0], spacing[1]),
        shape=(shape[0], shape[1]),
    )


def _hounsfield(dicom: DicomBytes, image: Instance) -> HuSlice:
    words, form = read_words(dicom, image.path)
    slope, intercept = rescale_of(dicom)
    limits = np.iinfo(np.int16)
    hu: HuSlice = np.clip(np.rint(form.values(words[0, :, :, 0]) * slope + intercept), limits.min, limits.max).astype(
        np.int16
    )
    return hu
