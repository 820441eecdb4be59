"""What becomes of single values: shifted dates, capped ages, dummies by VR (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from datetime import date, timedelta

MAX_AGE = 90
_DATE = re.compile(rb"^(\d{4})[.\-/]?(\d{2})?[.\-/]?(\d{2})?$")
_DATE_TIME = re.compile(rb"^(\d{4})(\d{2})?(\d{2})?(\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)$")
_AGE = re.compile(rb"^(\d{1,3})([DWMY])$")

_DUMMIES: dict[bytes, bytes] = {
    b"AE": b"ANONYMIZED",
    b"AS": b"000Y",
    b"CS": b"ANONYMIZED",
    b"DA": b"19000101",
    b"DT": b"19000101000000",
    b"DS": b"0",
    b"IS": b"0",
    b"LO": b"ANONYMIZED",
    b"LT": b"ANONYMIZED",
    b"PN": b"ANONYMIZED",
    b"SH": b"ANONYMIZED",
    b"ST": b"ANONYMIZED",
    b"TM": b"000000",
    b"UC": b"ANONYMIZED",
    b"UR": b"urn:anonymized",
    b"UT": b"ANONYMIZED",
    b"US": bytes(2),
    b"SS": bytes(2),
    b"UL": bytes(4),
    b"SL": bytes(4),
    b"AT": bytes(4),
    b"FL": bytes(4),
    b"FD": bytes(8),
    b"OB": bytes(2),
    b"OW": bytes(2),
    b"UN": bytes(2),
    b"OF": bytes(4),
    b"OL": bytes(4),
    b"OD": bytes(8),
    b"OV": bytes(8),
    b"SV": bytes(8),
    b"UV": bytes(8),
}


def dummy(vr: bytes) -> bytes:
    """Return a value that is valid for `vr` and says nothing."""
    return _DUMMIES.get(vr, b"")


def shift_date(value: bytes, days: int) -> bytes | None:
    """Return one DA or DT value moved by whole days, at the precision it had; None when it cannot be read.

    The time of day and the UTC offset of a DT stay as they are.

    >>> shift_date(b"20240301", -1), shift_date(b"202403", -40), shift_date(b"20240301101500.5+0700", -1)
    (b'20240229', b'202401', b'20240229101500.5+0700')
    """
    match = _DATE_TIME.match(value) or _DATE.match(value)
    if match is None:
        return None
    year, month, day = match.group(1), match.group(2), match.group(3)
    rest = match.group(4) if match.re is _DATE_TIME else b""
    if rest and rest[:1].isdigit() and day is None:
        return None
    try:
        moved = date(int(year), int(month or 1), int(day or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    text = f"{moved.year:04d}{moved.month:02d}{moved.day:02d}".encode()
    return text[: 4 if month is None else 6 if day is None else 8] + (rest or b"")


def shift_dates(value: bytes, days: int) -> tuple[bytes, int]:
    """Return a value of one or more dates moved by `days`, and how many could not be read and were emptied."""
    moved, unread = [], 0
    for part in value.rstrip(b"\0 ").split(b"\\"):
        part = part.strip(b" \0")
        new = shift_date(part, days) if part else b""
        unread += new is None
        moved.append(new or b"")
    return b"\\".join(moved), unread


def cap_age(value: bytes) -> bytes | None:
    """Return ``090Y`` for an age above 89 years, None for one that may stay as it is, nothing for what is no age."""
    match = _AGE.match(value.strip(b" \0"))
    if match is None:
        return b"" if value.strip(b" \0") else None
    years = int(match.group(1)) / {b"D": 365.25, b"W": 52.18, b"M": 12, b"Y": 1}[match.group(2)]
    return f"{MAX_AGE:03d}Y".encode() if years >= MAX_AGE else None


def age_between(birth: str, study: str) -> str | None:
    """Return a PatientAge (``034Y``, in months below two years) from two DICOM dates, or None when they cannot be read.

    >>> age_between("19900615", "20240614"), age_between("19200101", "20240614"), age_between("20230101", "20240101")
    ('033Y', '090Y', '012M')
    """
    try:
        born = date(int(birth[:4]), int(birth[4:6]), int(birth[6:8]))
        then = date(int(study[:4]), int(study[4:6]), int(study[6:8]))
    except ValueError:
        return None
    months = (then.year - born.year) * 12 + then.month - born.month - (then.day < born.day)
    if months < 0:
        return None
    return f"{months:03d}M" if months < 24 else f"{min(months // 12, MAX_AGE):03d}Y"
