"""The rule for SUV row by row: whole series on disk, and factors worked out from the header with other arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import write_series
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import quiet_pydicom, read_instance
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.series_volume import SeriesVolume, read_pet

Change = Callable[[Dataset, int], None]
VALUES = np.arange(1, 4 * 3 * 3 + 1).reshape(4, 3, 3)


def left(hours: float, half_life_s: float = 6586.2, bq: float = 350e6) -> float:
    """Activity in Bq after some hours."""
    return float(bq * np.exp2(-hours * 3600 / half_life_s))


def bw(hours: float, **of_dose: float) -> float:
    """The factor of the factory's PET (70 kg, 350 MBq at 10:00, scan at 11:00) after some hours of decay."""
    return 70_000 / left(hours, **of_dose)


def put(**elements: Any) -> Change:
    """Set elements (None removes them), those of the injection in its sequence."""

    def change(dataset: Dataset, k: int) -> None:
        tracer = dataset.RadiopharmaceuticalInformationSequence[0]
        for keyword, value in elements.items():
            place = tracer if keyword.startswith("Radio") and not keyword.endswith("tionSequence") else dataset
            if value is None:
                if keyword in place:
                    delattr(place, keyword)
            else:
                setattr(place, keyword, value[k] if isinstance(value, tuple) else value)

    return change


def private(group: int, creator: str | None, element: int, value: Any, vr: str = "DT") -> Change:
    def change(dataset: Dataset, k: int) -> None:
        told = value[k] if isinstance(value, tuple) else value
        if creator is not None:
            dataset.add_new((group, 0x0010), "LO", creator)
        dataset.add_new((group, 0x1000 | element), vr, told)

    return change


PHILIPS, GE, SIEMENS = "Philips PET Private Group", "GEMS_PETD_01", "SIEMENS MED PT"
COUNTS = put(Units="CNTS")
UNDECAYED = put(DecayCorrection="NONE", CorrectedImage=["ATTN", "SCAT"], ActualFrameDuration=120000)
TAVE_120 = -6586.2 / np.log(2) * np.log(6586.2 / np.log(2) / 120 * (1 - np.exp2(-120 / 6586.2)))
"""Seconds into a frame of 2 min at which F-18 has its average activity: ln(x / (1 - exp(-x))) / L, x = L T."""
REWRITTEN = put(SeriesTime="140000", FrameReferenceTime=None)

