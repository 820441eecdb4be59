"""From stored PET values to SUV: the factor, the way it was found, and what went in.

The rule is the vendor-neutral pseudo-code of the QIBA FDG-PET/CT profile, extended by the units and SUV types of
PS3.3 C.8.9.1 and by the vendors' private elements. Nothing is guessed in silence: a missing or absurd input is a
`RecordError` with a code, and a value taken from elsewhere is named in `SuvResult.assumed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

from petct_cli.core.errors import RecordError
from petct_cli.dicom.value_mapping import DECAY_TO_MOMENT
from petct_cli.volume.body_size import body_weight_factor
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.pet_header import PetHeader, pet_header, pet_headers
from petct_cli.volume.suv_assume import DOSE_BQ, NOTHING, WEIGHT_KG, Assumptions
from petct_cli.volume.suv_types import SuvType, suv_type

__all__ = ["PetHeader", "SuvResult", "pet_header", "pet_headers", "suv_factors"]

MBQ_BELOW = 1e5
"""A Radionuclide Total Dose below this is in MBq: no patient gets 0.1 MBq, none gets 100 GBq."""
_HALF_LIFE_TOLERANCE = 0.05
_HALF_LIFE_S = (10.0, 1e9)
_MAX_HALF_LIVES = 10.0


@dataclass(frozen=True)
class SuvResult:
    """How rescaled values (stored x Rescale Slope of the slice + Intercept) become SUV: times a factor.

    Attributes
    ----------
    branch
        The way through the rule, e.g. ``BQML/START``.
    factor
        One factor for the series; None when `per_slice` holds one per header, in the order they were given.
    inputs
        What went in: doses, weights, intervals in seconds. No identifiers, no dates.
    assumed
        Names of inputs that did not come from where the standard puts them: taken from elsewhere, or a user's
        (`Assumptions`).
    type
        Name of the SUV type (`SUV_TYPES`).
    """

    branch: str
    factor: float | None
    per_slice: tuple[float, ...] | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    type: str = "bw"

    def factors(self, count: int) -> tuple[float, ...]:
        """Return one factor per slice."""
        return self.per_slice if self.per_slice is not None else (float(self.factor or 0.0),) * count


@dataclass(frozen=True)
class SuvRule:
    """Which SUV is wanted (a name of `SUV_TYPES`), and what may be assumed for it."""

    kind: str = "bw"
    assume: Assumptions = NOTHING

    def factors(self, headers: Sequence[PetHeader]) -> SuvResult:
        """Return `suv_factors` of one PET series."""
        return suv_factors(headers, self.kind, self.assume)


SUV_BW = SuvRule()


def suv_factors(headers: Sequence[PetHeader], kind: str = "bw", assume: Assumptions = NOTHING) -> SuvResult:
    """Return how to turn the rescaled values of one PET series into SUV.

    Parameters
    ----------
    headers
        One per slice; all of them, because the scan begins with the earliest acquisition of any slice.
    kind
        Name of an SUV type (`SUV_TYPES`).
    assume
        Values for what the headers lack.

    Raises
    ------
    RecordError
        ``suv_correction_mixed``, ``suv_not_attenuation_corrected``, ``suv_units_unsupported``,
        ``suv_type_unsupported``, ``suv_missing_weight`` (``_dose``, ``_height``, ``_sex``, ``_scan_time``,
        ``_injection_time``, ``_frame_time``), ``suv_unknown_half_life``, ``suv_absurd_weight`` (``_dose``,
        ``_height``, ``_half_life``, ``_interval``, ``_factor``), ``suv_injection_after_scan``, ``suv_inconsistent``,
        ``suv_several_tracers``.
    UsageError
        ``bad_suv_type``.
    """
    target = suv_type(kind)
    if not headers:
        _refuse("suv_inconsistent", "the PET series has no slices")
    headers, filled = assume.fill(headers)
    result = _normalised(_stored_or_bw(headers, target), headers, target)
    return replace(result, **_told(result, filled))


def _stored_or_bw(headers: Sequence[PetHeader], target: SuvType) -> SuvResult:
    """Return the way to SUVbw, or to `target` where the values are of that type already."""
    units = _common(headers, "units", "Units")
    decay = _check_corrections(headers)
    if units == "BQML":
        return _from_activity(headers, decay, "BQML", (1.0,) * len(headers), {}, ())
    if units in ("GML", "CM2ML"):
        return _from_suv(headers, units, target)
    if units == "CNTS":
        return _from_counts(headers, decay)
    _refuse("suv_units_unsupported", "PET Units (0054,1001) are none of BQML, GML, CM2ML, CNTS")


def _normalised(result: SuvResult, headers: Sequence[PetHeader], target: SuvType) -> SuvResult:
    if result.type == target.name:
        return result
    weight, height, sex = _body(headers)
    ratio = target.per_body_weight(weight, height, sex)
    inputs: dict[str, Any] = {**result.inputs, "formula": target.stored, "weight_kg": weight, "height_m": height}
    if target.stored != "BSA":
        inputs["sex"] = sex
    factors = tuple(factor * ratio for factor in result.factors(1))
    scaled = _result(result.branch, factors, inputs, result.assumed)
    return replace(scaled, type=target.name)


def _told(result: SuvResult, filled: frozenset[str]) -> dict[str, Any]:
    """Return inputs and assumed names with what a user's values were used for."""
    inputs = dict(result.inputs)
    used = sorted(name for name in filled if name in inputs)
    for name in ("injection_time", "scan_time"):
        if name in used:
            inputs[name] = "assumed"
    return {"inputs": inputs, "assumed": tuple(dict.fromkeys((*result.assumed, *used)))}


