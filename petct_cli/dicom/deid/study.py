"""One study before it is de-identified: whose it is, what it consists of, what is set aside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.dicom.deid.beside_pixels import has_bytes_after_pixels
from petct_cli.dicom.deid.files import DicomBytes, parse_dicom, read_bytes
from petct_cli.dicom.deid.identifiers import Collector, Identifiers
from petct_cli.dicom.deid.layouts import Repeats
from petct_cli.dicom.deid.profile import Choice, Profile, load_profile, load_rules
from petct_cli.dicom.deid.selection import quarantine_reason, sop_class_of
from petct_cli.dicom.deid.syntax import Element
from petct_cli.dicom.deid.values import age_between, cap_age


@dataclass(frozen=True)
class Instance:
    """One object of the study: `reason` says why it is quarantined, `said` what its header tells of the study."""

    path: Path
    digest: str
    study_uid: str
    series_uid: str
    sop_uid: str
    modality: str
    series_number: int
    instance_number: int
    reason: str | None
    said: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Survey:
    """What the headers of a study say before anything is written.

    Attributes
    ----------
    patient
        PatientID + IssuerOfPatientID, else the StudyInstanceUID: what the pseudonym and the day offset derive from.
    images, quarantined
        Objects in a stable order that does not depend on file names.
    digests
        SHA-256 of every file, in the order given, whatever it is.
    facts
        sex, age (capped), height_m, weight_kg and the original study_date as found, all optional.
    """

    study_uid: str
    patient: str
    patient_id: str
    issuer: str
    accession: str
    manufacturer: str
    images: tuple[Instance, ...]
    quarantined: tuple[Instance, ...]
    not_dicom: int
    duplicates: int
    identifiers: Identifiers
    facts: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = ()

    def names(self) -> list[tuple[Instance, str]]:
        """Return each image with its place below the study's folder: ``CT_001/000001.dcm``."""
        ordinals: dict[str, int] = {}
        folders: dict[str, str] = {}
        counts: dict[str, int] = {}
        named = []
        for image in self.images:
            if image.series_uid not in folders:
                ordinals[image.modality] = ordinals.get(image.modality, 0) + 1
                folders[image.series_uid] = f"{image.modality}_{ordinals[image.modality]:03d}"
            folder = folders[image.series_uid]
            counts[folder] = counts.get(folder, 0) + 1
            named.append((image, f"{folder}/{counts[folder]:06d}.dcm"))
        return named


class FileError(RecordError):
    """One file of a study cannot be used; `path` is for private logs, the message has only its place."""

    def __init__(self, code: str, message: str, path: Path) -> None:
        super().__init__(code, message)
        self.path = path


def survey_study(files: Sequence[Path], choice: Choice | str, made_up_uid: str = "") -> Survey:
    """Read a study's files once: their hashes, which tell copies of one object apart from others, and their headers.

    Parameters
    ----------
    made_up_uid
        What stands in for a StudyInstanceUID that no file has.

    Raises
    ------
    RecordError
        ``no_dicom``; ``mixed_studies`` or ``mixed_patients``: the files are not one study of one patient;
        ``no_study_uid``.
    FileError
        ``dicom_truncated``: a file cannot be read to its end.
    """
    profile = load_profile(choice)
    collector = Collector(profile)
    instances: list[Instance] = []
    patients: set[tuple[str, str]] = set()
    digests: list[str] = []
    seen: set[str] = set()
    repeats: Repeats[_Surveyed] = Repeats()
    not_dicom = duplicates = 0
    for place, path in enumerate(files, start=1):
        data = read_bytes(path)
        digest = sha256_bytes(data)
        digests.append(digest)
        try:
            dicom = parse_dicom(data)
            collector.add(dicom)
        except RecordError as error:
            if error.code == "not_dicom":
                not_dicom += 1
                continue
            raise FileError(error.code, f"file {place} of {len(files)}: {error.message}", path) from None
        repeat = repeats.find(dicom.layout, dicom.buffer)
        if repeat is not None and _is_next_slice(dicom, *repeat):
            patient = repeat[0].patient
            instance = _next_slice(repeat[0].instance, dicom, path, digest)
        else:
            instance = _instance(dicom, path, digest, profile)
            patient = dicom.decoded(0x00100020), dicom.decoded(0x00100021)
            if instance.reason is None:
                repeats.remember(dicom.layout, dicom.buffer, _Surveyed(instance, patient, sop_class_of(dicom)))
        if instance.reason == "dicomdir":
            instances.append(instance)
            continue
        patients.add(patient)
        if digest in seen:
            duplicates += 1
            continue
        seen.add(digest)
        instances.append(instance)
    study_uid = _one_study(instances, not_dicom) or made_up_uid
    if not study_uid:
        raise RecordError("no_study_uid", "the files have no StudyInstanceUID")
    patient_id, issuer = _one_patient(patients)
    ordered = in_order(instances)
    # The first in this order that says something counts: it does not depend on where the files lie.
    facts: dict[str, str] = {}
    for instance in ordered:
        for name, value in instance.said.items():
            facts.setdefault(name, value)
    return Survey(
        study_uid=study_uid,
        patient=f"{patient_id}\\{issuer}" if patient_id else study_uid,
        patient_id=patient_id,
        issuer=issuer,
        accession=facts.pop("accession", ""),
        manufacturer=facts.pop("manufacturer", ""),
        images=tuple(instance for instance in ordered if instance.reason is None),
        quarantined=tuple(instance for instance in ordered if instance.reason is not None),
        not_dicom=not_dicom,
        duplicates=duplicates,
        identifiers=collector.found,
        facts=facts,
        digests=tuple(digests),
    )


