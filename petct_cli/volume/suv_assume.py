"""``--assume NAME=VALUE``: what a user vouches for where a PET header is silent.

An assumed value fills only what is missing, empty or 0 in all slices of a series. A value that is there stays, and one
that is absurd stays refused: nobody can tell whether such a file means the patient that the user has in mind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any

from petct_cli.core.errors import UsageError
from petct_cli.dicom.value_mapping import DECAY_TO_MOMENT
from petct_cli.dicom.values import to_datetime, to_number, to_time
from petct_cli.volume.body_size import HEIGHT_M
from petct_cli.volume.pet_header import PetHeader

WEIGHT_KG = (0.2, 500.0)
DOSE_BQ = (1e6, 5e10)
HALF_LIFE_S = (10.0, 1e7)
_INTERVAL_S = (1.0, 1e6)
_NO_DATE = date(1900, 1, 1)
_SEXES = ("M", "F", "O")
Moment = datetime | time


@dataclass(frozen=True)
class Assumptions:
    """Values for what a header lacks; None: nothing is assumed.

    Attributes
    ----------
    injection_time, scan_time
        A moment, or a time of the day that gets its day as Radiopharmaceutical Start Time does.
    interval_s
        From the injection to the moment that the activity is decay-corrected to (without decay correction: to the
        first acquisition); stands in for an injection time.
    """

    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None
    injection_time: Moment | None = None
    scan_time: Moment | None = None
    interval_s: float | None = None

    def __str__(self) -> str:
        """Name every value that is set, in one order and spelling: part of what a result depends on."""
        told = ((one.name, getattr(self, one.name)) for one in fields(self))
        return " ".join(f"{name}={_spelled(value)}" for name, value in told if value is not None)

    def fill(self, headers: Sequence[PetHeader]) -> tuple[list[PetHeader], frozenset[str]]:
        """Return the headers with gaps filled, and the names of what was filled."""
        found: dict[str, Any] = {}
        for name, attribute in _ATTRIBUTES.items():
            value = getattr(self, name)
            if value is not None and not any(_is_given(name, getattr(one, attribute)) for one in headers):
                found[name] = value
        timed = any(map(_is_timed, headers))
        injected = any(one.injection_time or one.injection_clock for one in headers)
        for name, is_there in (("scan_time", timed), ("injection_time", injected)):
            if getattr(self, name) is not None and not is_there:
                found[name] = getattr(self, name)
        if self.interval_s is not None and not (timed and injected):
            found["interval_s"] = self.interval_s
        if not found:
            return list(headers), frozenset()
        return [_filled(header, found) for header in headers], frozenset(found)


NOTHING = Assumptions()
_ATTRIBUTES = {
    "weight_kg": "weight_kg",
    "height_m": "height_m",
    "sex": "sex",
    "dose_bq": "dose",
    "half_life_s": "half_life_s",
}


def _is_given(name: str, value: Any) -> bool:
    return value in _SEXES if name == "sex" else value is not None and value > 0


def _is_timed(header: PetHeader) -> bool:
    if header.decay_correction == DECAY_TO_MOMENT:
        return header.decay_reference_time is not None
    return header.series_time is not None or header.acquisition_time is not None


def _filled(header: PetHeader, found: dict[str, Any]) -> PetHeader:
    changes: dict[str, Any] = {_ATTRIBUTES[name]: value for name, value in found.items() if name in _ATTRIBUTES}
    injection = found.get("injection_time")
    if isinstance(injection, datetime):
        changes["injection_time"] = injection
    elif injection is not None:
        changes["injection_clock"] = injection
    if "interval_s" in found:
        changes["injection_lead_s"] = found["interval_s"]
    if "scan_time" in found:
        known = injection if isinstance(injection, datetime) else header.injection_time
        attribute = "decay_reference_time" if header.decay_correction == DECAY_TO_MOMENT else "series_time"
        changes[attribute] = _scan_moment(found["scan_time"], known)
    return replace(header, **changes)


def _scan_moment(scan: Moment, injection: datetime | None) -> datetime:
    if isinstance(scan, datetime):
        return scan
    moment = datetime.combine(injection.date() if injection else _NO_DATE, scan)
    return moment + timedelta(days=1) if injection is not None and moment < injection else moment


def parse_assumptions(texts: Iterable[str]) -> Assumptions:
    """Read ``NAME=VALUE`` texts.

    The bounds are those that headers are held to. Messages name the value's name, never the value.

    Raises
    ------
    UsageError
        ``bad_assumption``: no such name, a value out of bounds, or one thing said twice.

    Examples
    --------
    >>> str(parse_assumptions(["dose_mbq=350", "weight_kg=70"]))
    'weight_kg=70.0 dose_bq=350000000.0'
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or name not in _READERS:
            raise _refused(_no_such_name(name) if equals else "--assume takes NAME=VALUE")
        told, read, expected = _READERS[name]
        known = read(value.strip())
        if known is None:
            raise _refused(f"--assume {name}: {expected}")
        if told in found:
            raise _refused(f"--assume {name}: said twice")
        found[told] = known
    if "interval_s" in found and "injection_time" in found:
        raise _refused("--assume takes injection_time or interval_s, not both")
    return Assumptions(**found)


def _refused(message: str) -> UsageError:
    return UsageError("bad_assumption", message, f"names: {', '.join(_READERS)}")


def _no_such_name(name: str) -> str:
    near = get_close_matches(name, _READERS, 1)
    return f"--assume knows no such name; {near[0]} was perhaps meant" if near else "--assume knows no such name"


def _within(limits: tuple[float, float], unit: float = 1.0) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        value = to_number(text)
        return value * unit if value is not None and limits[0] <= value * unit <= limits[1] else None

    return read


def _sex(text: str) -> str | None:
    return text.upper() if text.upper() in _SEXES else None


def _moment(text: str) -> Moment | None:
    plain = text.replace("-", "").replace("T", "").replace(":", "")
    return to_time(plain) or to_datetime(plain)


_CLOCK = "a time is HH:MM[:SS], or YYYY-MM-DDTHH:MM[:SS] of the scanner's clock"
_READERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "weight_kg": ("weight_kg", _within(WEIGHT_KG), f"from {WEIGHT_KG[0]:g} to {WEIGHT_KG[1]:g} kg"),
    "height_m": ("height_m", _within(HEIGHT_M), f"from {HEIGHT_M[0]:g} to {HEIGHT_M[1]:g} m"),
    "sex": ("sex", _sex, "M, F or O"),
    "dose_bq": ("dose_bq", _within(DOSE_BQ), f"from {DOSE_BQ[0]:g} to {DOSE_BQ[1]:g} Bq"),
    "dose_mbq": ("dose_bq", _within(DOSE_BQ, 1e6), f"from {DOSE_BQ[0] / 1e6:g} to {DOSE_BQ[1] / 1e6:g} MBq"),
    "half_life_s": ("half_life_s", _within(HALF_LIFE_S), f"from {HALF_LIFE_S[0]:g} to {HALF_LIFE_S[1]:g} s"),
    "injection_time": ("injection_time", _moment, _CLOCK),
    "scan_time": ("scan_time", _moment, _CLOCK),
    "interval_s": ("interval_s", _within(_INTERVAL_S), f"from {_INTERVAL_S[0]:g} to {_INTERVAL_S[1]:g} s"),
}
"""What may be assumed: name -> (attribute, reader, what the reader takes)."""


def _spelled(value: Any) -> str:
    return value.isoformat() if isinstance(value, (datetime, time)) else str(value)
