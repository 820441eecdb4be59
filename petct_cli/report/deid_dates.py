"""Dates in Vietnamese reports: moved by the patient's offset, in the form and precision that they had."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta

from petct_cli.report.deid_marks import DATE, Change

MAX_AGE = 90
# Dates. A year is needed; day and month without one are moved only where the label says that they are a date.
_YEAR = r"(?P<y>(?:19|20)\d{2})"
FULL_DATE = re.compile(
    r"(?<![\d/.,])(?:"
    rf"(?P<d>\d{{1,2}})\s?(?P<s>[/.\-])\s?(?P<m>\d{{1,2}})\s?(?P=s)\s?{_YEAR}"
    r"|(?P<y2>(?:19|20)\d{2})(?P<s2>[/.\-])(?P<m2>\d{1,2})(?P=s2)(?P<d2>\d{1,2})"
    r"|(?P<d3>\d{1,2})\s+(?:tháng|thg\.?)\s+(?P<m3>\d{1,2})\s*,?\s+(?:năm\s+)?(?P<y3>(?:19|20)\d{2})"
    r"|(?P<y4>(?:19|20)\d{2})(?P<m4>0[1-9]|1[0-2])(?P<d4>0[1-9]|[12]\d|3[01])"
    r")(?![\d/])",
    re.IGNORECASE,
)
_FORMS = (("d", "m", "y"), ("d2", "m2", "y2"), ("d3", "m3", "y3"), ("d4", "m4", "y4"))
_MONTH_YEAR = re.compile(
    rf"(?<![\d/.,])(?:(?P<m>0?[1-9]|1[0-2])(?P<s>[/\-]){_YEAR}|tháng\s+(?P<m2>\d{{1,2}})\s*(?:năm\s+|[/\-])(?P<y2>(?:19|20)\d{{2}}))"
    r"(?![\d/])",
    re.IGNORECASE,
)
_BARE_YEAR = re.compile(rf"\bnăm\s+{_YEAR}(?!\d)", re.IGNORECASE)
_SHORT_DATE = re.compile(
    r"\bngày\s*[:,]?\s*(?P<d>\d{1,2})\s*[/.\-]\s*(?P<m>\d{1,2})(?:\s*[/.\-]\s*(?P<y>\d{2}))?(?![\d/])", re.IGNORECASE
)
# Two digits for the year: only with two for day and month too, and where no size is given.
_TWO_DIGITS = re.compile(
    r"(?<![\d/.,\-xX])(?<!x )(?<!thước )(?<!kính )(?P<d>0[1-9]|[12]\d|3[01])(?P<s>[/\-])"
    r"(?P<m>0[1-9]|1[0-2])(?P=s)(?P<y>\d{2})(?![\d/\w\-]|[.,]\d|\s*(?:mm|cm|x\s*\d|%))"
)
_BIRTH = re.compile(
    r"\b(?:(?:năm\s+sinh|sinh\s+năm|ngày\s+sinh|sinh\s+ngày|ns|dob)\s*[:.]?\s*(?P<v>\d[\d/.\-]{2,8}\d)"
    r"|(?:sinh\s+ngày|ngày\s+sinh)\s*[:.]?\s*(?P<v2>\d{1,2}\s+tháng\s+\d{1,2}\s*,?\s+(?:năm\s+)?\d{4})"
    r"|(?:sinh|sn)\s*[:.]?\s*(?P<v3>(?:\d{1,2}[/.\-]){0,2}(?:19|20)\d{2})(?!\d))",
    re.IGNORECASE,
)
# A bare Y counts beyond 90 only: 90Y is yttrium.
_AGE = re.compile(
    r"(?:\b(?:tuổi|age)\s*[:.]?\s*(?P<a>\d{2,3})"
    r"|(?<!\d)0?(?P<b>\d{2,3})[\s\-]*(?:tuổi|T|y/?o|yrs?|years?(?:[\s\-]+old)?)\b"
    r"|(?<![\w.])0?(?P<c>9[1-9]|1[0-2]\d)\s?Y\b)(?![\d/])",
    re.IGNORECASE,
)


def day_of(match: re.Match[str]) -> date | None:
    """Return the day that a match of `FULL_DATE` names, None when there is no such day."""
    for day, month, year in _FORMS:
        if match[year]:
            try:
                return date(int(match[year]), int(match[month]), int(match[day]))
            except ValueError:
                return None
    return None


def moved_dates(text: str, days: int | None) -> Iterable[Change]:
    """Yield the dates of a text moved by `days` (None: left), births taken out and ages capped."""
    for match in _BIRTH.finditer(text):
        group = next(name for name in ("v", "v2", "v3") if match[name])
        yield Change(*match.span(group), DATE, "birth")
    for match in _AGE.finditer(text):
        group = next(name for name in "abc" if match[name])
        if int(match.group(group)) >= MAX_AGE:
            yield Change(*match.span(group), str(MAX_AGE), "age")
    if days is None:
        return
    for match in FULL_DATE.finditer(text):
        yield _moved(match, next(form for form in _FORMS if match[form[2]]), days)
    for match in _MONTH_YEAR.finditer(text):
        yield _moved(match, ("", "m", "y") if match["y"] else ("", "m2", "y2"), days)
    for match in _BARE_YEAR.finditer(text):
        yield _moved(match, ("", "", "y"), days)
    for match in _TWO_DIGITS.finditer(text):
        yield _moved(match, ("d", "m", "y"), days, century=2000)
    for match in _SHORT_DATE.finditer(text):
        if match["y"]:
            yield _moved(match, ("d", "m", "y"), days, century=2000)
        else:
            yield Change(match.start("d"), match.end(), DATE, "date")


def _moved(match: re.Match[str], names: tuple[str, str, str], days: int, century: int = 0) -> Change:
    """Return the change that writes a date anew in the form and precision it had; an impossible one is taken out."""
    day, month, year = (match.group(name) if name else None for name in names)
    try:
        then = date(int(year or 0) + century, int(month or 1), int(day or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return Change(match.start(), match.end(), DATE, "date")
    new = match.group()
    pieces = []
    for name, value in zip(
        names, (then.day, then.month, (then.year - century) % 100 if century else then.year), strict=True
    ):
        if name:
            start, end = match.span(name)
            pieces.append(
                (start - match.start(), end - match.start(), f"{value:0{end - start if end - start > 1 else 1}d}")
            )
    for start, end, digits in sorted(pieces, reverse=True):
        new = new[:start] + digits + new[end:]
    return Change(match.start(), match.end(), new, "date")
