"""Plain Python values out of DICOM data elements: absent, empty and malformed all read as None.

A data set is a raw `petct_cli.dicom.header.Header`, or pydicom's where the file was odd. Malformed values never reach a
message: pydicom quotes them in its exceptions, and they may name a patient.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from petct_cli.dicom.header import Header, LayeredHeader

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

YEARS = range(1800, 9999)
"""Other years are none."""
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})$")
_TIME = re.compile(r"(\d{2}):?(\d{2})(?::?(\d{2})(?:\.(\d{1,6})\d*)?)?$")
_DATE_TIME = re.compile(r"(\d{8})(\d{4,6}(?:\.\d+)?)([+-]\d{4})?$")


@cache
def _tag(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return int(tag)


def _layer(dataset: LayeredHeader, keyword: str) -> Any:
    """Return the layer that has an element with a value, or what stands in `own` as the only element of a data set."""
    if keyword in dataset.own:
        return dataset.own
    return next((layer for layer in dataset.layers if _has(layer, keyword)), {})


def _has(dataset: Any, keyword: str) -> bool:
    if isinstance(dataset, Header):
        return bool((dataset.raw(_tag(keyword)) or b"").strip(b" \0"))
    return _value(dataset, keyword) not in (None, "")


def _value(dataset: Any, keyword: str | tuple[int, int]) -> Any:
    try:
        element = dataset.get(keyword)
        return element.value if isinstance(keyword, tuple) and element is not None else element
    except Exception:  # pydicom raises whatever its converters meet in a malformed value
        return None


def text(dataset: Dataset, keyword: str) -> str | None:
    """Return a single-valued element as stripped text (the first value of a multi-valued one)."""
    if isinstance(dataset, LayeredHeader):
        dataset = _layer(dataset, keyword)
    if isinstance(dataset, Header):
        found = dataset.strings(_tag(keyword))
        return (found[0] or None) if found else None
    value = _value(dataset, keyword)
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        value = value[0] if len(value) else None
    cleaned = _as_text(value)
    return cleaned or None


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return every value of an element as stripped text."""
    if isinstance(dataset, LayeredHeader):
        dataset = _layer(dataset, keyword)
    if isinstance(dataset, Header):
        return tuple(filter(None, dataset.strings(_tag(keyword))))
    value = _value(dataset, keyword)
    if value is None:
        return ()
    many = list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
    return tuple(cleaned for cleaned in map(_as_text, many) if cleaned)


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return every value of an element as a finite number; empty when one of them is none."""
    if isinstance(dataset, LayeredHeader):
        dataset = _layer(dataset, keyword)
    return _numbers(dataset.strings(_tag(keyword)) if isinstance(dataset, Header) else texts(dataset, keyword))


@lru_cache(maxsize=4096)
def _numbers(values: tuple[str, ...]) -> tuple[float, ...]:
    found = [to_number(value) for value in values if value]
    return tuple(value for value in found if value is not None) if None not in found else ()


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return a single-valued element as a finite number."""
    return to_number(text(dataset, keyword))


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Return the items of a sequence."""
    if isinstance(dataset, LayeredHeader):
        dataset = _layer(dataset, keyword)
    if isinstance(dataset, Header):
        return dataset.items(_tag(keyword))
    sequence = None if dataset is None else _value(dataset, keyword)
    return list(sequence) if sequence and not isinstance(sequence, (str, bytes)) else []


def first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """Return the first item of a sequence."""
    return next(iter(items(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return a single-valued element as an integer."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value == int(value) else None


def to_number(value: str | None) -> float | None:
    """Read a decimal string; None unless it is a finite number."""
    try:
        parsed = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


@lru_cache(maxsize=1024)
def to_date(value: str | None) -> date | None:
    """Read a DA value (``YYYYMMDD``, and the separated form of old files).

    Years that no scanner can mean are None: they stand where a date was removed (``00010101``), and there is no day
    before the first one of the calendar.
    """
    found = _DATE.match(value or "")
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        return None
    return day if day is not None and day.year in YEARS else None


@lru_cache(maxsize=1024)
def to_time(value: str | None) -> time | None:
    """Read a TM value (``HHMMSS.FFFFFF``, ``HHMM``, and the colons of old files); a leap second becomes :59.

    A bare hour is None, like every value with a digit missing: SUV decays by these moments, and one that is an hour off
    is worse than none.
    """
    found = _TIME.match(value or "")
    if not found:
        return None
    hour, minute, second, fraction = found.groups()
    try:
        seconds = 59 if second == "60" else int(second or 0)
        return time(int(hour), int(minute), seconds, int((fraction or "").ljust(6, "0")))
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def to_datetime(value: str | None, offset: str | None = None) -> datetime | None:
    """Read a DT value as local time; None unless it says at least the minute (`to_time`).

    Parameters
    ----------
    offset
        Timezone Offset From UTC (0008,0201) of the object. A DT with a zone of its own is moved into it; without
        it the zone is dropped, because dates and times beside it are local too.
    """
    found = _DATE_TIME.match(value or "")
    if not found:
        return None
    day, clock = to_date(found.group(1)), to_time(found.group(2))
    if day is None or clock is None:
        return None
    moment = datetime.combine(day, clock)
    own, local = _zone(found.group(3)), _zone(offset)
    return moment if own is None or local is None else moment - own + local


def has_zone(value: str | None) -> bool:
    """Say whether a DT value carries its own offset from UTC."""
    found = _DATE_TIME.match(value or "")
    return found is not None and found.group(3) is not None


def _zone(offset: str | None) -> timedelta | None:
    if not offset or not re.match(r"[+-]\d{4}$", offset):
        return None
    size = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return -size if offset[0] == "-" else size


def private(dataset: Dataset, group: int, creator: str, element: int) -> tuple[str | None, bool]:
    """Return a private element's text, and whether its block names `creator`.

    A block that names no creator at all is read too (de-identification tools drop the creator and keep the data);
    a block of another creator never is.
    """
    unnamed: str | None = None
    if isinstance(dataset, LayeredHeader):
        for layer in dataset.layers:
            value, is_named = private(layer, group, creator, element)
            if is_named:
                return value, True
            unnamed = unnamed or value
        return unnamed, False
    if isinstance(dataset, Header):
        for owner, value in dataset.private(group, element):
            if owner.upper() == creator.upper():
                return _as_text(value) or None, True
            if not owner:
                unnamed = unnamed or _as_text(value) or None
        return unnamed, False
    for tag in sorted(key for key in map(int, dataset.keys()) if key >> 16 == group):
        number_in_group = tag & 0xFFFF
        if number_in_group < 0x1000 or number_in_group & 0xFF != element:
            continue
        owner = _as_text(_value(dataset, (group, number_in_group >> 8)))
        value = _as_text(_value(dataset, (group, number_in_group)))
        if owner.upper() == creator.upper():
            return value or None, True
        if not owner:
            unnamed = unnamed or value or None
    return unnamed, False


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    decoded = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return decoded.strip(" \0")
