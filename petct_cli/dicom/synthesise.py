"""Write a synthetic study as CT Image and PET Image objects (PS3.3 A.3, A.21), full of invented identifiers.

Everything follows from the arguments: no clock, host or random UID, so equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import format_number_as_ds

from petct_cli.dicom.synthesise_encode import SeriesEncoder
from petct_cli.dicom.synthesise_identity import Identity

F18_HALF_LIFE_S = 6586.2
MANUFACTURER = "PETCT PHANTOM"
BED_DURATION_S = 150
BEDS = 6


@dataclass(frozen=True)
class Stack:
    """Axial slices: `voxels` and `spacing_mm` in (z, y, x), z ascending; LPS `origin_mm` (x, y, z) of voxel 0."""

    voxels: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Protocol:
    """How the tracer was given and how the PET values are stored."""

    injected_bq: float
    uptake_minutes: float
    decay_correction: Literal["START", "ADMIN"]
    signed: bool
    full_injection_date: bool


def draw_protocol(rng: np.random.Generator, weight_kg: float) -> Protocol:
    """Draw an FDG protocol: 3.5-5.2 MBq/kg, 45-85 minutes of uptake; one study in six is corrected to injection."""
    return Protocol(
        injected_bq=float(round(weight_kg * rng.uniform(3.5, 5.2) * 10) * 100_000),
        uptake_minutes=float(rng.integers(45, 86)),
        decay_correction="ADMIN" if rng.uniform() < 1 / 6 else "START",
        signed=bool(rng.uniform() < 0.5),
        full_injection_date=bool(rng.uniform() < 0.5),
    )


def uid_of(*name: object) -> str:
    """Return the UID that belongs to a name: ``2.25.`` and a UUID made of its SHA-256 (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(("petct phantom", *map(str, name))).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def write_study(
    folder: Path,
    name: tuple[int, int],
    identity: Identity,
    protocol: Protocol,
    *,
    height_m: float,
    weight_kg: float,
    ct: Stack,
    pet: Stack,
) -> None:
    """Write ``CT/*.dcm`` and ``PET/*.dcm`` below an existing folder.

    Parameters
    ----------
    name
        (seed, index) of the phantom: all UIDs come from it.
    ct
        HU between -1024 and 3071.
    pet
        SUVbw, at least 0; it is stored in Bq/ml with a slope of its own for every slice, so that the SUV of the header
        rules comes back within half a step of 1/32767 of the slice's maximum.
    """
    pet_time = identity.study_time + timedelta(minutes=4)
    common = _study_elements(name, identity, height_m, weight_kg)
    ct_series = _ct_series(name, common, ct)
    SeriesEncoder(ct_series, uid_of("implementation")).write(folder / "CT", _ct_slices(name, ct, identity.study_time))
    pet_series = _pet_series(name, common, identity, protocol, pet, pet_time)
    slices = _pet_slices(name, pet, protocol, weight_kg, pet_time)
    SeriesEncoder(pet_series, uid_of("implementation")).write(folder / "PET", slices)


def _study_elements(name: tuple[int, int], identity: Identity, height_m: float, weight_kg: float) -> Dataset:
    start = identity.study_time
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.StudyInstanceUID = uid_of(*name, "study")
    data.FrameOfReferenceUID = uid_of(*name, "frame of reference")
    data.PositionReferenceIndicator = ""
    data.StudyDate, data.StudyTime = _da(start), _tm(start)
    data.StudyID = identity.accession_number[-8:]
    data.StudyDescription = "PET/CT toàn thân F18-FDG"
    data.AccessionNumber = identity.accession_number
    data.ReferringPhysicianName = _pn(identity.referring_physician)
    data.NameOfPhysiciansReadingStudy = _pn(identity.reading_physician)
    data.OperatorsName = _pn(identity.technologist)
    data.InstitutionName = identity.hospital
    data.InstitutionAddress = identity.hospital_address
    data.InstitutionalDepartmentName = identity.department
    data.StationName = identity.station
    data.Manufacturer = MANUFACTURER
    data.ManufacturerModelName = "Digital phantom"
    data.DeviceSerialNumber = f"{identity.station}-0001"
    data.SoftwareVersions = "1"
    data.PatientName = _pn(identity.patient_name)
    data.PatientID = identity.patient_id
    data.IssuerOfPatientID = identity.hospital
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = identity.citizen_id, "TEXT"
    data.OtherPatientIDsSequence = [other]
    data.PatientBirthDate = identity.birth_date.strftime("%Y%m%d")
    data.PatientSex = identity.sex
    data.PatientAge = f"{identity.age_years:03d}Y"
    data.PatientSize = f"{height_m:.2f}"
    data.PatientWeight = f"{weight_kg:.1f}"
    data.PatientAddress = identity.address
    data.PatientTelephoneNumbers = identity.phone
    data.PatientComments = f"Liên hệ người nhà: {identity.phone}"
    data.AdditionalPatientHistory = identity.indication
    data.BodyPartExamined = "WHOLEBODY"
    request = Dataset()
    request.RequestedProcedureID = identity.accession_number
    request.RequestedProcedureDescription = "PET/CT toàn thân"
    request.ScheduledProcedureStepID = f"S{identity.accession_number[-8:]}"
    request.ScheduledProcedureStepDescription = f"PET/CT - {identity.patient_name}"
    data.RequestAttributesSequence = [request]
    data.InstanceCreationDate, data.InstanceCreationTime = _da(start), _tm(start)
    note = data.private_block(0x0011, "PETCT PHANTOM TECH NOTE", create=True)
    note.add_new(0x01, "LT", f"BN {identity.patient_name} ({identity.patient_id}), đã gọi {identity.phone}")
    note.add_new(0x02, "PN", _pn(identity.technologist))
    return data


def _geometry(stack: Stack) -> Dataset:
    data = Dataset()
    _, data.Rows, data.Columns = stack.voxels.shape
    dz, dy, dx = stack.spacing_mm
    data.PixelSpacing = [_ds(dy), _ds(dx)]
    data.SliceThickness = _ds(dz)
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = 16
    return data


def _ct_series(name: tuple[int, int], common: Dataset, ct: Stack) -> Dataset:
    data = Dataset()
    data.update(common)
    data.update(_geometry(ct))
    data.SOPClassUID = CTImageStorage
    data.Modality = "CT"
    data.SeriesInstanceUID = uid_of(*name, "CT")
    data.SeriesNumber = 2
    data.SeriesDescription = "CT WB liều thấp"
    data.SeriesDate, data.SeriesTime = common.StudyDate, common.StudyTime
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, 0
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "-1024", "1", "HU"
    data.PatientPosition = "HFS"
    data.KVP = "120"
    data.AcquisitionNumber = 1
    data.ConvolutionKernel = "STANDARD"
    data.ReconstructionDiameter = _ds(ct.voxels.shape[2] * ct.spacing_mm[2])
    data.WindowCenter, data.WindowWidth = "40", "400"
    return data


def _ct_slices(name: tuple[int, int], ct: Stack, start: datetime) -> Iterator[Dataset]:
    stored = (np.clip(ct.voxels, -1024, 3071) + 1024).astype("<u2")
    for number, z, own in _slices(name, "CT", ct):
        when = start + timedelta(seconds=0.5 * number)
        own.AcquisitionDate, own.AcquisitionTime = _da(when), _tm(when)
        own.ContentDate, own.ContentTime = _da(when), _tm(when)
        own.add_new("PixelData", "OW", stored[z].tobytes())
        yield own


def _pet_series(
    name: tuple[int, int], common: Dataset, identity: Identity, protocol: Protocol, pet: Stack, start: datetime
) -> Dataset:
    data = Dataset()
    data.update(common)
    data.update(_geometry(pet))
    data.SOPClassUID = PositronEmissionTomographyImageStorage
    data.Modality = "PT"
    data.SeriesInstanceUID = uid_of(*name, "PET")
    data.SeriesNumber = 3
    data.SeriesDescription = "PET WB AC"
    data.SeriesDate, data.SeriesTime = _da(start), _tm(start)
    data.SeriesType = ["WHOLE BODY", "IMAGE"]
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 15, int(protocol.signed)
    data.RescaleIntercept = "0"
    data.Units = "BQML"
    data.CountsSource = "EMISSION"
    data.NumberOfSlices = pet.voxels.shape[0]
    data.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    data.DecayCorrection = protocol.decay_correction
    data.CollimatorType = "NONE"
    data.AttenuationCorrectionMethod = "CT"
    data.ScatterCorrectionMethod = "Model"
    data.RandomsCorrectionMethod = "DLYD"
    data.ReconstructionMethod = "OSEM"
    data.ActualFrameDuration = BED_DURATION_S * 1000
    data.RadiopharmaceuticalInformationSequence = [_tracer(protocol, start)]
    data.PatientOrientationCodeSequence = [_code("102538003", "recumbent")]
    data.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code("40199007", "supine")]
    data.PatientGantryRelationshipCodeSequence = [_code("102540008", "headfirst")]
    vendor = data.private_block(0x0009, "GEMS_PETD_01", create=True)
    vendor.add_new(0x02, "LO", identity.patient_id)
    vendor.add_new(0x0D, "DT", f"{_da(start)}{_tm(start)}")
    return data