def _check_corrections(headers: Sequence[PetHeader]) -> str:
    """Return Decay Correction after holding it against Corrected Image."""
    decay = _common(headers, "decay_correction", "DecayCorrection")
    corrections = _common(headers, "corrected_image", "CorrectedImage")
    if "ATTN" not in corrections:
        _refuse("suv_not_attenuation_corrected", "PET is not corrected for attenuation (0028,0051)")
    if decay not in ("START", "ADMIN", "NONE", DECAY_TO_MOMENT) or ("DECY" in corrections) != (decay != "NONE"):
        _refuse(
            "suv_correction_mixed", "Decay Correction (0054,1102) and Corrected Image (0028,0051) contradict each other"
        )
    return str(decay)


def _from_suv(headers: Sequence[PetHeader], units: str, target: SuvType) -> SuvResult:
    kind = _common(headers, "suv_type", "SUVType") or ("BSA" if units == "CM2ML" else "BW")
    if (units == "CM2ML") != (kind == "BSA"):
        _refuse("suv_type_unsupported", "SUV Type (0054,1006) does not fit Units (0054,1001)")
    branch = f"{units}/{kind}"
    if kind in ("BW", target.stored):
        return SuvResult(branch, 1.0, type=target.name if kind == target.stored else "bw")
    weight, height, sex = _body(headers)
    factor = body_weight_factor(kind, weight, height, sex)
    inputs: dict[str, Any] = {"weight_kg": weight, "height_m": height}
    return SuvResult(branch, factor, inputs=inputs if kind == "BSA" else {**inputs, "sex": sex})


def _from_counts(headers: Sequence[PetHeader], decay: str) -> SuvResult:
    suv = [header.private.philips_suv for header in headers]
    activity = [header.private.philips_bqml for header in headers]
    unnamed = {name for header in headers for name in header.private.without_creator}
    if all(factor is not None for factor in suv):
        assumed = ("philips_suv_creator",) if "philips_suv" in unnamed else ()
        factors = tuple(float(factor or 0.0) for factor in suv)
        told = {"suv_per_count": factors[0]} if len(set(factors)) == 1 else {}
        return _result("CNTS/philips_suv", factors, told, assumed)
    if all(factor is not None for factor in activity):
        assumed = ("philips_bqml_creator",) if "philips_bqml" in unnamed else ()
        scale = tuple(float(factor or 0.0) for factor in activity)
        inputs = {"bqml_per_count": scale[0]} if len(set(scale)) == 1 else {}
        return _from_activity(headers, decay, "CNTS/philips_bqml", scale, inputs, assumed)
    _refuse("suv_units_unsupported", "PET counts (CNTS) without the private scale factors of Philips")


