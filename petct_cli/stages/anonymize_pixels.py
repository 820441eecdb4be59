"""What ``anonymize`` does to pixels on request: faces out of the CT, rectangles of devices, a look for text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DicomBytes, read_dicom
from petct_cli.dicom.deid.known import Known, know
from petct_cli.dicom.deid.redaction import Redaction, blackened
from petct_cli.dicom.deid.selection import sop_class_of
from petct_cli.dicom.deid.study import Instance, Survey, in_order
from petct_cli.dicom.deid.treatment import UNTREATED, Treatment

if TYPE_CHECKING:
    from petct_cli.volume.deface import Face
    from petct_cli.volume.geometry import SlicePlane

_CT = "1.2.840.10008.5.1.4.1.1.2"
_UPTAKE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.128.1",
    "1.2.840.10008.5.1.4.1.1.130",
    "1.2.840.10008.5.1.4.1.1.20",
)
_SAMPLED = 50
_FEWEST_ACROSS = 3


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
            from petct_cli.dicom.deid.ocr import tesseract_version

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
            from petct_cli.dicom.deid.pixels import read_words, with_words

            words, form = read_words(dicom, image.path)
            self._redacted += 1
            new = blackened(words, form, self.options.redaction.rules_for(dicom, reason))
            return with_words(dicom, new, form), Treatment(redacted=True)
        face = self._face.faces.get(image.digest)
        if face is None:
            return dicom, UNTREATED
        from petct_cli.stages.anonymize_faces import plane_of, without_face

        plane = plane_of(dicom)
        if plane is None or not face.head.has_face:
            return dicom, UNTREATED
        changed = without_face(dicom, image, face, plane)
        if changed is None:
            return dicom, Treatment(face_removed=image.digest not in self._face.borrowed)
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
        from petct_cli.dicom.deid.pixels import read_words

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
        from petct_cli.stages import anonymize_faces as faces

        aside: dict[str, str] = {}
        series: dict[tuple[str, str], list[tuple[Instance, SlicePlane]]] = {}
        for image in self.survey.images:
            dicom = read_dicom(image.path)
            sop_class = sop_class_of(dicom)
            if sop_class in _UPTAKE_CLASSES and image.digest not in self._rules:
                continue
            plane = faces.plane_of(dicom) if sop_class == _CT and image.digest not in self._rules else None
            if plane is None or faces.is_projection(dicom) or not faces.is_one_grey_image(dicom):
                aside[image.digest] = "face_not_removable"
                continue
            series.setdefault((dicom.text(0x00200052), image.series_uid), []).append((image, plane))
        found, unknown = faces.faces_of(series)
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
                other = faces.borrowed(plane, known) if len(images) >= _FEWEST_ACROSS or faces.is_axial(plane) else None
                if other is None or not faces.decodes(image, other):
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
        from petct_cli.dicom.deid.ocr import shows_text
        from petct_cli.dicom.deid.pixels import read_words

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
