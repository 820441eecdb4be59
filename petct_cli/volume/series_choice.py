"""Which CT and which PET of a study are converted, and why the others are not.

Folders mix series, scouts, dose reports, screen captures, projections, uncorrected PET and single-photon images stored
as PT. Every series that is not taken gets a reason in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.dicom.multiframe import ENHANCED
from petct_cli.dicom.read import Instance
from petct_cli.dicom.values import first_item, integer, number, numbers, text, texts
from petct_cli.volume.geometry import SlicePlane
from petct_cli.volume.nuclides import find_nuclide

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PROJECTIONS = {"MIP", "MAX_IP", "PROJECTION IMAGE", "MINIP", "VOLUMEREN", "RENDERED"}
_COVERED = 0.9
_TIMED_SERIES = {"GATED", "DYNAMIC"}


@dataclass(frozen=True)
class Candidate:
    """The images of one series, as many as could be read."""

    uid: str
    modality: str
    instances: tuple[Instance, ...]

    @cached_property
    def header(self) -> Dataset:
        """Header of the first whole image: what a series shares."""
        return next((one.header for one in self.instances if not one.is_truncated), self.instances[0].header)

    @cached_property
    def image_type(self) -> frozenset[str]:
        """Values of Image Type (0008,0008)."""
        return frozenset(value.upper() for value in texts(self.header, "ImageType"))

    @cached_property
    def frame_of_reference(self) -> str | None:
        """Frame of Reference UID (0020,0052)."""
        return text(self.header, "FrameOfReferenceUID")

    @cached_property
    def study(self) -> str | None:
        """Study Instance UID (0020,000D)."""
        return text(self.header, "StudyInstanceUID")

    @property
    def is_original(self) -> bool:
        return not self.image_type & {"DERIVED", "SECONDARY"}

    @property
    def is_attenuation_corrected(self) -> bool:
        return "ATTN" in {value.upper() for value in texts(self.header, "CorrectedImage")}

    @cached_property
    def is_timed(self) -> bool:
        """Whether it holds several images of one place: by Series Type, or because positions come back."""
        if _TIMED_SERIES & {value.upper() for value in texts(self.header, "SeriesType")}:
            return True
        positions = [numbers(one.header, "ImagePositionPatient") for one in self.instances]
        return len(set(positions)) <= len(positions) / 2

    @cached_property
    def z_range(self) -> tuple[float, float] | None:
        """Lowest and highest LPS z of the centres of its images."""
        planes = [plane for plane in map(slice_plane, self.instances) if plane is not None]
        z = [
            plane.position[2] + i * plane.column[2] * plane.spacing[0] + j * plane.row[2] * plane.spacing[1]
            for plane in planes
            for i in (0, plane.shape[0] - 1)
            for j in (0, plane.shape[1] - 1)
        ]
        return (min(z), max(z)) if z else None

    def covers(self, other: Candidate) -> bool:
        """Whether it reaches over nearly all of `other` along z."""
        mine, theirs = self.z_range, other.z_range
        if mine is None or theirs is None:
            return False
        shared = min(mine[1], theirs[1]) - max(mine[0], theirs[0])
        return shared >= _COVERED * (theirs[1] - theirs[0])


@dataclass(frozen=True)
class Choice:
    """The chosen series, and for each other one (by its place among the candidates) why it was set aside."""

    ct: Candidate | None
    pet: Candidate | None
    set_aside: dict[int, str]


def slice_plane(instance: Instance) -> SlicePlane | None:
    """Return where an image lies; None when its header does not say."""
    header = instance.header
    position = numbers(header, "ImagePositionPatient")
    orientation = numbers(header, "ImageOrientationPatient")
    spacing = numbers(header, "PixelSpacing")
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2:
        return None
    return SlicePlane(
        position=(position[0], position[1], position[2]),
        row=(orientation[0], orientation[1], orientation[2]),
        column=(orientation[3], orientation[4], orientation[5]),
        spacing=(spacing[0], spacing[1]),
        shape=instance.shape,
        number=integer(header, "InstanceNumber"),
        acquisition=integer(header, "AcquisitionNumber"),
        thickness_mm=number(header, "SliceThickness"),
    )


def choose_series(candidates: Sequence[Candidate]) -> Choice:
    """Choose at most one CT and one PET.

    PET: attenuation-corrected over not, original over derived, static over gated or dynamic, then most slices. CT: the
    study and frame of reference of the PET, axial, over the whole PET, original, then most slices. Ties go to the
    smaller Series Instance UID.

    Raises
    ------
    RecordError
        ``study_mismatch``: no CT is of the study of the PET. ``frame_of_reference_mismatch``: there are CT and PET, but
        no pair shares a frame of reference.
        ``multiframe_unsupported``: the only images of the study are multi-frame objects that `frames_of` cannot take
        apart.
        ``no_image_series``: nothing that a volume could be made of.
    """
    reasons = {place: reason for place, one in enumerate(candidates) if (reason := _unusable(one))}
    pets = [(place, one) for place, one in enumerate(candidates) if place not in reasons and one.modality == "PT"]
    cts = [(place, one) for place, one in enumerate(candidates) if place not in reasons and one.modality == "CT"]
    if not pets and not cts:
        if _MULTI_FRAME in reasons.values():
            raise RecordError(
                "multiframe_unsupported",
                "the study holds only multi-frame images that do not say where their frames lie",
            )
        raise RecordError("no_image_series", "the study holds no CT or PET series that a volume could be made of")
    pet_place, pet = _best(pets, _pet_rank)
    for place, one in pets:
        if pet is not None and place != pet_place:
            reasons[place] = _why_not_pet(one, pet)
    own = [(place, one) for place, one in cts if pet is None or one.study == pet.study]
    if cts and not own:
        raise RecordError("study_mismatch", "CT and PET belong to different studies (0020,000D)")
    reasons |= {place: "another study than the PET" for place, one in cts if (place, one) not in own}
    sharing = [(place, one) for place, one in own if pet is None or _same_frame(one, pet)]
    if cts and not sharing:
        raise RecordError(
            "frame_of_reference_mismatch", "no CT of the study shares the frame of reference (0020,0052) of its PET"
        )
    ct_place, ct = _best(sharing, lambda one: _ct_rank(one, pet))
    for place, one in own:
        if ct is not None and place != ct_place:
            reasons[place] = _why_not_ct(one, ct, pet, shares_frame=(place, one) in sharing)
    return Choice(ct, pet, reasons)


_MULTI_FRAME = "multi-frame image that does not say where its frames lie"


def _unusable(one: Candidate) -> str | None:
    """Return why no volume can be made of a series, whatever else the study holds."""
    if one.modality not in ("CT", "PT"):
        return f"modality {one.modality}"
    header = one.header
    sop_class = text(header, "SOPClassUID") or ""
    series_type = {value.upper() for value in texts(header, "SeriesType")}
    whole = next((instance for instance in one.instances if not instance.is_truncated), None)
    checks = {
        _MULTI_FRAME: sop_class in ENHANCED or (integer(header, "NumberOfFrames") or 1) > 1,
        "secondary capture": sop_class.startswith(_SECONDARY_CAPTURE),
        "colour image": (integer(header, "SamplesPerPixel") or 1) != 1,
        "localizer": "LOCALIZER" in one.image_type,
        "projection": bool(one.image_type & _PROJECTIONS) or "REPROJECTION" in series_type,
        "no position, orientation or pixel spacing": whole is not None and slice_plane(whole) is None,
        "single-photon image stored as PT": one.modality == "PT" and _is_single_photon(header),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def _is_single_photon(header: Dataset) -> bool:
    code = first_item(first_item(header, "RadiopharmaceuticalInformationSequence"), "RadionuclideCodeSequence")
    if code is None:
        return False
    nuclide = find_nuclide(text(code, "CodeValue"), text(code, "CodeMeaning"))
    return nuclide is not None and not nuclide.is_positron_emitter


def _same_frame(one: Candidate, other: Candidate) -> bool:
    """Old de-identification dropped frames of reference; where neither series has one, the study vouches for them."""
    return one.frame_of_reference == other.frame_of_reference


def _best(
    entries: Sequence[tuple[int, Candidate]], rank: Callable[[Candidate], tuple[Any, ...]]
) -> tuple[int, Candidate | None]:
    if len(entries) == 1:
        return entries[0]  # ranks are read from every header, which takes time
    return max(entries, key=lambda entry: rank(entry[1]), default=(-1, None))


def _pet_rank(one: Candidate) -> tuple[bool, bool, bool, int, _Reversed]:
    return one.is_attenuation_corrected, one.is_original, not one.is_timed, len(one.instances), _Reversed(one.uid)


def _ct_rank(one: Candidate, pet: Candidate | None) -> tuple[bool, bool, bool, int, _Reversed]:
    covers = pet is None or one.covers(pet)
    return "AXIAL" in one.image_type, covers, one.is_original, len(one.instances), _Reversed(one.uid)


@dataclass(frozen=True)
class _Reversed:
    """Orders text backwards, so that `max` takes the smaller."""

    text: str

    def __lt__(self, other: _Reversed) -> bool:
        return self.text > other.text

    def __gt__(self, other: _Reversed) -> bool:
        return self.text < other.text


def _why_not_pet(one: Candidate, chosen: Candidate) -> str:
    if not one.is_attenuation_corrected and chosen.is_attenuation_corrected:
        return "not corrected for attenuation"
    if not one.is_original and chosen.is_original:
        return "derived image, the original is there"
    if one.is_timed and not chosen.is_timed:
        return "gated or dynamic"
    return _fewer(one, chosen)


def _why_not_ct(one: Candidate, chosen: Candidate, pet: Candidate | None, *, shares_frame: bool) -> str:
    if not shares_frame:
        return "another frame of reference than the PET"
    if "AXIAL" not in one.image_type and "AXIAL" in chosen.image_type:
        return "not axial"
    if len(one.instances) >= len(chosen.instances) and pet is not None and chosen.covers(pet) and not one.covers(pet):
        return "covers less of the PET"
    if not one.is_original and chosen.is_original:
        return "derived image, the original is there"
    return _fewer(one, chosen)


def _fewer(one: Candidate, chosen: Candidate) -> str:
    mine, taken = len(one.instances), len(chosen.instances)
    return f"fewer slices ({mine}, taken: {taken})" if mine < taken else "another series of equal rank was taken"
