"""Which CT and which PET of a study are converted, and why the others are not.

Folders mix series, scouts, dose reports, screen captures, projections, uncorrected PET and single-photon images stored
as PT. Every series that is not taken gets a reason in plain words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from petct_cli.core.errors import RecordError
from petct_cli.dicom.multiframe import ENHANCED
from petct_cli.dicom.read import Instance
from petct_cli.dicom.values import first_item, integer, number, numbers, text, texts
from petct_cli.volume.geometry import SlicePlane
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.series_criteria import ct_criteria, pet_criteria
from petct_cli.volume.series_pick import SeriesPick
from petct_cli.volume.series_rank import Criterion, take_one
from petct_cli.volume.series_timing import Timing, acquisition_start, timing_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NO_HU = {"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"}
"""Rescale Types (PS3.3 C.11.1.1.2) of CT whose values are material, density or atomic number."""
_PROJECTIONS = {"MIP", "MAX_IP", "PROJECTION IMAGE", "MINIP", "VOLUMEREN", "RENDERED"}
COVERED = 0.9
"""What reaches over this share of another series covers it."""


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
    def number(self) -> int | None:
        """Series Number (0020,0011)."""
        return integer(self.header, "SeriesNumber")

    @cached_property
    def description(self) -> str:
        """Series Description (0008,103E); it may hold a name, so no message quotes it."""
        return text(self.header, "SeriesDescription") or ""

    @cached_property
    def timing(self) -> Timing:
        """How its images lie in time."""
        return timing_of([one.header for one in self.instances])

    @cached_property
    def start(self) -> datetime | None:
        """Earliest acquisition, local time."""
        return acquisition_start([one.header for one in self.instances])

    def shares_frame(self, other: Candidate) -> bool:
        """Whether both are in one frame of reference.

        Old de-identification dropped frames of reference; where neither has one, the study vouches for them.
        """
        return self.frame_of_reference == other.frame_of_reference

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
        return self.share_of(other) >= COVERED

    def share_of(self, other: Candidate) -> float:
        """Return the share of `other` that it reaches over along z, 0 to 1; 0 where one does not say where it lies."""
        mine, theirs = self.z_range, other.z_range
        if mine is None or theirs is None:
            return 0.0
        shared = min(mine[1], theirs[1]) - max(mine[0], theirs[0])
        length = theirs[1] - theirs[0]
        return min(1.0, max(0.0, shared) / length) if length > 0 else float(shared >= 0)


@dataclass(frozen=True)
class Choice:
    """The chosen series, for each other one (by its place among the candidates) why it was set aside, and why these.

    Attributes
    ----------
    because
        By role (``ct``, ``pet``): by what merits it was chosen.
    joined
        The role of further series that continue one of these (`petct_cli.volume.series_join`), by place.
    """

    ct: Candidate | None
    pet: Candidate | None
    set_aside: dict[int, str]
    because: dict[str, str] = field(default_factory=dict)
    joined: dict[int, str] = field(default_factory=dict)

    @property
    def taken(self) -> tuple[Candidate | None, Candidate | None]:
        """CT and PET."""
        return self.ct, self.pet

    def with_joined(self, role: str, places: Sequence[int]) -> Choice:
        """Return the choice with the series at `places` joined to that of a role."""
        return replace(self, joined={**self.joined, **dict.fromkeys(places, role)})

    def with_reasons(self, reasons: Mapping[int, str]) -> Choice:
        """Return the choice with other reasons of why series were set aside."""
        return replace(self, set_aside={**self.set_aside, **reasons})


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


def choose_series(
    candidates: Sequence[Candidate], ct_pick: SeriesPick | None = None, pet_pick: SeriesPick | None = None
) -> Choice:
    """Choose at most one CT and one PET.

    PET: corrected for attenuation, with a CT of its study and frame of reference, static, original, over most of the
    body, the earlier of two scans of one region (the custom of the field: uptake at about an hour; the other is the
    delayed one), then most slices. CT: the study and frame of reference of the PET, axial, static, over the whole PET
    or most of it, original, then most slices. Ties go to the smaller Series Instance UID.

    Parameters
    ----------
    ct_pick, pet_pick
        Take the one that this names, whatever its rank.

    Raises
    ------
    RecordError
        ``study_mismatch``: no CT is of the study of the PET. ``frame_of_reference_mismatch``: there are CT and PET, but
        no pair shares a frame of reference.
        ``multiframe_unsupported``: the only images of the study are multi-frame objects that `frames_of` cannot take
        apart.
        ``no_image_series``: nothing that a volume could be made of. ``pet_gated_only``, ``pet_dynamic_only``: no static
        PET, and none was picked. ``series_pick_none``, ``series_pick_several``, ``series_pick_unusable``.
    """
    reasons = {place: reason for place, one in enumerate(candidates) if (reason := _unusable(one))}
    pets = [place for place, one in enumerate(candidates) if place not in reasons and one.modality == "PT"]
    cts = [place for place, one in enumerate(candidates) if place not in reasons and one.modality == "CT"]
    _require_usable(candidates, reasons, "CT", cts, ct_pick)
    _require_usable(candidates, reasons, "PET", pets, pet_pick)
    if not pets and not cts:
        if _MULTI_FRAME in reasons.values():
            raise RecordError(
                "multiframe_unsupported",
                "the study holds only multi-frame images that do not say where their frames lie",
            )
        raise RecordError("no_image_series", "the study holds no CT or PET series that a volume could be made of")
    because: dict[str, str] = {}
    pet = ct = None
    if pets:
        some_cts = [candidates[i] for i in cts]
        pet, because["pet"] = _take(candidates, pets, pet_criteria(some_cts), "PET", pet_pick, reasons)
        if pet_pick is None and pet.timing in ("gated", "dynamic"):
            raise RecordError(
                f"pet_{pet.timing}_only", f"the only PET of the study is {pet.timing}", "pick a series by --pet-series"
            )
    own = [place for place in cts if pet is None or candidates[place].study == pet.study]
    if cts and not own:
        raise RecordError("study_mismatch", "CT and PET belong to different studies (0020,000D)")
    reasons |= {place: "another study than the PET" for place in cts if place not in own}
    sharing = [place for place in own if pet is None or candidates[place].shares_frame(pet)]
    if cts and not sharing:
        raise RecordError(
            "frame_of_reference_mismatch", "no CT of the study shares the frame of reference (0020,0052) of its PET"
        )
    reasons |= {place: "another frame of reference than the PET" for place in own if place not in sharing}
    if sharing:
        ct, because["ct"] = _take(candidates, sharing, ct_criteria(pet), "CT", ct_pick, reasons)
    return Choice(ct, pet, reasons, because)


def _take(
    candidates: Sequence[Candidate],
    places: Sequence[int],
    criteria: Sequence[Criterion[Candidate]],
    what: str,
    pick: SeriesPick | None,
    reasons: dict[int, str],
) -> tuple[Candidate, str]:
    """Take one of those at `places`, add why the others were not to `reasons`, and say why it was."""
    some = [candidates[place] for place in places]
    if pick is not None:
        option = f"--{what.lower()}-series"
        taken = pick.only(some, what)
        reasons |= {place: f"{option} names another" for place in places if candidates[place] is not taken}
        return taken, option
    verdict = take_one(some, criteria)
    reasons |= {places[i]: reason for i, reason in verdict.why_not.items()}
    return verdict.taken, "; ".join(verdict.merits) or f"the only {what} that a volume can be made of"


def _require_usable(
    candidates: Sequence[Candidate], reasons: dict[int, str], what: str, usable: list[int], pick: SeriesPick | None
) -> None:
    """Refuse a pick that names what no volume can be made of, and one of a study without the modality."""
    if pick is None or any(pick.names(candidates[place]) for place in usable):
        return
    modality = "PT" if what == "PET" else what
    for place, reason in reasons.items():
        if candidates[place].modality == modality and pick.names(candidates[place]):
            option = f"--{what.lower()}-series"
            raise RecordError("series_pick_unusable", f"{option} names a series that no volume is made of: {reason}")
    pick.only([candidates[place] for place in usable], what)


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
        "values that are no HU": one.modality == "CT" and (text(header, "RescaleType") or "").upper() in _NO_HU,
        "single-photon image stored as PT": one.modality == "PT" and _is_single_photon(header),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def _is_single_photon(header: Dataset) -> bool:
    code = first_item(first_item(header, "RadiopharmaceuticalInformationSequence"), "RadionuclideCodeSequence")
    if code is None:
        return False
    nuclide = find_nuclide(text(code, "CodeValue"), text(code, "CodeMeaning"))
    return nuclide is not None and not nuclide.is_positron_emitter