# What is changed; the factor (one, or one per slice); branch; what is said to be assumed.
ROWS: dict[str, tuple[Sequence[Change], float | tuple[float, ...], str, tuple[str, ...]]] = {
    # Decay correction
    "START": ((), bw(1), "BQML/START", ()),
    "ADMIN": ((put(DecayCorrection="ADMIN"),), bw(0), "BQML/ADMIN", ()),
    "ADMIN needs no times": (
        (put(DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None, RadiopharmaceuticalStartTime=None,
             RadionuclideHalfLife=None),), bw(0), "BQML/ADMIN", ()),
    "NONE, frames of one time": ((UNDECAYED,), bw(1 + 1 / 60), "BQML/NONE", ()),
    "NONE, beds": (
        (UNDECAYED, put(AcquisitionTime=("110000", "110000", "110230", "110230"))),
        (bw(1 + 60 / 3600), bw(1 + 60 / 3600), bw(1 + 210 / 3600), bw(1 + 210 / 3600)), "BQML/NONE", ()),
    "NONE, durations": (
        (UNDECAYED, put(ActualFrameDuration=(120000, 120000, 240000, 240000))),
        (bw(1 + 60 / 3600), bw(1 + 60 / 3600), bw(1 + 120 / 3600), bw(1 + 120 / 3600)), "BQML/NONE", ()),
    "NONE, midnight in the scan": (
        (UNDECAYED, put(SeriesTime="235500", AcquisitionTime=("235500", "235800", "000100", "000400"),
                        AcquisitionDate=("20240305", "20240305", "20240306", "20240306"),
                        RadiopharmaceuticalStartTime="225500")),
        tuple(bw(1 + (60 + 180 * k) / 3600) for k in range(4)), "BQML/NONE", ()),
    "NONE, midnight in the scan, no acquisition date": (
        (UNDECAYED, put(SeriesTime="235500", AcquisitionTime=("235500", "235800", "000100", "000400"),
                        AcquisitionDate=None, RadiopharmaceuticalStartTime="225500")),
        tuple(bw(1 + (60 + 180 * k) / 3600) for k in range(4)), "BQML/NONE", ()),
    "NONE, injected the evening before": (
        (UNDECAYED, put(SeriesTime="001000", AcquisitionTime="001000", RadiopharmaceuticalStartTime="231000")),
        bw(1 + 1 / 60), "BQML/NONE", ()),
    # When the scan began
    "beds, series time first": (
        (put(AcquisitionTime=("110900", "110600", "110300", "110000")),), bw(1), "BQML/START", ()),
    "series time before the first frame": ((put(AcquisitionTime="110500"),), bw(1), "BQML/START", ()),
    "midnight in the scan": (
        (put(SeriesTime="235500", AcquisitionTime=("235500", "235800", "000100", "000400"),
             AcquisitionDate=("20240305", "20240305", "20240306", "20240306"),
             RadiopharmaceuticalStartTime="225500"),), bw(1), "BQML/START", ()),
    "midnight in the scan, no series date": (
        (put(SeriesDate=None, SeriesTime="235500", AcquisitionTime=("235500", "235800", "000100", "000400"),
             AcquisitionDate=("20240305", "20240305", "20240306", "20240306"),
             RadiopharmaceuticalStartTime="225500"),), bw(1), "BQML/START", ()),
    "midnight in the scan, no dates": (
        (put(SeriesDate=None, StudyDate=None, AcquisitionDate=None, SeriesTime="235500",
             AcquisitionTime=("235500", "235800", "000100", "000400"), RadiopharmaceuticalStartTime="225500"),),
        bw(1), "BQML/START", ("scan_date",)),
    "one date for all": ((put(AcquisitionDate=None, StudyDate=None),), bw(1), "BQML/START", ()),
    "acquisition moment in one element": (
        (put(AcquisitionDate=None, AcquisitionTime=None, AcquisitionDateTime="20240305110000.00"),),
        bw(1), "BQML/START", ()),
    "series time only": ((put(AcquisitionTime=None),), bw(1), "BQML/START", ("scan_time",)),
    "GE": (
        (REWRITTEN, private(0x0009, GE, 0x0D, "20240305104500.00")), bw(0.75), "BQML/START", ()),
    "GE, not asked where series time is good": (
        (private(0x0009, GE, 0x0D, "20240305104500.00"),), bw(1), "BQML/START", ()),
    "GE, beds": (
        (REWRITTEN, private(0x0009, GE, 0x0D, ("202403051100", "202403051100", "202403051050", "202403051055"))),
        bw(5 / 6), "BQML/START", ()),
    "GE as bytes without creator": (
        (REWRITTEN, put(Manufacturer="GE MEDICAL SYSTEMS"), private(0x0009, None, 0x0D, b"20240305104500.00 ", "UN")),
        bw(0.75), "BQML/START", ("ge_scan_time_creator",)),
    "GE before Siemens": (
        (REWRITTEN, private(0x0009, GE, 0x0D, "20240305104500"), private(0x0071, SIEMENS, 0x22, "20240305103000")),
        bw(0.75), "BQML/START", ()),
    "Siemens": ((REWRITTEN, private(0x0071, SIEMENS, 0x22, "20240305105500.000000")), bw(11 / 12), "BQML/START", ()),
    "Siemens without creator": (
        (REWRITTEN, put(Manufacturer="SIEMENS"), private(0x0071, None, 0x22, "20240305105500")),
        bw(11 / 12), "BQML/START", ("siemens_scan_time_creator",)),
    "Siemens time with a zone": (
        (REWRITTEN, put(TimezoneOffsetFromUTC="+0700"), private(0x0071, SIEMENS, 0x22, "20240305035500.000000+0000")),
        bw(11 / 12), "BQML/START", ()),
    "back-computed": (
        (put(SeriesTime="140000", AcquisitionTime="111500", FrameReferenceTime=f"{(900 + TAVE_120) * 1000:.6f}"),),
        bw(1), "BQML/START", ()),
    "back-computed, beds": (
        (put(SeriesTime="140000", AcquisitionTime=("110900", "110000", "110300", "110600"),
             FrameReferenceTime=tuple(f"{(s + TAVE_120) * 1000:.6f}" for s in (540, 0, 180, 360))),),
        bw(1), "BQML/START", ()),
    "back-computed over midnight": (
        (put(SeriesDate="20240306", SeriesTime="140000", AcquisitionDate="20240306", AcquisitionTime="001000",
             FrameReferenceTime=f"{(1200 + TAVE_120) * 1000:.6f}", RadiopharmaceuticalStartTime="225000"),),
        bw(1), "BQML/START", ()),
    "earliest frame at last": (
        (REWRITTEN, put(AcquisitionTime=("110900", "110600", "110300", "110000"))),
        bw(1), "BQML/START", ("scan_time",)),
    # The injection
    "moment before clock": (
        (put(RadiopharmaceuticalStartDateTime="20240305093000", RadiopharmaceuticalStartTime="100000"),),
        bw(1.5), "BQML/START", ()),
    "moment of the day before": (
        (put(RadiopharmaceuticalStartDateTime="20240304233000", SeriesTime="003000", AcquisitionTime="003000"),),
        bw(1), "BQML/START", ()),
    "clock of the day before": (
        (put(RadiopharmaceuticalStartTime="233000", SeriesTime="003000", AcquisitionTime="003000"),),
        bw(1), "BQML/START", ()),
    "moment with a zone": (
        (put(TimezoneOffsetFromUTC="+0700", RadiopharmaceuticalStartDateTime="20240305030000.00+0000"),),
        bw(1), "BQML/START", ()),
    "moment with a zone over midnight": (
        (put(TimezoneOffsetFromUTC="-0500", RadiopharmaceuticalStartDateTime="20240306013000+0000",
             SeriesTime="213000", AcquisitionTime="213000"),), bw(1), "BQML/START", ()),
    "a day without time says nothing": (
        (put(RadiopharmaceuticalStartDateTime="20240305"),), bw(1), "BQML/START", ()),
    # Dose, half-life
    "MBq": ((put(RadionuclideTotalDose="368.08"),), bw(1, bq=368.08e6), "BQML/START", ()),
    "Ga-68 as stored": (
        (put(RadionuclideHalfLife="4057.7", RadionuclideCodeSequence=None),),
        bw(1, half_life_s=4057.7), "BQML/START", ()),
    "no half-life": ((put(RadionuclideHalfLife=None),), bw(1), "BQML/START", ("half_life",)),
    "half-life 0": ((put(RadionuclideHalfLife=0),), bw(1), "BQML/START", ("half_life",)),
    "half-life by the tracer's name": (
        (put(RadionuclideHalfLife=None, RadionuclideCodeSequence=None, Radiopharmaceutical="Ga68-PSMA"),),
        bw(1, half_life_s=4057.7), "BQML/START", ("half_life",)),
    # Counts
    "Philips factor": ((COUNTS, private(0x7053, PHILIPS, 0x00, "0.0125", "DS")), 0.0125, "CNTS/philips_suv", ()),
    "Philips factor, both": (
        (COUNTS, private(0x7053, PHILIPS, 0x00, "0.0125", "DS"), private(0x7053, PHILIPS, 0x09, "3.5", "DS")),
        0.0125, "CNTS/philips_suv", ()),
    "Philips factor by slice": (
        (COUNTS, private(0x7053, PHILIPS, 0x00, ("0.01", "0.02", "0.03", "0.04"), "DS")),
        (0.01, 0.02, 0.03, 0.04), "CNTS/philips_suv", ()),
    "Philips factor needs no body": (
        (COUNTS, put(PatientWeight=None, RadionuclideTotalDose=None), private(0x7053, PHILIPS, 0x00, "0.0125", "DS")),
        0.0125, "CNTS/philips_suv", ()),
    "Philips without creator": (
        (COUNTS, put(Manufacturer="Philips Medical Systems"), private(0x7053, None, 0x00, b"0.0125", "UN")),
        0.0125, "CNTS/philips_suv", ("philips_suv_creator",)),
    "Philips activity": (
        (COUNTS, private(0x7053, PHILIPS, 0x09, "3.5", "DS")), 3.5 * bw(1), "CNTS/philips_bqml/START", ()),
    "Philips factor 0, activity": (
        (COUNTS, private(0x7053, PHILIPS, 0x00, "0", "DS"), private(0x7053, PHILIPS, 0x09, "3.5", "DS")),
        3.5 * bw(1), "CNTS/philips_bqml/START", ()),
    "Philips activity, ADMIN": (
        (COUNTS, put(DecayCorrection="ADMIN"), private(0x7053, PHILIPS, 0x09, "3.5", "DS")),
        3.5 * bw(0), "CNTS/philips_bqml/ADMIN", ()),
    "Philips activity by slice, NONE": (
        (COUNTS, UNDECAYED, put(AcquisitionTime=("110000", "110300", "110600", "110900")),
         private(0x7053, PHILIPS, 0x09, ("1", "2", "3", "4"), "DS")),
        tuple((k + 1) * bw(1 + (60 + 180 * k) / 3600) for k in range(4)), "CNTS/philips_bqml/NONE", ()),
    # SUV of some type: a woman of 70 kg and 175 cm
    "GML": ((put(Units="GML"),), 1.0, "GML/BW", ()),
    "GML, BW": ((put(Units="GML", SUVType="BW"),), 1.0, "GML/BW", ()),
    "GML, NONE": ((put(Units="GML"), UNDECAYED), 1.0, "GML/BW", ()),
    "GML, LBM": ((put(Units="GML", SUVType="LBM"),), 70 / 51.22, "GML/LBM", ()),
    "GML, LBMJAMES128": ((put(Units="GML", SUVType="LBMJAMES128"),), 70 / 51.22, "GML/LBMJAMES128", ()),
    "GML, LBM of a man": ((put(Units="GML", SUVType="LBM", PatientSex="M"),), 70 / 57.8, "GML/LBM", ()),
    "GML, LBMJAMES128 of a man": (
        (put(Units="GML", SUVType="LBMJAMES128", PatientSex="M"),), 70 / 56.52, "GML/LBMJAMES128", ()),
    "GML, LBMJANMA": ((put(Units="GML", SUVType="LBMJANMA"),), (8780 + 244 * 70 / 1.75**2) / 9270, "GML/LBMJANMA", ()),
    "GML, IBW of neither": ((put(Units="GML", SUVType="IBW", PatientSex="O"),), 70 / 69.405, "GML/IBW", ()),
    "CM2ML": ((put(Units="CM2ML"),), 70e3 / (71.84 * 70**0.425 * 175**0.725), "CM2ML/BSA", ()),
}  # fmt: skip


