"""Which report belongs to which study: one matcher for `anonymize` (raw identifiers) and `pair` (pseudonyms).

A report says whose it is in its own fields (accession number, patient, date) or by its file name. Evidence is tried
from the strongest down; two different reports with the same claim match nothing: a wrong pair is worse than none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_bytes, sha256_json
from petct_cli.dataset.near_misses import Similar, loosely, within_days
from petct_cli.report.json_text import read_json
from petct_cli.report.plain_text import text_document
from petct_cli.report.sections import is_part

# What the fields of a report are called, folded and without punctuation: ours, hospitals', and the ViMed-PET release's.
_FIELDS: dict[str, frozenset[str]] = {
    "study": frozenset({"study", "study id", "studyid", "studyinstanceuid", "study instance uid", "id"}),
    "accession": frozenset({"accession", "accession number", "accessionnumber", "so phieu", "ma phieu", "so chi dinh"}),
    "patient": frozenset(
        {"patient", "patient id", "patientid", "mrn", "pid", "ma bn", "ma benh nhan", "ma nguoi benh", "ma y te"}
    ),
    "issuer": frozenset({"issuer", "issuer of patient id", "issuerofpatientid"}),
    "date": frozenset({"date", "study date", "studydate", "ngay chup", "ngay thuc hien", "ngay kham", "ngay"}),
}
_DOCUMENT_FIELDS = frozenset({"report", "text", "document", "bao cao", "noi dung"})
_CONTAINERS = frozenset({"hanh chinh", "thong tin hanh chinh", "administrative", "metadata", "patient info"})
_SHOWN = 4

_FAULTS = {
    "report_encoding": "the report is in no encoding that petct can read, in letters from before Unicode, or garbled",
    "report_format": "the report is in no form that petct reads; give JSON, CSV, XLSX, DOCX, DICOM SR or text",
    "report_row": "the row or line of the report cannot be read: it has more fields than the header, a formula "
    "that was saved without its value, or is no JSON",
    "report_columns": "no column of the table is known; say what they hold with --report-columns",
    "report_unreadable": "the file of the report cannot be read",
}


@dataclass(frozen=True)
class StudyKeys:
    """What is known of a study, raw or as pseudonyms: each may be empty.

    Attributes
    ----------
    names
        File or folder names that a report of this study may bear.
    """

    study: Sequence[str] = ()
    accession: Sequence[str] = ()
    patient: Sequence[str] = ()
    date: str = ""
    names: Sequence[str] = ()


@dataclass(frozen=True)
class ReportEntry:
    """One report as found: its document, what it says of itself, and where it stood (for private logs only).

    Attributes
    ----------
    fault
        Code of why it cannot be used, empty when it can: ``report_encoding``, ``report_format``, ``report_row``,
        ``report_columns``, ``report_unreadable``.
    beside
        What stands beside the report in its row or object: identifying values of whatever label.
    claims
        Further names of whose it is, as `ReportIndex` compares them: the pseudonyms of what it says, for one.
    ordinal
        Its place among the reports of an index, from 1: by this it may be named.
    """

    document: Mapping[str, Any]
    fields: Mapping[str, str]
    name: str
    sha256: str
    place: str = field(repr=False, default="")
    fault: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    claims: Sequence[tuple[str, str]] = ()
    ordinal: int = 0

    @property
    def identity(self) -> str:
        """Hash of the report and of whose it says that it is: a report given to another study is another one."""
        return sha256_json([self.sha256, dict(self.fields), self.name, dict(self.beside), self.fault])


@dataclass(frozen=True)
class Match:
    """The report of a study, and the evidence that joined them: study, accession, patient_date, patient or name."""

    entry: ReportEntry
    by: str


class ReportIndex:
    """Reports by what they say of themselves.

    Attributes
    ----------
    size
        How many there are.
    sha256
        Hash of all, and of whose they say that they are, whatever their order.
    faults
        Why reports cannot be used, by their ordinals.
    """

    def __init__(self, entries: Iterable[ReportEntry]) -> None:
        self._by: dict[tuple[str, str], list[ReportEntry]] = {}
        self._similar: Similar[ReportEntry] | None = None
        self.size = 0
        self.faults: dict[int, str] = {}
        identities: list[str] = []
        for entry in entries:
            self.size += 1
            entry = replace(entry, ordinal=self.size)
            identities.append(entry.identity)
            if entry.fault:
                self.faults[self.size] = entry.fault
            for key in claims_of(entry):
                self._by.setdefault(key, []).append(entry)
        self.sha256 = sha256_bytes("".join(sorted(identities)).encode())

    def match(self, keys: StudyKeys) -> Match | None:
        """Return the report of a study, or None when there is none.

        Raises
        ------
        RecordError
            ``report_ambiguous``: different reports have the same claim. ``report_near_miss``: one all but matches (same
            patient a few days off, same number written otherwise). The fault of the report, if it has one.
        """
        day = day_of(keys.date)
        tries: list[tuple[str, list[tuple[str, str]]]] = [
            ("study", [("study", folded(value)) for value in keys.study]),
            ("accession", [("accession", folded(value)) for value in keys.accession]),
            ("patient_date", [("patient_date", f"{folded(value)}|{day}") for value in keys.patient if day]),
            ("name", [("name", folded(value)) for value in (*keys.names, *keys.study, *keys.accession)]),
            ("patient", [("patient", folded(value)) for value in keys.patient]),
            ("name", [("name", folded(value)) for value in keys.patient]),
        ]
        for by, wanted in tries:
            found = [entry for key in wanted if key[1].strip("|") for entry in self._by.get(key, ())]
            if by == "patient":
                found = [
                    entry for entry in found if not (day and day_of(entry.fields.get("date", "")) not in ("", day))
                ]
            if not found:
                continue
            if len({entry.sha256 for entry in found}) > 1:
                numbers = sorted({entry.ordinal for entry in found})
                places = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
                message = f"reports {places} of {self.size} differ and all match this study by {by}"
                raise RecordError("report_ambiguous", message, "give --report-index")
            if found[0].fault:
                raise RecordError(found[0].fault, _FAULTS[found[0].fault])
            return Match(found[0], by)
        self._refuse_near_miss(keys, day)
        return None

    def _refuse_near_miss(self, keys: StudyKeys, day: str) -> None:
        if self._similar is None:
            self._similar = Similar(self._by)
        for kind, values in (
            ("study", keys.study),
            ("accession", keys.accession),
            ("name", [*keys.names, *keys.study, *keys.accession, *keys.patient]),
        ):
            for entry in self._similar.written_otherwise(kind, map(folded, values)):
                if _contradicts(entry, keys, day):
                    continue
                message = f"report {entry.ordinal} of {self.size} has the {kind} of this study, but written otherwise"
                raise RecordError("report_near_miss", message, "correct one of them, or give --report-index")
        for entry, days in self._similar.same_patient(map(folded, keys.patient), day):
            other = "of the same patient" if days else "of a patient whose number is this one's, written otherwise"
            off = f" {days} days off" if days else ""
            message = f"report {entry.ordinal} of {self.size} is {other}{off}"
            raise RecordError("report_near_miss", message, "correct one of them, or give --report-index")


def _contradicts(entry: ReportEntry, keys: StudyKeys, day: str) -> bool:
    """Say whether a report is of another patient or date by its own words, so that its number means nothing."""
    own = {loosely(value) for kind, value in claims_of(entry) if kind == "patient"}
    theirs = {loosely(folded(value)) for value in keys.patient}
    return bool(own and theirs and not own & theirs) or not within_days(day_of(entry.fields.get("date", "")), day)


def entry_of(document: Mapping[str, Any], name: str = "", place: str = "") -> ReportEntry:
    """Make an entry of one report's JSON object; what identifies it stands at the top or in an administrative head."""
    fields: dict[str, str] = {}
    _gather(document, fields)
    return ReportEntry(document, fields, name, _hash_of(document), place)


