"""What a study record names, read from disk; no message tells a path, which can name the patient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study

# What other messages tell with a path, said without one.
_SAID = {
    "series_missing": "its folder is not there",
    "file_name_encoding": "a file or folder name is not UTF-8: rename it",
}


def files_of(record: Study) -> list[Path]:
    """Return the files of a study record in a stable order."""
    from petct_cli.dicom.scan import series_files

    found: dict[Path, None] = {}
    for ordinal, series in enumerate(record.series, start=1):
        try:
            found.update(dict.fromkeys(path for path in series_files(series) if not path.name.startswith(".petct-")))
        except RecordError as error:
            said = _SAID.get(error.code, "its files cannot be listed")
            raise RecordError(error.code, f"series {ordinal}: {said}") from None
    if not found:
        raise RecordError("no_dicom", "the record names no files")
    return sorted(found)


def stumps_of(record: Study) -> Iterator[tuple[int, Path]]:
    """Yield the damaged files that the scan laid to a study and that are too short to be told from other files."""
    from petct_cli.dicom.scan import UNREADABLE, is_stump, series_files

    for ordinal, series in enumerate(record.series, start=1):
        if series.set_aside == UNREADABLE:
            yield from ((ordinal, path) for path in series_files(series) if is_stump(path))


def report_of(record: Study) -> bytes | None:
    """Return the JSON of the report that a record names or holds."""
    report = record.report
    if report is None:
        return None
    if report.path is not None:
        return bytes_of(report.path, "report_missing")
    return orjson.dumps(report.sections) if report.sections else None


def bytes_of(path: str | None, code: str) -> bytes | None:
    """Return the content of a file that a record names; `code` is the fault when it cannot be read."""
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RecordError(code, f"a file that the record names cannot be read: {error.strerror}") from None


def json_object(data: bytes) -> dict[str, Any]:
    """Return a report's JSON object."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RecordError("report_unreadable", "the report is not JSON") from None
    if not isinstance(value, dict):
        raise RecordError("report_unreadable", "the report is not a JSON object")
    return value