def _from_activity(
    headers: Sequence[PetHeader],
    decay: str,
    branch: str,
    bqml_per_value: tuple[float, ...],
    inputs: dict[str, Any],
    assumed: tuple[str, ...],
) -> SuvResult:
    if any(header.tracers > 1 for header in headers):
        _refuse("suv_several_tracers", "the PET tells of more than one injection (0054,0016)")
    weight = _weight(headers)
    dose, dose_unit = _dose(headers)
    inputs = {**inputs, "weight_kg": weight, "dose_bq": dose}
    if dose_unit != "Bq":
        inputs["dose_unit"] = dose_unit
    if decay == "ADMIN":
        doses = (dose,) * len(headers)
    else:
        half_life, is_assumed = _half_life(headers)
        inputs["half_life_s"] = half_life
        assumed += ("half_life",) if is_assumed else ()
        if not all(header.has_dates for header in headers):
            assumed += ("scan_date",)
        if decay != "NONE":
            scan = None
            if _lead(headers) is None:
                scan, inputs["scan_time"], extra = _scan_time(headers, half_life)
                assumed += extra
            interval, inputs["injection_time"] = _interval(headers, scan, half_life)
            inputs["interval_s"] = interval
            intervals = [interval] * len(headers)
        else:
            intervals, inputs["injection_time"] = _mid_frame_intervals(headers, half_life)
            inputs["interval_s"] = [min(intervals), max(intervals)]
        if inputs["injection_time"] == "start_datetime" and any(header.injection_zone_unknown for header in headers):
            assumed += ("injection_time_zone",)
        doses = tuple(dose * math.exp(-math.log(2.0) * t / half_life) for t in intervals)
    factors = tuple(scale * weight * 1000.0 / left for scale, left in zip(bqml_per_value, doses, strict=True))
    return _result(f"{branch}/{decay}", factors, inputs, assumed)


def _result(branch: str, factors: tuple[float, ...], inputs: dict[str, Any], assumed: tuple[str, ...]) -> SuvResult:
    if not all(math.isfinite(factor) and factor > 0 for factor in factors):
        _refuse("suv_absurd_factor", "the SUV factor is not a positive number")
    if len(set(factors)) == 1:
        return SuvResult(branch, factors[0], None, inputs, assumed)
    return SuvResult(branch, None, factors, inputs, assumed)


def _weight(headers: Sequence[PetHeader]) -> float:
    weight = _common(headers, "weight_kg", "PatientWeight")
    if weight is None or weight <= 0:
        _refuse("suv_missing_weight", "Patient's Weight (0010,1030) is missing or 0")
    if not WEIGHT_KG[0] <= weight <= WEIGHT_KG[1]:
        _refuse("suv_absurd_weight", "Patient's Weight (0010,1030) is no weight in kg")
    return float(weight)


def _body(headers: Sequence[PetHeader]) -> tuple[float, float | None, str | None]:
    """Return weight in kg, height in m and sex; the formulas judge the last two."""
    return _weight(headers), _common(headers, "height_m", "PatientSize"), _common(headers, "sex", "PatientSex")


def _dose(headers: Sequence[PetHeader]) -> tuple[float, str]:
    stored = _common(headers, "dose", "RadionuclideTotalDose")
    if stored is None or stored <= 0:
        _refuse("suv_missing_dose", "Radionuclide Total Dose (0018,1074) is missing or 0")
    unit = "MBq" if stored < MBQ_BELOW else "Bq"
    dose = float(stored) * (1e6 if unit == "MBq" else 1.0)
    if not DOSE_BQ[0] <= dose <= DOSE_BQ[1]:
        _refuse("suv_absurd_dose", "Radionuclide Total Dose (0018,1074) is no dose in Bq or MBq")
    return dose, unit


def _half_life(headers: Sequence[PetHeader]) -> tuple[float, bool]:
    stored = _common(headers, "half_life_s", "RadionuclideHalfLife")
    name = _common(headers, "nuclide", "RadionuclideCodeSequence")
    nuclide = find_nuclide(name) if name else None
    known = nuclide.half_life_s if nuclide else None
    if stored is None or stored <= 0:
        if known is None:
            _refuse("suv_unknown_half_life", "Radionuclide Half Life (0018,1075) is missing and the nuclide not known")
        return known, True
    if known is not None and abs(stored - known) > _HALF_LIFE_TOLERANCE * known:
        _refuse("suv_absurd_half_life", "Radionuclide Half Life (0018,1075) does not fit the nuclide")
    if not _HALF_LIFE_S[0] <= stored <= _HALF_LIFE_S[1]:
        _refuse("suv_absurd_half_life", "Radionuclide Half Life (0018,1075) is none in seconds")
    return float(stored), False


