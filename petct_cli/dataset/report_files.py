"""Report files of every form as entries of an index: JSON, JSONL, CSV, TSV, XLSX, DOCX, DICOM SR and plain text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.hashing import sha256_bytes, sha256_json
from petct_cli.dataset.columns import ReportColumns
from petct_cli.dataset.matching import ReportEntry, ReportIndex, entry_of, row_entry
from petct_cli.report.encoding import decode_report
from petct_cli.report.plain_text import text_document

_SUFFIXES = frozenset({".xlsx", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".docx"})
# Reports, but in no form that petct reads: they must not be passed over in silence.
_OTHER_SUFFIXES = frozenset({".xls", ".doc", ".rtf", ".pdf", ".odt"})
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".sr", ""})
_DELIMITERS = ",;\t|"
_ZIP = b"PK\x03\x04"


@lru_cache(maxsize=2)
def report_index(path: Path, columns: ReportColumns | None = None) -> ReportIndex:
    """Return the index of the reports at `path`, made once per process (`load_reports`)."""
    return ReportIndex(load_reports(path, columns))


def load_reports(path: Path, columns: ReportColumns | None = None) -> Iterator[ReportEntry]:
    """Yield the reports of a file or, in order of their paths, of a folder.

    A report in an encoding or form that cannot be read is an entry with a fault. DICOM objects that are no text reports
    are passed over.

    Parameters
    ----------
    columns
        What the columns of CSV, TSV and XLSX and the keys of JSON and JSONL mean.

    Raises
    ------
    InputError
        ``no_such_file``; ``report_unreadable`` (named by its place among the reports, not by its file name);
        ``report_column``: a table without a column of `columns`, or no JSON object with it.
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
            raise InputError("report_unreadable", f"{table} cannot be read") from None
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
    if data[128:132] == b"DICM":
        yield from _structured_report(file, data)
        return
    if suffix == ".docx" or (suffix == ".doc" and data.startswith(_ZIP)):
        yield _word_entry(file, data)
        return
    if suffix in _OTHER_SUFFIXES:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), place, "report_format")
        return
    if suffix == ".xlsx":
        yield from _sheet_entries(file, data, columns, table)
        return
    try:
        text = decode_report(data)
    except RecordError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), place, error.code)
        return
    if suffix == ".json":
        value = orjson.loads(text)
        if isinstance(value, list):
            rows = [(place, item) for item in value]
            yield from _rows(rows, {key for item in value if isinstance(item, dict) for key in item}, columns, table)
        else:
            renamed = columns.renamed(value) if columns is not None and isinstance(value, dict) else value
            yield row_entry(renamed, file.stem, place)
    elif suffix in (".jsonl", ".ndjson"):
        lines = [
            (f"{place}:{n}", orjson.loads(line)) for n, line in enumerate(text.split("\n"), start=1) if line.strip()
        ]
        yield from _rows(lines, {key for _, item in lines if isinstance(item, dict) for key in item}, columns, table)
    elif suffix in (".csv", ".tsv"):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        yield from _rows(_csv_rows(reader, place), set(reader.fieldnames or ()), columns, table)
    else:
        document = text_document(text)
        entry = entry_of(document, file.stem, place)
        yield ReportEntry(document, entry.fields, file.stem, sha256_bytes(data), place)


def _csv_rows(reader: csv.DictReader[str], place: str) -> Iterator[tuple[str, dict[str, str]]]:
    for number, row in enumerate(reader, start=1):
        if None in row:
            raise ValueError("a row has more fields than the header")
        yield f"{place}:row {number}", {key: value for key, value in row.items() if key and value}


def _rows(
    rows: Iterable[tuple[str, Any]], labels: set[str], columns: ReportColumns | None, table: str
) -> Iterator[ReportEntry]:
    if columns is not None:
        columns.refuse_missing(labels, f"{table} has")
    for where, row in rows:
        renamed = columns.renamed(row) if columns is not None and isinstance(row, dict) else row
        yield row_entry(renamed, "", where)


def _sheet_entries(file: Path, data: bytes, columns: ReportColumns | None, table: str) -> Iterator[ReportEntry]:
    """Yield the rows of a workbook as reports; a file that is none is one unusable report."""
    from petct_cli.dataset.spreadsheets import read_sheets

    try:
        sheets = read_sheets(data, columns.is_header if columns is not None else None)
    except InputError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
        return
    if columns is not None:
        # A workbook may hold a sheet of notes beside the one of reports.
        columns.refuse_missing({label for sheet in sheets for label in sheet.labels}, f"{table} has")
    for sheet in sheets:
        if columns is not None and not columns.is_header(sheet.labels):
            continue
        for number, row in sheet.rows:
            renamed = columns.renamed(row) if columns is not None else row
            yield row_entry(renamed, "", f"{file}:sheet {sheet.ordinal} row {number}")


def _word_entry(file: Path, data: bytes) -> ReportEntry:
    from petct_cli.report.word import read_word

    try:
        word = read_word(data)
    except RecordError as error:
        return ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
    document = text_document(word.text, word.margins)
    # Two files of one text are one report, whoever saved them and when.
    return entry_of(document, file.stem, str(file))


def _structured_report(file: Path, data: bytes) -> Iterator[ReportEntry]:
    from petct_cli.report.structured import read_structured

    try:
        found = read_structured(data)
    except RecordError as error:
        yield ReportEntry({}, {}, file.stem, sha256_bytes(data), str(file), error.code)
        return
    if found is not None:
        digest = sha256_json(found.document)
        yield ReportEntry(found.document, found.fields, file.stem, digest, str(file), beside=found.beside)


def _delimiter(text: str) -> str:
    """Return what divides the columns of the header: most programs write commas, Vietnamese ones semicolons."""
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(_DELIMITERS, key=header.count)
