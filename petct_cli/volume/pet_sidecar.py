"""The facts that an SUV is made from, out of a JSON sidecar: DICOM keywords (dcm2niix) or those of BIDS-PET.

What a sidecar says is put into one `PetHeader`, and the rule of `petct_cli.volume.suv` decides. Keys are those of
dcm2niix's JSON and of the BIDS specification ("Positron Emission Tomography", PET metadata), whose times are seconds
from ``TimeZero``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from petct_cli.core.errors import RecordError
from petct_cli.dicom.values import YEARS, has_zone, to_date, to_datetime, to_time
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.suv import SUV_BW, PetHeader, SuvResult, SuvRule

_UNITS: dict[str, tuple[str, float]] = {
    "BQML": ("BQML", 1.0),
    "BQ/ML": ("BQML", 1.0),
    "BQ/CC": ("BQML", 1.0),
    "KBQ/ML": ("BQML", 1e3),
    "MBQ/ML": ("BQML", 1e6),
    "GML": ("GML", 1.0),
    "G/ML": ("GML", 1.0),
    "SUV": ("GML", 1.0),
    "SUVBW": ("GML", 1.0),
    "CM2ML": ("CM2ML", 1.0),
    "CM2/ML": ("CM2ML", 1.0),
    "CNTS": ("CNTS", 1.0),
    "COUNTS": ("CNTS", 1.0),
}
_ACTIVITY = {"BQ": 1.0, "KBQ": 1e3, "MBQ": 1e6, "GBQ": 1e9, "MCI": 3.7e7}
_NO_CORRECTION = {"", "NONE", "NO", "N/A", "NAC", "UNCORRECTED", "FALSE"}
_DAY = date(1900, 1, 1)
_SOONEST_S = 60.0
_LATEST_S = 1e9


@dataclass(frozen=True)
class Activity:
    """What the values of a PET file are.

    Attributes
    ----------
    units
        ``BQML``, ``GML``, ``CM2ML``, ``CNTS``, or None where nothing says it.
    scale
        Makes Bq/ml of kBq/ml and the like.
    """

    units: str | None
    scale: float = 1.0


def stated_units(facts: Mapping[str, Any]) -> Activity | None:
    """Return what ``Units`` says; None without it, `Activity` of no unit for one that petct does not know."""
    told = _text(facts, "Units", "Unit")
    if told is None:
        return None
    units, scale = _UNITS.get(told.upper().replace(" ", ""), (None, 1.0))
    return Activity(units, scale)


def sidecar_suv(facts: Mapping[str, Any], activity: Activity, suv: SuvRule = SUV_BW) -> SuvResult:
    """Return how the values of a PET file become the SUV that is wanted.

    Parameters
    ----------
    facts
        The sidecar, and what the record adds to it.

    Raises
    ------
    RecordError
        ``suv_*``: as `suv_factors`, of what the sidecar lacks or says wrong.
    """
    header, assumed = _common_header(facts, activity, suv)
    if activity.units == "BQML" and header.decay_correction != "NONE" and _is_bids(facts):
        found = _by_seconds(facts, header, suv)
    else:
        found = suv.factors([header])
    factor = None if found.factor is None else found.factor * activity.scale
    per_slice = None if found.per_slice is None else tuple(value * activity.scale for value in found.per_slice)
    return replace(found, factor=factor, per_slice=per_slice, assumed=(*found.assumed, *assumed))


def _common_header(facts: Mapping[str, Any], activity: Activity, suv: SuvRule) -> tuple[PetHeader, tuple[str, ...]]:
    assumed = []
    decay = _decay(facts)
    if decay is None and activity.units in ("GML", "CM2ML"):
        decay = "START"  # an SUV is corrected to something; what it was does not matter any more
    corrections = _corrections(facts)
    if corrections is None:
        corrections = {"ATTN"}
        assumed.append("attenuation_correction")
    corrections = corrections - {"DECY"} | (set() if decay in (None, "NONE") else {"DECY"})
    nuclide = find_nuclide(
        *(_text(facts, key) for key in ("TracerRadionuclide", "Radionuclide", "Radiopharmaceutical"))
    )
    days, zone = _days(facts), _zone(facts)
    injection = _parsed(_text(facts, "RadiopharmaceuticalStartDateTime"))
    header = PetHeader(
        units=activity.units,
        suv_type=(_text(facts, "SUVType") or "").upper() or None,
        corrected_image=frozenset(corrections),
        decay_correction=decay,
        series_time=_moment(facts, days, "Series", zone),
        acquisition_time=_moment(facts, days, "Acquisition", zone),
        has_dates=bool(days),
        frame_duration_s=_duration(facts),
        injection_time=_local(injection, zone),
        injection_zone_unknown=injection is not None and injection.tzinfo is not None and zone is None,
        injection_clock=to_time(_text(facts, "RadiopharmaceuticalStartTime")),
        dose=_dose(facts),
        half_life_s=_number(facts, "RadionuclideHalfLife", "TracerHalfLife"),
        nuclide=nuclide.name if nuclide else None,
        weight_kg=_number(facts, "PatientWeight", "BodyWeight"),
        height_m=_number(facts, "PatientSize"),
        sex=(_text(facts, "PatientSex") or "").upper()[:1] or None,
    )
    if activity.units == "BQML" and decay is None:
        if header.dose is None and suv.assume.dose_bq is None:
            raise RecordError("suv_missing_dose", "nothing beside the PET says how much was injected")
        raise RecordError("suv_correction_mixed", "the sidecar does not say to what time the PET is decay-corrected")
    return header, tuple(assumed)


def _is_bids(facts: Mapping[str, Any]) -> bool:
    clocks = ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")
    return _number(facts, "InjectionStart") is not None and all(_text(facts, key) is None for key in clocks)


def _by_seconds(facts: Mapping[str, Any], header: PetHeader, suv: SuvRule) -> SuvResult:
    """Apply the rule to BIDS times: decay from ``InjectionStart`` to ``ImageDecayCorrectionTime``."""
    injection, scan = _number(facts, "InjectionStart"), _number(facts, "ScanStart")
    corrected_to = _number(facts, "ImageDecayCorrectionTime")
    assumed: tuple[str, ...] = ()
    if corrected_to is None:
        corrected_to, assumed = scan, ("decay_correction_time",)
    if corrected_to is None or injection is None:
        raise RecordError("suv_missing_scan_time", "neither ImageDecayCorrectionTime nor ScanStart is in the sidecar")
    if not all(abs(moment) <= _LATEST_S for moment in (injection, corrected_to)):
        raise RecordError("suv_absurd_interval", "the times of the sidecar are no seconds of one examination")
    if scan is not None and abs(scan - injection) < _SOONEST_S:
        # Tools that do not know the injection write 0 for both; one static image of the first minute is no use either.
        raise RecordError("suv_absurd_interval", "the sidecar lets injection and scan start together")
    start = datetime.combine(_DAY, time())
    at = start + timedelta(seconds=corrected_to)
    header = replace(
        header,
        decay_correction="START",
        series_time=at,
        acquisition_time=at,
        has_dates=True,
        injection_time=start + timedelta(seconds=injection),
        injection_clock=None,
    )
    found = suv.factors([header])
    told = {**found.inputs, "scan_time": "image_decay_correction_time", "injection_time": "injection_start"}
    return replace(found, inputs=told, assumed=(*found.assumed, *assumed))


def _decay(facts: Mapping[str, Any]) -> str | None:
    told = _text(facts, "DecayCorrection")
    if told is not None:
        return told.upper()
    flag = facts.get("ImageDecayCorrected")
    return None if not isinstance(flag, bool) else "START" if flag else "NONE"


def _corrections(facts: Mapping[str, Any]) -> set[str] | None:
    listed = facts.get("CorrectedImage")
    if isinstance(listed, list):
        return {str(value).upper() for value in listed}
    told = _text(facts, "AttenuationCorrection", "AttenuationCorrectionMethod")
    if told is None:
        return None
    return set() if told.upper() in _NO_CORRECTION else {"ATTN"}


def _dose(facts: Mapping[str, Any]) -> float | None:
    stored = _number(facts, "RadionuclideTotalDose")
    if stored is not None:
        return stored
    injected = _number(facts, "InjectedRadioactivity")
    unit = (_text(facts, "InjectedRadioactivityUnits") or "").upper()
    return None if injected is None or unit not in _ACTIVITY else injected * _ACTIVITY[unit]


def _days(facts: Mapping[str, Any]) -> list[date]:
    told = (_text(facts, key) for key in ("SeriesDate", "AcquisitionDate", "StudyDate", "AcquisitionDateTime"))
    return [day for value in told if (day := to_date((value or "")[:10])) is not None]


def _moment(facts: Mapping[str, Any], days: list[date], what: str, zone: timezone | None) -> datetime | None:
    clock = to_time(_text(facts, f"{what}Time"))
    if clock is None:
        return _local(_parsed(_text(facts, f"{what}DateTime")), zone)
    own = to_date(_text(facts, f"{what}Date"))
    return datetime.combine(own or (days[0] if days else _DAY), clock)


def _zone(facts: Mapping[str, Any]) -> timezone | None:
    """Return the zone of the scanner's clock, where anything tells it."""
    own = _offset(_text(facts, "TimezoneOffsetFromUTC"))
    scans = (_parsed(_text(facts, key)) for key in ("SeriesDateTime", "AcquisitionDateTime"))
    told = (moment.utcoffset() for moment in scans if moment is not None)
    return own or next((timezone(offset) for offset in told if offset is not None), None)