def _scan_time(headers: Sequence[PetHeader], half_life: float) -> tuple[datetime, str, tuple[str, ...]]:
    """Return (moment that the activity is decay-corrected to, where it is from, what was assumed)."""
    if headers[0].decay_correction == DECAY_TO_MOMENT:
        moment = _common(headers, "decay_reference_time", "DecayCorrectionDateTime")
        if moment is None:
            _refuse("suv_missing_scan_time", "Decay Correction DateTime (0018,9701) is missing")
        return moment, "decay_correction_datetime", ()
    timed = [header for header in headers if header.acquisition_time is not None]
    first = min(timed, key=_by_acquisition, default=None)
    earliest = first.acquisition_time if first is not None else None
    series = _series_time(headers)
    if series is not None and (earliest is None or series <= earliest):
        return series, "series", () if earliest is not None else ("scan_time",)
    private = [header.private for header in headers]
    for name in ("ge_scan_time", "siemens_scan_time"):
        moment = min((found for one in private if (found := getattr(one, name)) is not None), default=None)
        # No scan begins after its first frame: such a value was rewritten, or not shifted along with the others.
        if moment is not None and (earliest is None or moment <= earliest):
            unnamed = any(name in one.without_creator for one in private)
            return moment, name, (f"{name}_creator",) if unnamed else ()
    if first is None or earliest is None:
        _refuse("suv_missing_scan_time", "neither Series Time nor Acquisition Time says when the scan began")
    reference, duration = first.frame_reference_s, first.frame_duration_s
    if reference is None or reference <= 0 or duration is None or duration <= 0:
        return earliest, "earliest_acquisition", ("scan_time",)
    decay = math.log(2.0) / half_life * duration
    average = math.log(decay / -math.expm1(-decay)) / (math.log(2.0) / half_life)
    return earliest + timedelta(seconds=average - reference), "back_computed", ()


def _series_time(headers: Sequence[PetHeader]) -> datetime | None:
    """Return the Series Date and Time; slices without Series Date that borrowed days around midnight mean the first."""
    moments = {header.series_time for header in headers if header.series_time is not None}
    if len(moments) > 1 and len({moment.time() for moment in moments}) == 1:
        return min(moments)
    moment: datetime | None = _common(headers, "series_time", "SeriesTime")
    return moment


def _by_acquisition(header: PetHeader) -> tuple[datetime, float]:
    return header.acquisition_time or datetime.max, header.frame_reference_s or 0.0


def _lead(headers: Sequence[PetHeader]) -> float | None:
    """Return the interval from injection to scan in seconds that a user vouches for."""
    lead = _common(headers, "injection_lead_s", "the injection")
    return None if lead is None else float(lead)


def _interval(headers: Sequence[PetHeader], scan: datetime | None, half_life: float) -> tuple[float, str]:
    """Return (seconds from injection to `scan`, where the injection time is from); `scan` is None with a lead only."""
    lead = _lead(headers)
    if scan is None or lead is not None:
        seconds, source = lead or 0.0, "assumed"
    else:
        injection, source = _injection(headers, scan)
        seconds = (scan - injection).total_seconds()
    if seconds < 0:
        _refuse("suv_injection_after_scan", "the injection (0018,1078) is later than the scan")
    if seconds > _MAX_HALF_LIVES * half_life:
        _refuse("suv_absurd_interval", f"injection and scan are more than {_MAX_HALF_LIVES:.0f} half-lives apart")
    return seconds, source


def _injection(headers: Sequence[PetHeader], scan: datetime) -> tuple[datetime, str]:
    moment = _common(headers, "injection_time", "RadiopharmaceuticalStartDateTime")
    if moment is not None and all(header.has_dates for header in headers):
        return moment, "start_datetime"
    clock = moment.time() if moment is not None else _common(headers, "injection_clock", "RadiopharmaceuticalStartTime")
    if clock is None:
        _refuse("suv_missing_injection_time", "no injection time: (0018,1078) and (0018,1072) are missing")
    same_day = datetime.combine(scan.date(), clock)
    if same_day <= scan:
        return same_day, "start_time"
    return same_day - timedelta(days=1), "start_time_previous_day"


def _mid_frame_intervals(headers: Sequence[PetHeader], half_life: float) -> tuple[list[float], str]:
    intervals, source = [], ""
    # One injection for the series: its day follows from the first frame, also when the last is past midnight.
    first = min((h.acquisition_time for h in headers if h.acquisition_time is not None), default=None)
    for header in headers:
        if header.acquisition_time is None or header.frame_duration_s is None or first is None:
            _refuse("suv_missing_frame_time", "a PET without decay correction needs the time of every frame")
        middle = header.acquisition_time + timedelta(seconds=header.frame_duration_s / 2.0)
        to_first, source = _interval(headers, first, half_life)
        intervals.append(to_first + (middle - first).total_seconds())
    return intervals, source


def _common(headers: Sequence[PetHeader], attribute: str, keyword: str) -> Any:
    """Return the value that all slices share."""
    value = getattr(headers[0], attribute)
    if any(getattr(header, attribute) != value for header in headers):
        _refuse("suv_inconsistent", f"the slices of the PET disagree about {keyword}")
    return value


def _refuse(code: str, message: str) -> NoReturn:
    raise RecordError(code, message)
