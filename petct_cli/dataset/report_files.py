"""Report files of every form as entries of an index: JSON, JSONL, CSV, TSV, XLSX, DOCX, DICOM SR and plain text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.hashing import sha256_bytes, sha256_json
from petct_cli.dataset.columns import ReportColumns
from petct_cli.dataset.labelled import HEADER_WITHIN, Labelled, known_labels, labelled
from petct_cli.dataset.matching import ReportEntry, ReportIndex, entry_of, row_entry
from petct_cli.report.encoding import decode_report, refuse_legacy
from petct_cli.report.json_text import read_json
from petct_cli.report.plain_text import text_document

_BOOKS = frozenset({".xlsx", ".xlsm"})
_WORD = frozenset({".docx", ".docm"})
_SUFFIXES = _BOOKS | _WORD | {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".html", ".htm"}
# Reports, but in no form that petct reads: they must not be passed over in silence.
_OTHER_SUFFIXES = frozenset({".xls", ".xlsb", ".ods", ".doc", ".rtf", ".pdf", ".odt"})
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".sr", ""})
_DELIMITERS = ",;\t|"
_HEAD = 1 << 16
_ZIP = b"PK\x03\x04"
# ZIP, OLE2, PDF, RTF: no text, whatever the file is called.
_NO_TEXT = (_ZIP, b"\xd0\xcf\x11\xe0", b"%PDF", b"{\\rtf")


@lru_cache(maxsize=2)
def report_index(path: Path, columns: ReportColumns | None = None) -> ReportIndex:
    """Return the index of the reports at `path`, made once per process (`load_reports`)."""
    return ReportIndex(load_reports(path, columns))


def load_reports(path: Path, columns: ReportColumns | None = None) -> Iterator[ReportEntry]:
    """Yield the reports of a file or, in order of their paths, of a folder.

    A report in an encoding or form that cannot be read, a row that is none, and a bad file of a folder are entries with
    a fault. DICOM objects that are no text reports are passed over.

    Parameters
    ----------
    columns
        What the columns of CSV, TSV and XLSX and the keys of JSON and JSONL mean.

    Raises
    ------
    InputError
        ``no_such_file``; ``report_unreadable``: there is no other file; ``report_column``: a table without a column of
        `columns`, or no JSON object with it. Files are named by their place among the reports.
    """
    if not path.exists():
        raise InputError("no_such_file", f"{path}: no such file or folder")
    files = sorted(filter(_is_report, path.rglob("*"))) if path.is_dir() else [path]
    keys: set[str] | None = None
    for ordinal, file in enumerate(files, start=1):
        table = f"report file {ordinal} of {len(files)}"
        try:
            if columns is not None and path.is_dir() and file.suffix.lower() == ".json":
                value = orjson.loads(decode_report(file.read_bytes()))
                if isinstance(value, dict):
                    # A file per report: what one lacks, such as an impression, another has.
                    keys = (keys or set()) | value.keys()
            yield from _load(file, columns, table)
        except (OSError, ValueError, csv.Error, RecordError):
            if not path.is_dir():
                raise InputError("report_unreadable", f"{table} cannot be read") from None
            yield ReportEntry({}, {}, file.stem, sha256_json(["unreadable", str(file)]), str(file), "report_unreadable")
    if columns is not None and keys is not None:
        columns.refuse_missing(keys, "the JSON reports have")


def _is_report(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES | _OTHER_SUFFIXES:
        # "~$name.docx" is Word's note of who has a document open.
        return path.is_file() and not path.name.startswith(("~$", "._"))
    # Files that are called by their UID seem to have a suffix of digits.
    return (suffix in _DICOM_SUFFIXES or suffix[1:].isdigit()) and path.is_file() and _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _load(file: Path, columns: ReportColumns | None, table: str) -> Iterator[ReportEntry]:
    suffix, data, place = file.suffix.lower(), file.read_bytes(), str(file)
    if not data.strip():
        raise ValueError("empty")  # what an export leaves that broke off
    if data[128:132] == b"DICM":
        yield from _structured_report(file, data)
        return
    if suffix in _WORD or (suffix == ".doc" and data.startswith(_ZIP)):
        yield _word_entry(file, data)
        return
    if suffix in _BOOKS or (suffix == ".xls" and data.startswith(_ZIP)):
        yield from _sheet_entries(file, data, columns, table)
        return
    if suffix in _OTHER_SUFFIXES or data.startswith(_NO_TEXT):
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), place, "report_format")
        return
    try:
        text = decode_report(data)
    except RecordError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), place, error.code)
        return
    if suffix == ".json":
        value = read_json(text)
        if isinstance(value, list):
            rows = [(place, item) for item in value]
            yield from _rows(rows, {key for item in value if isinstance(item, dict) for key in item}, columns, table)
        else:
            renamed = columns.renamed(value) if columns is not None and isinstance(value, dict) else value
            yield row_entry(renamed, file.stem, place)
    elif suffix in (".jsonl", ".ndjson"):
        lines = [(f"{place}:{n}", _line(line)) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
        yield from _rows(lines, {key for _, item in lines if isinstance(item, dict) for key in item}, columns, table)
    elif suffix in (".csv", ".tsv"):
        yield from _table_entries(file, [_csv_table(text, columns)], columns, table)
    else:
        document = text_document(text)
        entry = entry_of(document, file.stem, place)
        yield ReportEntry(document, entry.fields, file.stem, sha256_bytes(data), place)


def _line(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return text


def _csv_table(text: str, columns: ReportColumns | None) -> Labelled:
    """Return the rows of a CSV, numbered from its first.

    Raises
    ------
    ValueError, csv.Error
        It ends within a quotation, so that nobody knows where its reports end.
    """
    delimiter, text = _delimited(text, columns)
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        # Other faults that a strict reader finds are none here: quotes within a field that has none around it.
        if "end of data" in str(error):
            raise ValueError("ends within a quotation") from None
    rows = list(enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1))
    return labelled(rows, columns.is_header if columns is not None else None)


def _rows(
    rows: Iterable[tuple[str, Any]], labels: set[str], columns: ReportColumns | None, table: str
) -> Iterator[ReportEntry]:
    if columns is not None:
        columns.refuse_missing(labels, f"{table} has")
    for where, row in rows:
        yield _row(columns.renamed(row) if columns is not None and isinstance(row, dict) else row, where)


def _row(row: Any, where: str) -> ReportEntry:
    """Make an entry of a row; a bad one is a fault of its own, under whatever it says of whose it is."""
    try:
        return row_entry(row, "", where)
    except ValueError:
        digest = sha256_json(["bad row", where, repr(row)])
        # Without what may be the text: whose the report is stands in short values.
        short = (
            {key: value for key, value in row.items() if isinstance(value, int | str)} if isinstance(row, dict) else {}
        )
        fields = entry_of(short).fields
        return ReportEntry({}, fields, "", digest, where, "report_row")


def _table_entries(
    file: Path, tables: Sequence[Labelled], columns: ReportColumns | None, told: str
) -> Iterator[ReportEntry]:
    """Yield the rows of tables as reports; those under labels that nobody knows are one unusable report."""
    if columns is not None:
        # A workbook may hold a sheet of notes beside the one of reports.
        columns.refuse_missing({label for table in tables for label in table.labels}, f"{told} has")
    known = [(n, table) for n, table in enumerate(tables, start=1) if table.is_known]
    if not known and any(table.labels for table in tables):
        digest = sha256_json([[table.labels, table.rows] for table in tables])
        yield ReportEntry({}, {}, file.stem, digest, str(file), "report_columns")
    for ordinal, table in known:
        for number, row in table.rows:
            where = f"{file}:sheet {ordinal} row {number}" if len(tables) > 1 else f"{file}:row {number}"
            entry = _row(columns.renamed(row) if columns is not None else row, where)
            if number in table.damaged:
                # Its cells do not stand where they belong, or one is not known.
                entry = replace(entry, document={}, beside={}, fault="report_row")
            yield entry


def _sheet_entries(file: Path, data: bytes, columns: ReportColumns | None, table: str) -> Iterator[ReportEntry]:
    """Yield the rows of a workbook as reports; a file that is none is one unusable report."""
    from petct_cli.dataset.spreadsheets import read_sheets

    try:
        sheets = read_sheets(data, columns.is_header if columns is not None else None)
    except InputError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
        return
    yield from map(_in_unicode, _table_entries(file, sheets, columns, table))


def _word_entry(file: Path, data: bytes) -> ReportEntry:
    from petct_cli.report.word import read_word

    try:
        word = read_word(data)
    except RecordError as error:
        return ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
    document = text_document(word.text, word.margins)
    # Two files of one text are one report, whoever saved them and when.
    return _in_unicode(entry_of(document, file.stem, str(file)))


def _structured_report(file: Path, data: bytes) -> Iterator[ReportEntry]:
    from petct_cli.report.structured import read_structured

    try:
        found = read_structured(data)
    except RecordError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
        return
    if found is not None:
        digest = sha256_json(found.document)
        yield _in_unicode(ReportEntry(found.document, found.fields, file.stem, digest, str(file), beside=found.beside))


def _in_unicode(entry: ReportEntry) -> ReportEntry:
    """Return a report out of a container; one in letters from before Unicode, or garbled, is unusable."""
    try:
        refuse_legacy(orjson.dumps(entry.document).decode())
    except RecordError as error:
        return replace(entry, document={}, beside={}, fault=error.code)
    return entry


def _delimited(text: str, columns: ReportColumns | None) -> tuple[str, str]:
    """Return what divides the columns, and the text without a line that only says so (``sep=;``, as Excel writes it).

    Most programs write commas, Vietnamese ones semicolons: the one by which a header has most labels that are known.
    """
    told = re.match(r"sep=(.)\r?\n", text)
    if told:
        return told[1], text[told.end() :]

    def names(delimiter: str) -> tuple[int, int]:
        head = csv.reader(io.StringIO(text[:_HEAD], newline=""), delimiter=delimiter)
        rows = list(islice(head, HEADER_WITHIN))
        known = [columns.count(row) if columns is not None else known_labels(row) for row in rows]
        return max(known, default=0), len(rows[0]) if rows else 0

    return max(_DELIMITERS, key=names), text