def read(folder: Path, *changes: Change, implicit: bool = False) -> SeriesVolume:
    def change(dataset: Dataset, k: int) -> None:
        for one in changes:
            one(dataset, k)

    paths = write_series(folder, "PT", VALUES, change=change)
    if implicit:
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=True)
    with quiet_pydicom():
        return read_pet([read_instance(path) for path in paths])


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_row(tmp_path: Path, name: str, implicit: bool) -> None:
    changes, factor, branch, assumed = ROWS[name]
    found = read(tmp_path, *changes, implicit=implicit)
    assert found.suv is not None
    assert (found.suv.branch, found.suv.assumed) == (branch, assumed)
    factors = np.broadcast_to(np.asarray(factor, float).reshape(-1, 1, 1), (4, 1, 1))
    # Intervals count to the microsecond, as DICOM does.
    np.testing.assert_allclose(found.suv.factors(4), factors.ravel(), rtol=2e-8)
    np.testing.assert_allclose(found.array, VALUES * factors, rtol=3e-7)


REFUSALS: dict[str, tuple[Sequence[Change], str]] = {
    "no attenuation correction": ((put(CorrectedImage=["DECY"]),), "suv_not_attenuation_corrected"),
    "no list of corrections": ((put(CorrectedImage=None),), "suv_not_attenuation_corrected"),
    "START without DECY": ((put(CorrectedImage=["ATTN"]),), "suv_correction_mixed"),
    "ADMIN without DECY": ((put(CorrectedImage=["ATTN"], DecayCorrection="ADMIN"),), "suv_correction_mixed"),
    "NONE with DECY": ((put(DecayCorrection="NONE"),), "suv_correction_mixed"),
    "no word on decay": ((put(DecayCorrection=None),), "suv_correction_mixed"),
    "unknown word on decay": ((put(DecayCorrection="SCAN"),), "suv_correction_mixed"),
    "GML is held to it too": ((put(Units="GML", CorrectedImage=["ATTN"]),), "suv_correction_mixed"),
    "no units": ((put(Units=None),), "suv_units_unsupported"),
    "relative counts": ((put(Units="PROPCNTS"),), "suv_units_unsupported"),
    "counts without a factor": ((COUNTS,), "suv_units_unsupported"),
    "counts, factor 0": ((COUNTS, private(0x7053, PHILIPS, 0x00, "0", "DS")), "suv_units_unsupported"),
    "counts, another creator": ((COUNTS, private(0x7053, "SOMEBODY", 0x00, "2", "DS")), "suv_units_unsupported"),
    "counts, no creator, another maker": (
        (COUNTS, put(Manufacturer="GE"), private(0x7053, None, 0x00, b"2 ", "UN")), "suv_units_unsupported"),
    "counts, negative factor": ((COUNTS, private(0x7053, PHILIPS, 0x00, "-2", "DS")), "suv_absurd_factor"),
    "counts, factor of some slices": (
        (COUNTS, private(0x7053, PHILIPS, 0x00, ("2", "0", "2", "2"), "DS")), "suv_units_unsupported"),
    "SUV type of another unit": ((put(Units="GML", SUVType="BSA"),), "suv_type_unsupported"),
    "surface called weight": ((put(Units="CM2ML", SUVType="BW"),), "suv_type_unsupported"),
    "unknown SUV type": ((put(Units="GML", SUVType="LBMX"),), "suv_type_unsupported"),
    "weight 0": ((put(PatientWeight=0),), "suv_missing_weight"),
    "no weight": ((put(PatientWeight=None),), "suv_missing_weight"),
    "weight in g": ((put(PatientWeight=70000),), "suv_absurd_weight"),
    "no height": ((put(Units="CM2ML", PatientSize=None),), "suv_missing_height"),
    "height in cm": ((put(Units="CM2ML", PatientSize=175),), "suv_absurd_height"),
    "no sex": ((put(Units="GML", SUVType="IBW", PatientSex=None),), "suv_missing_sex"),
    "dose 0": ((put(RadionuclideTotalDose=0),), "suv_missing_dose"),
    "no dose": ((put(RadionuclideTotalDose=None),), "suv_missing_dose"),
    "dose in GBq": ((put(RadionuclideTotalDose="0.35"),), "suv_absurd_dose"),
    "dose in kBq": ((put(RadionuclideTotalDose="350000"),), "suv_absurd_dose"),
    "no injection": ((put(RadiopharmaceuticalInformationSequence=[]),), "suv_missing_dose"),
    "no half-life, unknown nuclide": (
        (put(RadionuclideHalfLife=None, RadionuclideCodeSequence=None),), "suv_unknown_half_life"),
    "half-life in minutes": ((put(RadionuclideHalfLife="109.77"),), "suv_absurd_half_life"),
    "half-life of another nuclide": ((put(RadionuclideHalfLife="4057.7"),), "suv_absurd_half_life"),
    "no injection time": ((put(RadiopharmaceuticalStartTime=None),), "suv_missing_injection_time"),
    "an hour alone": ((put(RadiopharmaceuticalStartTime="10"),), "suv_missing_injection_time"),
    "no scan time": ((put(SeriesTime=None, AcquisitionTime=None),), "suv_missing_scan_time"),
    "injection after the scan": (
        (put(RadiopharmaceuticalStartDateTime="20240305110001"),), "suv_injection_after_scan"),
    "injection of another week": ((put(RadiopharmaceuticalStartDateTime="20240227100000"),), "suv_absurd_interval"),
    "NONE without frame times": ((UNDECAYED, put(ActualFrameDuration=None)), "suv_missing_frame_time"),
    "slices of two weights": ((put(PatientWeight=("70", "70", "71", "70")),), "suv_inconsistent"),
    "slices of two units": ((put(Units=("BQML", "BQML", "GML", "BQML")),), "suv_inconsistent"),
    "slices of two doses": ((put(RadionuclideTotalDose=("3e8", "3e8", "3e8", "4e8")),), "suv_inconsistent"),
    "slices of two series times": ((put(SeriesTime=("110000", "110000", "105900", "110000")),), "suv_inconsistent"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(tmp_path: Path, name: str) -> None:
    changes, code = REFUSALS[name]
    with pytest.raises(RecordError) as fault:
        read(tmp_path, *changes)
    assert fault.value.code == code


def test_the_largest_gap_that_counts(tmp_path: Path) -> None:
    """Ten half-lives of F-18 are 18.3 hours."""
    evening = put(RadiopharmaceuticalStartDateTime="20240304164300")
    found = read(tmp_path / "a", evening)
    assert found.suv is not None
    assert found.suv.inputs["interval_s"] == 65820.0
    with pytest.raises(RecordError):
        read(tmp_path / "b", put(RadiopharmaceuticalStartDateTime="20240304164000"))


@pytest.mark.parametrize(
    ("said", "nuclide"),
    [
        ("FDG 350", "F-18"), ("18F-FDG", "F-18"), ("[18F]FDG", "F-18"), ("F-18 FDG", "F-18"), ("F 18", "F-18"),
        ("^18^Fluorine", "F-18"), ("Ga68-PSMA", "Ga-68"), ("68Ga-DOTATATE", "Ga-68"), ("[68Ga]Ga-PSMA-11", "Ga-68"),
        ("99mTc-MDP", "Tc-99m"), ("PSMA-1007", None), ("DCFPyL", None), ("20", None), ("dose 18", None), ("", None),
    ],
)  # fmt: skip
def test_nuclides_in_names(said: str, nuclide: str | None) -> None:
    found = find_nuclide(None, said)
    assert (found.name if found else None) == nuclide