def _tracer(protocol: Protocol, start: datetime) -> Dataset:
    injected = start - timedelta(minutes=protocol.uptake_minutes)
    data = Dataset()
    data.Radiopharmaceutical = "FDG"
    data.RadiopharmaceuticalStartTime = _tm(injected)
    if protocol.full_injection_date:
        data.RadiopharmaceuticalStartDateTime = f"{_da(injected)}{_tm(injected)}"
    data.RadionuclideTotalDose = _ds(protocol.injected_bq)
    data.RadionuclideHalfLife = _ds(F18_HALF_LIFE_S)
    data.RadionuclidePositronFraction = "0.967"
    data.RadionuclideCodeSequence = [_code("77004003", "^18^Fluorine")]
    data.RadiopharmaceuticalCodeSequence = [_code("35321007", "Fluorodeoxyglucose F^18^")]
    return data


def _pet_slices(
    name: tuple[int, int], pet: Stack, protocol: Protocol, weight_kg: float, start: datetime
) -> Iterator[Dataset]:
    decay = math.log(2) / F18_HALF_LIFE_S
    dose = protocol.injected_bq
    if protocol.decay_correction == "START":
        dose *= math.exp(-decay * protocol.uptake_minutes * 60)
    bq_per_suv = dose / (weight_kg * 1000)
    depth = pet.voxels.shape[0]
    # The moment of a frame at which activity equals its mean over the frame (Tave of the QIBA SUV pseudo-code).
    duration = float(BED_DURATION_S)
    middle = math.log(decay * duration / (1 - math.exp(-decay * duration))) / decay
    reference = 0.0 if protocol.decay_correction == "START" else protocol.uptake_minutes * 60
    for number, z, own in _slices(name, "PET", pet):
        bed = z * BEDS // depth
        when = start + timedelta(seconds=bed * BED_DURATION_S)
        own.AcquisitionDate, own.AcquisitionTime = _da(when), _tm(when)
        own.ContentDate, own.ContentTime = _da(when), _tm(when)
        seen = bed * duration + middle
        own.FrameReferenceTime = _ds(seen * 1000)
        own.DecayFactor = _ds(math.exp(decay * (seen + reference)))
        own.ImageIndex = number
        activity = pet.voxels[z].astype(np.float64) * bq_per_suv
        top = 32767 if protocol.signed else 65535
        slope = _ds(float(activity.max()) / top) if activity.max() > 0 else "1"
        own.RescaleSlope = slope
        stored = np.clip(np.rint(activity / float(slope)), 0, top).astype("<u2")
        own.add_new("PixelData", "OW", stored.tobytes())
        yield own