def in_order(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Return instances in the order of a survey, which does not depend on where files lie or how they are named."""
    return tuple(
        sorted(
            instances,
            key=lambda i: (i.modality, i.series_number, i.series_uid, i.instance_number, i.sop_uid, i.digest),
        )
    )


def _one_study(instances: Sequence[Instance], not_dicom: int) -> str:
    """Return the StudyInstanceUID of all objects, nothing when none has one."""
    studies = {instance.study_uid for instance in instances if instance.reason != "dicomdir"}
    if not studies:
        raise RecordError("no_dicom", f"no DICOM object among {not_dicom + len(instances)} files")
    if len(studies) > 1:
        raise RecordError("mixed_studies", f"the files belong to {len(studies)} studies", "give each study a record")
    return studies.pop()


def _one_patient(patients: Collection[tuple[str, str]]) -> tuple[str, str]:
    """Return PatientID and issuer of all objects; one that has none of its own is of the study's patient."""
    numbers = {number for number, _ in patients if number}
    issuers = {issuer for number, issuer in patients if number and issuer}
    if len(numbers) > 1 or len(issuers) > 1:
        count = max(len(numbers), len(issuers))
        raise RecordError("mixed_patients", f"the files name {count} patients", "a study has one patient")
    return next(iter(numbers), ""), next(iter(issuers), "")


def _instance(dicom: DicomBytes, path: Path, digest: str, profile: Profile) -> Instance:
    modality, number = dicom.text(0x00080060).upper(), _integer(dicom.text(0x00200011))
    return Instance(
        path=path,
        digest=digest,
        study_uid=dicom.text(0x0020000D),
        series_uid=dicom.text(0x0020000E) or f"{modality} {number}",
        sop_uid=dicom.text(0x00080018),
        modality=modality if modality in load_rules()["modalities"]["shown"] else "OT",
        series_number=number,
        instance_number=_integer(dicom.text(0x00200013)),
        reason=quarantine_reason(dicom, profile),
        said=_said(dicom),
    )


_OF_A_SLICE = frozenset(
    {
        0x00080018, 0x00080023, 0x00080032, 0x00080033, 0x00180050, 0x00181151, 0x00181152, 0x00189345,
        0x00200012, 0x00200013, 0x00200032, 0x00201041, 0x00280106, 0x00280107, 0x00281050, 0x00281051, 0x00281052,
        0x00281053, 0x00541300, 0x00541321, 0x00541322, 0x00541330,
    }
)  # fmt: skip
"""What differs from slice to slice, and is no part of what an `Instance` says but for its SOP UID and number."""


class _Surveyed(NamedTuple):
    """An object that is not set aside, the PatientID and issuer it names, and its SOP class."""

    instance: Instance
    patient: tuple[str, str]
    sop_class: str


def _is_next_slice(dicom: DicomBytes, first: _Surveyed, changed: Iterable[Element]) -> bool:
    """Say whether an object is of the class of `first` and differs from it in elements `_OF_A_SLICE` alone.

    The class has to be asked for: it may stand in the File Meta Information alone, which is no part of a layout.
    """
    return all(element.tag in _OF_A_SLICE for element in changed) and sop_class_of(dicom) == first.sop_class


def _next_slice(first: Instance, dicom: DicomBytes, path: Path, digest: str) -> Instance:
    """Return an instance that differs from `first` in elements `_OF_A_SLICE` and in its pixels alone."""
    return replace(
        first,
        path=path,
        digest=digest,
        sop_uid=dicom.text(0x00080018),
        instance_number=_integer(dicom.text(0x00200013)),
        reason="bytes_after_pixels" if has_bytes_after_pixels(dicom) else None,
    )


def _said(dicom: DicomBytes) -> dict[str, str]:
    found = {
        "accession": dicom.decoded(0x00080050),
        "manufacturer": dicom.text(0x00080070),
        "study_date": dicom.text(0x00080020),
        "sex": dicom.text(0x00100040),
        "age": dicom.text(0x00101010),
        "height_m": dicom.text(0x00101020),
        "weight_kg": dicom.text(0x00101030),
    }
    if found["age"]:
        capped = cap_age(found["age"].encode())
        found["age"] = found["age"] if capped is None else capped.decode()
    else:
        found["age"] = age_between(dicom.text(0x00100030), found["study_date"]) or ""
    return {name: value for name, value in found.items() if value}


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
