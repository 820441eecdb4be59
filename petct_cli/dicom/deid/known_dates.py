"""Finding a study's own dates in text, in any form that scanners, their users and reports write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta

from petct_cli.dicom.deid.folding import fold

_CENTURY = 99
_COMPACT = 4
_YMD = re.compile(
    r"(?<!\d)(\d{4})([-/. _:|]{0,2})(\d{1,2})\2(\d{1,2})(?!\d)|(?<![^\W_])(\d{4})(\d{2})(\d{2})(?=\d{2,6}(?!\d))"
)
_DMY = re.compile(r"(?<!\d)(\d{1,2})\s?([-/.,_\\:| ])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})(?!\d)")
_DMY_COMPACT = re.compile(r"(?<![^\W_])(\d{2})(\d{2})(\d{4})(?![^\W_])")
_YMD_SHORT = re.compile(r"(?<![^\W_])(\d{2})(\d{2})(\d{2})(?![^\W_])")
# As `fold` leaves them: Hangul taken apart into its letters.
_YEAR_SIGN, _MONTH_SIGN = ("|".join(fold(sign)[0] for sign in signs) for signs in ("年년", "月월"))
_IDEOGRAPHIC = re.compile(rf"(?<!\d)(\d{{4}})\s?(?:{_YEAR_SIGN})\s?(\d{{1,2}})\s?(?:{_MONTH_SIGN})\s?(\d{{1,2}})(?!\d)")
_ROMAN = re.compile(r"(?<!\d)(\d{1,2})\s?([./\-])\s?(x?i{1,3}|i?[vx]|vi{1,3})\s?\2\s?(\d{4})(?!\d)")
_ROMAN_MONTHS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_ORDINAL = re.compile(r"(?<!\d)(\d{4})-(\d{3})(?!\d)")
_VIETNAMESE = re.compile(
    r"(?<!\d)(?P<d>\d{1,2})\s*(?:thang|thg\.?|/|-)\s*(?P<m>\d{1,2}|[a-z]{2,5}(?: [a-z]{2,4})?)\s*,?\s*"
    r"(?:nam|/|-|\s)\s*(?P<y>\d{4})(?!\d)"
)
_WORDED_DATES = (
    re.compile(
        r"(?<!\d)(?P<d>\d{1,2})(?:st|nd|rd|th)?[\s\-/._]*(?P<m>[^\W\d_]{3,9})[\s\-/.,_]*(?P<y>\d{4}|'?\d{2})(?!\d)"
    ),
    re.compile(r"(?<![^\W_])(?P<m>[^\W\d_]{3,9})[\s\-/._]*(?P<d>\d{1,2})(?:st|nd|rd|th)?[\s\-/.,_]+(?P<y>\d{4})(?!\d)"),
    re.compile(r"(?<!\d)(?P<y>\d{4})[\s\-/._]*(?P<m>[^\W\d_]{3,9})[\s\-/._]*(?P<d>\d{1,2})(?!\d)"),
)
# What names of months begin with, folded, in the languages that scanners and their users write.
_MONTHS = (
    ("jan", "янв", "ene", "gen", "gieng", "mot"),
    ("feb", "fev", "фев", "hai"),
    ("mar", "мар", "ba"),
    ("apr", "abr", "avr", "апр", "tu"),
    ("may", "mai", "mag", "мая", "маи", "nam"),
    ("jun", "juin", "giu", "июн", "sau"),
    ("jul", "juil", "lug", "июл", "bay"),
    ("aug", "ago", "aou", "авг", "tam"),
    ("sep", "set", "сен", "chin"),
    ("oct", "okt", "ott", "окт", "muoi"),
    ("nov", "ноя", "muoi mot"),
    ("dec", "dez", "dic", "дек", "muoi hai", "chap"),
)
_MONTH_OF = {fold(name)[0]: number for number, names in enumerate(_MONTHS, start=1) for name in names}


def find_dates(folded: str, dates: Collection[date]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of every stretch of `folded` (`known.fold`) that says one of `dates`, day or month first."""
    if not dates or not any(character.isdigit() for character in folded):
        return
    for found in (_numeric(folded), _short(folded), _other_forms(folded), _worded(folded)):
        for start, end, candidates in found:
            if any(candidate in dates for candidate in candidates):
                yield start, end


_Found = Iterator[tuple[int, int, list[date]]]


def _days(years: Iterable[int], month: int, day: int, *, swap: bool = False) -> list[date]:
    """Return the days that the numbers can mean; with `swap` also with month and day exchanged."""
    days = []
    for year in years:
        for one, other in ((month, day), (day, month)) if swap else ((month, day),):
            with suppress(ValueError):
                days.append(date(year, one, other))
    return days


def _years(year: int) -> list[int]:
    return [year] if year > _CENTURY else [1900 + year, 2000 + year]


def _numeric(folded: str) -> _Found:
    for match in _YMD.finditer(folded):
        year, separator, month, day, *compact = match.groups()
        if year is None:
            year, month, day = compact
        elif not separator and len(month + day) != _COMPACT:
            continue
        yield *match.span(), _days([int(year)], int(month), int(day))
    for pattern in (_DMY, _DMY_COMPACT):
        for match in pattern.finditer(folded):
            first, second, year = (int(group) for group in match.groups() if group and group.isdigit())
            yield *match.span(), _days(_years(year), second, first, swap=True)


def _short(folded: str) -> _Found:
    for match in _YMD_SHORT.finditer(folded):
        year, month, day = map(int, match.groups())
        yield *match.span(), _days(_years(year), month, day)


def _other_forms(folded: str) -> _Found:
    for match in _IDEOGRAPHIC.finditer(folded):
        year, month, day = map(int, match.groups())
        yield *match.span(), _days([year], month, day)
    for match in _ROMAN.finditer(folded):
        if match[3] in _ROMAN_MONTHS:
            yield *match.span(), _days([int(match[4])], _ROMAN_MONTHS.index(match[3]) + 1, int(match[1]))
    for match in _ORDINAL.finditer(folded):
        with suppress(OverflowError, ValueError):
            yield *match.span(), [date(int(match[1]), 1, 1) + timedelta(int(match[2]) - 1)]


def _worded(folded: str) -> _Found:
    for match in _VIETNAMESE.finditer(folded):
        month = match["m"]
        number = int(month) if month.isdigit() else _month(month)
        yield *match.span(), _days([int(match["y"])], number, int(match["d"]), swap=True)
    for pattern in _WORDED_DATES:
        for match in pattern.finditer(folded):
            yield *match.span(), _days(_years(int(match["y"].lstrip("'"))), _month(match["m"]), int(match["d"]))


def _month(word: str) -> int:
    """Return the number of a month from its folded name or abbreviation; 0 for another word."""
    first = word.split(" ", maxsplit=1)[0]
    return next((_MONTH_OF[name] for name in (word, first, first[:4], first[:3]) if name in _MONTH_OF), 0)