def _slices(name: tuple[int, int], series: str, stack: Stack) -> Iterator[tuple[int, int, Dataset]]:
    """Yield (instance number, z index, own elements) from the head down, the way scanners number them."""
    depth = stack.voxels.shape[0]
    x, y, lowest = stack.origin_mm
    for number in range(1, depth + 1):
        z = depth - number
        position = lowest + z * stack.spacing_mm[0]
        own = Dataset()
        own.SOPInstanceUID = uid_of(*name, series, number)
        own.InstanceNumber = number
        own.ImagePositionPatient = [_ds(x), _ds(y), _ds(position)]
        own.SliceLocation = _ds(position)
        yield number, z, own


def _code(value: str, meaning: str) -> Dataset:
    data = Dataset()
    data.CodeValue, data.CodingSchemeDesignator, data.CodeMeaning = value, "SCT", meaning
    return data


def _pn(name: str) -> str:
    """Turn reading order (family, middle, given) into the components of PS3.5 6.2.1."""
    family, *middle, given = name.split()
    return f"{family}^{given}^{' '.join(middle)}"


def _da(when: datetime) -> str:
    return when.strftime("%Y%m%d")


def _tm(when: datetime) -> str:
    return when.strftime("%H%M%S.%f")


def _ds(value: float) -> str:
    rounded = round(value, 4)
    return str(format_number_as_ds(rounded if math.isclose(rounded, value, rel_tol=1e-12) else value))
