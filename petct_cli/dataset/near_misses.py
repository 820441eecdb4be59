"""Reports that all but match a study: the same number written otherwise, the same patient a few days off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Generic, TypeVar

DAYS = 7
"""Nobody has two whole-body PET/CT within a week: the report is of this study, or one of the dates is wrong."""

EntryT = TypeVar("EntryT")
_ACCESSION_PSEUDONYM = re.compile(r"(a[a-z2-7]{12}) [a-z2-7]{4}")


def loosely(name: str) -> str:
    """Return a folded name without its spaces, points and leading noughts.

    >>> loosely("acc 0012"), loosely("acc12")
    ('acc12', 'acc12')

    Of the pseudonym of an accession number that is the part which all ways to write the number have in common:

    >>> loosely("abcdefghijklm nopq")
    'abcdefghijklm'
    """
    pseudonym = _ACCESSION_PSEUDONYM.fullmatch(name)
    if pseudonym:
        return pseudonym[1]
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s._]+", "", name))


class Similar(Generic[EntryT]):
    """An index of what claims are like, not equal to.

    Parameters
    ----------
    claims
        What claims what: (kind, folded value) of study, accession, name, patient, and patient_date as
        ``patient|YYYYMMDD``.
    """

    def __init__(self, claims: Mapping[tuple[str, str], Sequence[EntryT]]) -> None:
        self._loose: dict[tuple[str, str], list[EntryT]] = {}
        self._days: dict[str, list[tuple[date | None, EntryT]]] = {}
        dated = {id(entry) for (kind, _), found in claims.items() if kind == "patient_date" for entry in found}
        for (kind, value), found in claims.items():
            if kind == "patient_date":
                patient, _, day = value.partition("|")
                self._days.setdefault(loosely(patient), []).extend((_date(day), entry) for entry in found)
            elif kind == "patient":
                undated = [(None, entry) for entry in found if id(entry) not in dated]
                self._days.setdefault(loosely(value), []).extend(undated)
            else:
                self._loose.setdefault((kind, loosely(value)), []).extend(found)

    def written_otherwise(self, kind: str, names: Iterable[str]) -> Iterator[EntryT]:
        """Yield what claims one of the `names` in another writing."""
        for name in names:
            if loosely(name):
                yield from self._loose.get((kind, loosely(name)), ())

    def same_patient(self, patients: Iterable[str], day: str) -> Iterator[tuple[EntryT, int]]:
        """Yield what is of one of the `patients`, and how many days off it is: at most `DAYS`, 0 without a date."""
        wanted = _date(day)
        for patient in patients:
            for found, entry in self._days.get(loosely(patient), ()) if loosely(patient) else ():
                days = abs((found - wanted).days) if found is not None and wanted is not None else 0
                if days <= DAYS:
                    yield entry, days


def within_days(one: str, other: str) -> bool:
    """Say whether two days (YYYYMMDD) are close, or one of them is none."""
    first, second = _date(one), _date(other)
    return first is None or second is None or abs((first - second).days) <= DAYS


def _date(day: str) -> date | None:
    try:
        return date(int(day[:4]), int(day[4:6]), int(day[6:8]))
    except ValueError:
        return None