def _hash_of(document: Mapping[str, Any]) -> str:
    try:
        return sha256_json(document)
    except TypeError:
        raise ValueError("nested deeper than can be written") from None


def row_entry(item: Any, name: str, place: str) -> ReportEntry:
    """Make an entry of a row or object: the report itself, or one that carries it beside its keys.

    Raises
    ------
    ValueError
        It is no object, is nested too deep, or the report in it is in Rich Text Format.
    """
    if not isinstance(item, dict):
        raise ValueError("not an object")
    fields: dict[str, str] = {}
    _gather(item, fields)
    document: Mapping[str, Any] = item
    held: Any = None
    for key, value in item.items():
        if holds_report(key):
            held = value
            # JSONL and CSV carry the report beside its keys: as an object, as JSON text, or as plain text.
            if isinstance(value, str) and value.lstrip().startswith("{"):
                if value.lstrip().startswith("{\\rtf"):
                    raise ValueError("Rich Text Format")
                with suppress(ValueError):
                    value = read_json(value)
            if isinstance(value, dict):
                document = value
                _gather(value, fields)
            elif isinstance(value, str):
                document = text_document(value)
                _gather(document, fields)
    if document is not item:
        # Sections that stand beside the report: an impression in a column of its own, a translation.
        document = {**document, **{k: v for k, v in item.items() if is_part(k) and v is not held}}
    beside = (
        {}
        if document is item
        else {k: str(v) for k, v in item.items() if isinstance(v, str | int) and v is not held and not is_part(k)}
    )
    return ReportEntry(document, fields, name, _hash_of(document), place, beside=beside)


