"""What SUV needs from the header of a PET image, as plain values with units.

Kept apart from the arithmetic (`petct_cli.volume.suv`), so that anything that can fill a `PetHeader` gets an SUV, and
de-identification can prove that it changed none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from petct_cli.dicom.values import first_item, has_zone, items, number, text, texts, to_date, to_datetime, to_time
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.suv_private import PrivateSources, private_sources

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NO_DATE = date(1900, 1, 1)
_LONGEST_S = 1e7
_HALF_DAY = timedelta(hours=12)
_INJECTION = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)


@dataclass(frozen=True)
class PetHeader:
    """The facts of one PET image (PS3.3 C.8.9.1, C.8.9.4); None where absent, empty or malformed.

    Attributes
    ----------
    series_time, acquisition_time, injection_time
        Local moments. Where the object has no date at all (`has_dates` False) they share an arbitrary day.
    decay_reference_time
        Decay Correction DateTime (0018,9701) of an enhanced PET, whose `decay_correction` is ``DATETIME``.
    injection_clock
        Radiopharmaceutical Start Time, which has no date of its own.
    injection_lead_s
        Seconds from the injection to the scan, where a user vouches for them instead of an injection time.
    injection_zone_unknown
        The injection time names its offset from UTC, but the object does not name that of its other times.
    tracers
        Number of different injections that the object tells of.
    dose
        Radionuclide Total Dose as stored: Bq, or MBq in files that say it wrong.
    nuclide
        ``F-18`` and so on, where the header names one that petct knows.
    """

    units: str | None = None
    suv_type: str | None = None
    corrected_image: frozenset[str] = frozenset()
    decay_correction: str | None = None
    series_time: datetime | None = None
    acquisition_time: datetime | None = None
    decay_reference_time: datetime | None = None
    has_dates: bool = True
    frame_reference_s: float | None = None
    frame_duration_s: float | None = None
    injection_time: datetime | None = None
    injection_clock: time | None = None
    injection_lead_s: float | None = None
    injection_zone_unknown: bool = False
    tracers: int = 1
    dose: float | None = None
    half_life_s: float | None = None
    nuclide: str | None = None
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    private: PrivateSources = field(default_factory=PrivateSources)


def pet_header(dataset: Dataset) -> PetHeader:
    """Extract the `PetHeader` of one PET image; pixel data are not touched."""
    tracer = first_item(dataset, "RadiopharmaceuticalInformationSequence")
    days = _days(dataset)
    series = _moment(days, to_time(text(dataset, "SeriesTime")), "SeriesDate")
    return PetHeader(
        units=_upper(text(dataset, "Units")),
        suv_type=_upper(text(dataset, "SUVType")),
        corrected_image=frozenset(value.upper() for value in texts(dataset, "CorrectedImage")),
        decay_correction=_upper(text(dataset, "DecayCorrection")),
        series_time=series,
        acquisition_time=_acquisition(dataset, days, series),
        decay_reference_time=to_datetime(
            text(dataset, "DecayCorrectionDateTime"), text(dataset, "TimezoneOffsetFromUTC")
        ),
        has_dates=bool(days),
        frame_reference_s=_seconds(number(dataset, "FrameReferenceTime")),
        frame_duration_s=_seconds(number(dataset, "ActualFrameDuration")),
        weight_kg=number(dataset, "PatientWeight"),
        height_m=number(dataset, "PatientSize"),
        sex=_upper(text(dataset, "PatientSex")),
        private=private_sources(dataset),
        **({} if tracer is None else _tracer(dataset, tracer)),  # type: ignore[arg-type]
    )


def pet_headers(datasets: Sequence[Dataset]) -> list[PetHeader]:
    """Return the `PetHeader` of every image of a series."""
    return [pet_header(dataset) for dataset in datasets]


def _tracer(dataset: Dataset, tracer: Dataset) -> dict[str, object]:
    code = first_item(tracer, "RadionuclideCodeSequence")
    nuclide = find_nuclide(
        text(code, "CodeValue") if code is not None else None,
        text(code, "CodeMeaning") if code is not None else None,
        text(tracer, "Radiopharmaceutical"),
    )
    moment, zone = text(tracer, "RadiopharmaceuticalStartDateTime"), text(dataset, "TimezoneOffsetFromUTC")
    injections = {
        tuple(text(item, keyword) for keyword in _INJECTION)
        for item in items(dataset, "RadiopharmaceuticalInformationSequence")
    }
    return {
        "injection_time": to_datetime(moment, zone),
        "injection_zone_unknown": has_zone(moment) and not zone,
        "tracers": len(injections),
        "injection_clock": to_time(text(tracer, "RadiopharmaceuticalStartTime")),
        "dose": number(tracer, "RadionuclideTotalDose"),
        "half_life_s": number(tracer, "RadionuclideHalfLife"),
        "nuclide": nuclide.name if nuclide else None,
    }


def _days(dataset: Dataset) -> dict[str, date]:
    found = {}
    for keyword in ("SeriesDate", "AcquisitionDate", "ContentDate", "StudyDate"):
        day = to_date(text(dataset, keyword))
        if day is not None:
            found[keyword] = day
    return found


def _moment(days: dict[str, date], clock: time | None, keyword: str) -> datetime | None:
    """Join a clock time with its own date, else with the best other date of the object."""
    if clock is None:
        return None
    return datetime.combine(days.get(keyword) or next(iter(days.values()), _NO_DATE), clock)


def _acquisition(dataset: Dataset, days: dict[str, date], series: datetime | None) -> datetime | None:
    moment = _moment(days, to_time(text(dataset, "AcquisitionTime")), "AcquisitionDate")
    if moment is None:
        return to_datetime(text(dataset, "AcquisitionDateTime"), text(dataset, "TimezoneOffsetFromUTC"))
    if "AcquisitionDate" not in days and series is not None and moment < series - _HALF_DAY:
        return moment + timedelta(days=1)  # borrowed the series' date, yet the clock went past midnight
    return moment


def _seconds(milliseconds: float | None) -> float | None:
    """Return milliseconds as seconds; None where no scan can take so long."""
    return None if milliseconds is None or abs(milliseconds) > _LONGEST_S * 1e3 else milliseconds / 1000.0


def _upper(value: str | None) -> str | None:
    return value.upper() if value else None