def _offset(told: str | None) -> timezone | None:
    """Read an offset from UTC, ``+0700`` or ``+07:00``."""
    try:
        return timezone(datetime.strptime(told or "", "%z").utcoffset() or timedelta())
    except ValueError:
        return None


def _parsed(told: str | None) -> datetime | None:
    """Read a DICOM DT or an ISO 8601 text, with its zone if it names one."""
    moment = to_datetime(told)
    if moment is not None and told is not None:
        return moment.replace(tzinfo=_offset(told[-5:])) if has_zone(told) else moment
    try:
        moment = None if told is None else datetime.fromisoformat(told)
    except ValueError:
        return None
    return moment if moment is not None and moment.year in YEARS else None


def _local(moment: datetime | None, zone: timezone | None) -> datetime | None:
    """Return a moment by the scanner's clock; without its `zone` that of the moment is dropped (`to_datetime`)."""
    if moment is None or moment.tzinfo is None or zone is None:
        return None if moment is None else moment.replace(tzinfo=None)
    return moment.astimezone(zone).replace(tzinfo=None)


def _duration(facts: Mapping[str, Any]) -> float | None:
    value = facts.get("FrameDuration")
    seconds = _as_number(value[0] if isinstance(value, list) and len(value) == 1 else value)
    return seconds if seconds is not None and abs(seconds) <= _LATEST_S else None


def _number(facts: Mapping[str, Any], *keys: str) -> float | None:
    return next((found for key in keys if (found := _as_number(facts.get(key))) is not None), None)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(facts: Mapping[str, Any], *keys: str) -> str | None:
    return next((value.strip() for key in keys if isinstance(value := facts.get(key), str) and value.strip()), None)
