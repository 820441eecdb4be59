"""Reports whose owner somebody else tells: by a pattern of file names, or by a list beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from petct_cli.core.errors import InputError, UsageError
from petct_cli.dataset.columns import ReportColumns
from petct_cli.dataset.matching import ReportEntry, field_named, folded
from petct_cli.dataset.report_files import load_reports
from petct_cli.dataset.tables import table_rows

_PARTS = ("study", "patient", "accession", "date")
_PLACEHOLDER = re.compile(r"\{(\w*)\}|\*")
_PATH_COLUMNS = frozenset({"report", "path", "file", "report path", "filename", "bao cao"})


def name_pattern(pattern: str) -> re.Pattern[str]:
    r"""Return a regular expression of file names from ``--report-pattern``.

    ``{study}``, ``{patient}``, ``{accession}`` and ``{date}`` stand for what the report is of, each at most once, ``*``
    for anything; the rest stands for itself in either case. Nothing goes beyond a ``/``. A pattern with a ``/`` is held
    against the last folders of the path, too.

    Raises
    ------
    UsageError
        ``bad_report_pattern``.

    >>> name_pattern("{patient}_*_{date}.json").fullmatch("P7_pet_2024-01-03.json").groupdict()
    {'patient': 'P7', 'date': '2024-01-03'}
    """
    found: list[str] = []
    parts: list[str] = []
    end = 0
    for match in _PLACEHOLDER.finditer(pattern):
        parts.append(re.escape(pattern[end : match.start()]))
        end = match.end()
        name = match[1]
        if name is None:
            parts.append("[^/]*?")
        elif name in _PARTS and name not in found:
            found.append(name)
            shape = r"\d{4}[-.]?\d{2}[-.]?\d{2}|\d{1,2}[-.]\d{1,2}[-.]\d{4}" if name == "date" else "[^/]+?"
            parts.append(f"(?P<{name}>{shape})")
        else:
            found = []
            break
    parts.append(re.escape(pattern[end:]))
    if not found or found == ["date"] or re.search(r"[{}]", _PLACEHOLDER.sub("", pattern)):
        raise UsageError(
            "bad_report_pattern",
            "--report-pattern takes {study}, {patient}, {accession}, {date} once each and *, "
            "such as '{study}_report.json' or '{patient}_{date}.txt'",
        )
    return re.compile("".join(parts), re.IGNORECASE)


def with_names(entries: Iterable[ReportEntry], pattern: str) -> Iterator[ReportEntry]:
    """Yield the reports with what their file names say of them by `pattern`, over what stands in them.

    A report whose file name the pattern does not fit is passed on as one that says nothing by its name.
    """
    expression = name_pattern(pattern)
    depth = pattern.count("/") + 1
    for entry in entries:
        path = Path(entry.place)
        found = expression.fullmatch("/".join(path.parts[-depth:])) if entry.name else None
        if found is None:
            yield replace(entry, name="")
            continue
        said = {name: value for name, value in found.groupdict().items() if value}
        yield replace(entry, name="", fields={**entry.fields, **said})


def listed_reports(path: Path, folder: Path | None, columns: ReportColumns | None = None) -> Iterator[ReportEntry]:
    """Yield the reports that the list at `path` names, with what its rows say of them, over what stands in them.

    Parameters
    ----------
    path
        CSV with a header, or JSONL: ``report`` is a path, as seen from `folder` or else from the list; ``study``,
        ``patient``, ``accession`` and ``date`` say whose it is, ``issuer`` whose number ``patient`` is. Rows without a
        report are passed over.
    folder
        Where the reports lie; None: beside the list.
    columns
        What the keys of the reports mean.

    Raises
    ------
    UsageError
        ``no_such_file``.
    InputError
        ``report_index``: named by row, never by what stands in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("no_such_file", f"--report-index {path}: {error.strerror}") from None
    base = folder if folder is not None and folder.is_dir() else path.parent
    for number, row in table_rows(path, data, "report_index"):
        place, said = "", {}
        for key, value in row.items():
            if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
                continue
            kind = field_named(key)
            if kind:
                said[kind] = str(value).strip()
            elif folded(str(key)) in _PATH_COLUMNS:
                place = str(value).strip()
        if not place:
            continue
        if not said.keys() - {"date", "issuer"}:
            raise InputError("report_index", f"{path}:{number}: needs a study, patient or accession beside the report")
        try:
            (entry,) = load_reports(base / place, columns)
        except InputError as error:
            raise InputError("report_index", f"{path}:{number}: the report cannot be read [{error.code}]") from None
        except ValueError:
            raise InputError("report_index", f"{path}:{number}: names no file with one report") from None
        yield replace(entry, name="", fields=said)
