"""Reports for studies that carry none: whose they are, by pseudonym or raw identifier, and who is left."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.records import Study
from petct_cli.core.store import write_atomically
from petct_cli.dataset.columns import ReportColumns, parse_columns
from petct_cli.dataset.matching import Match, ReportEntry, ReportIndex, StudyKeys, day_of, folded, writings
from petct_cli.dataset.report_files import load_reports
from petct_cli.dataset.report_names import listed_reports, name_pattern, with_names
from petct_cli.dataset.samples import unplaced
from petct_cli.dicom.deid.pseudonyms import Key, raw_study_id
from petct_cli.report.json_text import read_json
from petct_cli.report.sections import ParsedReport, parse_report


@dataclass(frozen=True)
class ReportSource:
    """Where reports come from, and how it is known whose they are.

    Parameters
    ----------
    reports
        File or folder of reports.
    pattern
        What their file names say (`report_names.name_pattern`).
    listed
        A list of reports and whose they are (`report_names.listed_reports`).
    key
        The key under which studies were de-identified, when the reports name raw identifiers. A patient whose PatientID
        has an issuer (0010,0021) has another pseudonym: the reports must say it, as ``issuer``.
    columns
        What the columns of tables of reports mean (`columns.parse_columns`).
    """

    reports: Path | None
    pattern: str | None = None
    listed: Path | None = None
    key: Key | None = None
    columns: ReportColumns | None = None

    @classmethod
    def of(
        cls,
        reports: Path | None,
        pattern: str | None,
        listed: Path | None,
        key_file: Path | None,
        columns: str | None = None,
    ) -> ReportSource | None:
        """Return the source that the options ask for, None for none.

        Raises
        ------
        UsageError
            ``missing_option``: a pattern, columns or a key without reports; ``bad_report_pattern``,
            ``bad_report_columns``; what `load_key` raises.
        """
        from petct_cli.dicom.deid.pseudonyms import load_key

        if reports is None and listed is None:
            if pattern is not None or key_file is not None or columns is not None:
                raise UsageError("missing_option", "--report-pattern, --report-columns and --key-file need --reports")
            return None
        if pattern is not None:
            name_pattern(pattern)
            if listed is not None:
                raise UsageError(
                    "bad_option", "--report-index says whose the reports are: no --report-pattern beside it"
                )
        known = None if columns is None else parse_columns(columns)
        return cls(reports, pattern, listed, None if key_file is None else load_key(key_file), known)

    def index(self, *, shifted: bool = False) -> ReportIndex:
        """Return the index of the reports, made once per process; `shifted`: with dates as the key moves them."""
        return _index(self, shifted and self.key is not None)

    def match(self, study: Study) -> Match | None:
        """Return the report of a study, None when there is none.

        Raises
        ------
        RecordError
            ``report_ambiguous``, ``report_near_miss``, or the fault of the report. ``other_key``: no report matches,
            and the study's pseudonyms are of another key.
        """
        patient = [study.patient] if study.patient else []
        accession = [study.accession] if study.accession else []
        keys = StudyKeys([study.id], accession, patient, study.study_date or "", names=[study.id])
        match = self.index(shifted=study.dates == "shifted").match(keys)
        if match is None and self.key is not None and study.deid is not None and study.deid.key_id != self.key.key_id:
            raise RecordError("other_key", "the study was de-identified under another key than that of --key-file")
        return match


@lru_cache(maxsize=4)
def _index(source: ReportSource, shifted: bool) -> ReportIndex:
    if source.listed is not None:
        entries = listed_reports(source.listed, source.reports, source.columns)
    else:
        assert source.reports is not None
        entries = load_reports(source.reports, source.columns)
    if source.pattern is not None:
        entries = with_names(entries, source.pattern)
    return ReportIndex(_under_pseudonyms(entry, source.key, shifted) for entry in entries)


def _under_pseudonyms(entry: ReportEntry, key: Key | None, shifted: bool) -> ReportEntry:
    """Let a report that names raw identifiers be found by what records have in their place."""
    fields = dict(entry.fields)
    claims: list[tuple[str, str]] = []
    raw, issuer = fields.get("patient", ""), fields.get("issuer", "")
    if shifted and key is not None and raw and fields.get("date"):
        fields["date"] = _moved(fields["date"], key.day_offset(_patient(raw, issuer)))
    if raw:
        patient = folded(_pseudonym(raw, key, issuer))
        claims.append(("patient", patient))
        if day_of(fields.get("date", "")):
            claims.append(("patient_date", f"{patient}|{day_of(fields['date'])}"))
    if key is not None:
        named = {"accession": fields.get("accession", ""), "name": entry.name}
        found = {kind: folded(key.accession(*writings(number))) for kind, number in named.items()}
        claims += [(kind, pseudonym) for kind, pseudonym in found.items() if pseudonym]
    if fields.get("study"):
        claims.append(("study", _study(fields["study"], key)))
    if entry.name:
        claims += [("name", folded(_pseudonym(entry.name, key))), ("name", _study(entry.name, key))]
    return replace(entry, fields=fields, claims=claims)


def _patient(number: str, issuer: str = "") -> str:
    """Return a PatientID as `anonymize` puts it under the key: with its issuer."""
    return f"{number}\\{issuer}"


def _pseudonym(number: str, key: Key | None, issuer: str = "") -> str:
    return key.patient(_patient(number, issuer)) if key else hashlib.sha256(number.encode()).hexdigest()[:16]


def _study(uid: str, key: Key | None) -> str:
    return key.study(raw_study_id(uid)) if key else raw_study_id(uid)


def _moved(text: str, days: int) -> str:
    day = day_of(text)
    try:
        return (date(int(day[:4]), int(day[4:6]), int(day[6:])) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return ""


def not_understood(study: Study) -> int:
    """Return how many parts of the report in a record nobody understood: as who put it there says, and as it reads."""
    report, deid = study.report, study.deid
    if report is None:
        return 0
    told = (report.model_extra or {}).get("not_understood", 0)
    counted = deid.counts.get("report_not_understood", 0) if deid is not None else 0
    if report.sections or report.path is None:
        return max(told if isinstance(told, int) else 0, counted) + unplaced(report.sections)
    try:
        value = read_json(Path(report.path).read_text("utf-8"))
    except (OSError, ValueError):
        return 0
    return _unclear(parse_report(value)) if isinstance(value, dict) else 0


def _unclear(parsed: ParsedReport) -> int:
    return parsed.unknown + unplaced(parsed.sections)


@dataclass
class Ledger:
    """Which report each study got, over all studies: a report that two studies claim is nobody's.

    Parameters
    ----------
    source
        None: only studies without a report are kept.
    unmatched
        File to list what was not matched on either side, as JSONL: studies by id, reports by their place; and how many
        parts of a report were not understood, of those in records, too.
    """

    source: ReportSource | None
    unmatched: Path | None = None
    _users: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    _without: dict[int, tuple[str, str]] = field(default_factory=dict)
    _strange: dict[tuple[str, Any], int] = field(default_factory=dict)
    _shifted: bool = False

    def see(self, number: int, study: Study) -> None:
        """Take in study `number`."""
        if study.report is not None:
            self.see_report(study)
            return
        try:
            match = self.source.match(study) if self.source is not None else None
        except RecordError as error:
            self._without[number] = (study.id, error.code)
            return
        if match is None:
            self._without[number] = (study.id, "no_report")
        else:
            self._shifted = study.dates == "shifted"
            if match.entry.ordinal not in self._users and (unknown := _unclear(parse_report(match.entry.document))):
                self._strange["report", match.entry.ordinal] = unknown
            self._users.setdefault(match.entry.ordinal, {}).setdefault(study.id, []).append(number)

    def see_report(self, study: Study) -> None:
        """Take in the report of a record, if there is one: only what was not understood is kept."""
        if unknown := not_understood(study):
            self._strange["study", study.id] = unknown

    def faults(self) -> Mapping[int, tuple[str, str]]:
        """Return code and message of the studies whose report another study claims as well."""
        found = {}
        for ordinal, users in self._users.items():
            if len(users) > 1:
                shown = ", ".join(sorted(users)[:4]) + (", ..." if len(users) > 4 else "")
                message = f"report {ordinal} of {self._size()} matches {len(users)} studies: {shown}"
                for numbers in users.values():
                    found.update(dict.fromkeys(numbers, ("report_shared", f"{message} (give --report-index)")))
        return found

    def _size(self) -> int:
        return self.source.index(shifted=self._shifted).size if self.source is not None else 0

    def _faulty(self) -> Mapping[int, str]:
        return self.source.index(shifted=self._shifted).faults if self.source is not None else {}

    def _unused(self) -> list[int]:
        return [ordinal for ordinal in range(1, self._size() + 1) if ordinal not in self._users]

    def write(self) -> None:
        """Write the list of what was not matched, if it was asked for."""
        if self.unmatched is None:
            return
        shared = self.faults()
        names = {number: study for users in self._users.values() for study, at in users.items() for number in at}
        without = {**self._without, **{number: (names[number], code) for number, (code, _) in shared.items()}}
        rows: list[dict[str, Any]] = [
            {"side": "study", "study": study, "code": code} for _, (study, code) in sorted(without.items())
        ]
        faults = self._faulty()
        rows += [
            {"side": "report", "report": ordinal, "code": faults.get(ordinal, "report_unmatched")}
            for ordinal in self._unused()
        ]
        rows += [
            {"side": side, side: name, "code": "report_not_understood", "parts": parts}
            for (side, name), parts in sorted(self._strange.items())
        ]
        write_atomically(self.unmatched, b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def notes(self) -> Iterator[str]:
        """Yield what a person should know."""
        if self._strange:
            yield f"{len(self._strange)} reports have parts that were not understood [report_not_understood]"
        if self.source is None:
            return
        faults = self._faulty()
        for code, number in sorted(Counter(faults.values()).items()):
            yield f"{number} of {self._size()} reports cannot be used [{code}]"
        unused = len([ordinal for ordinal in self._unused() if ordinal not in faults])
        if unused:
            yield f"{unused} of {self._size()} reports matched no study of this run [report_unmatched]"
        codes = Counter(code for _, code in self._without.values())
        codes.update(code for code, _ in self.faults().values())
        for code, number in sorted(codes.items()):
            yield f"{number} studies got no report [{code}]"