def _gather(document: Mapping[str, Any], fields: dict[str, str]) -> None:
    for key, value in document.items():
        if isinstance(value, Mapping) and _label(key) in _CONTAINERS:
            _gather(value, fields)
        elif (name := field_named(key)) and isinstance(value, str | int | float) and not isinstance(value, bool):
            text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
            if text:
                fields.setdefault(name, text)


def field_named(label: str) -> str:
    """Return what a column is about by its label: study, accession, patient, issuer or date, else nothing."""
    return next((name for name, spellings in _FIELDS.items() if _label(label) in spellings), "")


def holds_report(label: str) -> bool:
    """Say whether a column or key of this label holds a whole report."""
    return _label(label) in _DOCUMENT_FIELDS


@lru_cache(maxsize=4096)
def _label(label: object) -> str:
    """Return the name of a column or key, folded: all rows of a table have the same."""
    return folded(str(label))


def claims_of(entry: ReportEntry) -> Iterator[tuple[str, str]]:
    """Yield what a report says of whose it is: study, accession, patient, patient_date or name, each with its value."""
    fields = entry.fields
    for name in ("study", "accession", "patient"):
        if fields.get(name):
            yield name, folded(fields[name])
    day = day_of(fields.get("date", ""))
    if fields.get("patient") and day:
        yield "patient_date", f"{folded(fields['patient'])}|{day}"
    if entry.name:
        yield "name", folded(entry.name)
    yield from entry.claims


def folded(text: str) -> str:
    """Return a name without case, accents and punctuation."""
    parts = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    plain = "".join(part for part in parts if not unicodedata.combining(part)).casefold()
    return " ".join(re.sub(r"[^\w.]+|_", " ", plain).split())


def writings(number: str) -> tuple[str, str]:
    """Return a number as it is compared, and as near misses are: what a pseudonym of it has to be made of."""
    return folded(number), loosely(folded(number))


def day_of(text: str) -> str:
    """Return a date in any usual form as YYYYMMDD, nothing when it is none.

    Five digits are how spreadsheets write a day that lost its form: those since 1899-12-30 (ECMA-376 18.17.4.1).

    >>> day_of("3/1/2024 10:05"), day_of("45294"), day_of("12")
    ('20240103', '20240103', '')
    """
    if re.fullmatch(r"[2-6]\d{4}(?:\.\d+)?", text.strip()):
        return f"{date(1899, 12, 30) + timedelta(days=int(float(text))):%Y%m%d}"
    found = re.search(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})", text)
    if found:
        return "".join(found.groups())
    found = re.search(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", text)
    return f"{found[3]}{int(found[2]):02d}{int(found[1]):02d}" if found else ""
