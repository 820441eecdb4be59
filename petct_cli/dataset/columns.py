"""What the columns of a hospital's own tables of reports mean: ``--report-columns``.

columns = parse_columns("findings=MoTa,impression=KetLuan,accession=SoPhieu")
columns.renamed({"MoTa": "Phổi sáng.", "SoPhieu": "7"})
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError, UsageError
from petct_cli.dataset.matching import field_named, folded
from petct_cli.report.sections import FINDINGS, SECTIONS, TRANSLATION, section_named

KEYS = ("study", "accession", "patient", "date", "lang")
TEXTS = ("report", FINDINGS, *SECTIONS)
TARGETS = (*KEYS, *TEXTS, *(f"{name}{TRANSLATION}" for name in TEXTS))
_HELD = "column "


@dataclass(frozen=True)
class ReportColumns:
    """Which columns hold what.

    Attributes
    ----------
    pairs
        (target, column): target one of `TARGETS`; texts may come from several columns, which are joined in this order.
    """

    pairs: tuple[tuple[str, str], ...]

    def missing(self, labels: Collection[str]) -> list[str]:
        """Return the columns that a table with these labels does not have."""
        known = {folded(label) for label in labels}
        return [column for _, column in self.pairs if column not in labels and folded(column) not in known]

    def is_header(self, labels: Iterable[str]) -> bool:
        """Say whether a row of labels names one of the columns."""
        return self.count(list(labels)) > 0

    def count(self, labels: Collection[str]) -> int:
        """Return how many of the columns are among the labels."""
        return len(self.pairs) - len(self.missing(labels))

    def renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row under the names that petct knows; a column that is not mapped means nothing that is.

        A value of a key, or of one text in several columns, is as it stood; columns that a row lacks are passed over.
        """
        spellings = {folded(label): label for label in reversed(list(row))}
        found: dict[str, Any] = {}
        used: set[str] = set()
        for target, column in self.pairs:
            label = column if column in row else spellings.get(folded(column))
            if label is None:
                continue
            used.add(label)
            value = row[label]
            if value in (None, ""):
                continue
            found[target] = f"{found[target]}\n{value}" if target in found else value
        mapped = {target for target, _ in self.pairs}
        for label, value in row.items():
            if label not in used:
                meaning = field_named(label) or section_named(label)
                found[f"{_HELD}{label}" if meaning in mapped or label in found else label] = value
        return found

    def refuse_missing(self, labels: Collection[str], table: str) -> None:
        """Refuse a table without one of the columns.

        Raises
        ------
        InputError
            ``report_column``, with the `table` and its verb (by number, never by file name) and the column.
        """
        for column in self.missing(labels):
            raise InputError("report_column", f"{table} no column {column!r}", "see --report-columns")


def parse_columns(text: str) -> ReportColumns:
    """Return the columns of ``--report-columns``: ``target=column,...``, or a TOML or JSON file of targets.

    Raises
    ------
    UsageError
        ``bad_report_columns``: a target that is none, twice where one can be only, no report text, or no such file.
    """
    pairs = list(_of_file(Path(text)) if text.lower().endswith((".toml", ".json")) else _of_spec(text))
    seen: set[str] = set()
    for target, column in pairs:
        if target not in TARGETS:
            raise _bad(f"{target!r} is nothing that a column can hold: {', '.join(TARGETS[: len(KEYS + TEXTS)])}")
        if not column.strip():
            raise _bad(f"{target} has no column")
        if target in seen and target in KEYS:
            raise _bad(f"{target} is given twice")
        seen.add(target)
    if not pairs:
        raise _bad("names no column")
    return ReportColumns(tuple(pairs))


def columns_of(reports: Path | None, text: str | None) -> ReportColumns | None:
    """Return the columns that ``--report-columns`` tells, None without it.

    Raises
    ------
    UsageError
        ``missing_option``: columns without reports; ``bad_report_columns``.
    """
    if text is not None and reports is None:
        raise UsageError("missing_option", "--report-columns needs --reports")
    return None if text is None else parse_columns(text)


def _bad(said: str) -> UsageError:
    return UsageError("bad_report_columns", f"--report-columns: {said}", "such as findings=MoTa,accession=SoPhieu")


def _of_spec(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        target, equals, column = part.partition("=")
        if not equals:
            raise _bad("takes target=column, ..., or a file .toml or .json")
        yield target.strip().lower(), column.strip()


def _of_file(path: Path) -> Iterator[tuple[str, str]]:
    try:
        data = path.read_bytes()
        table = orjson.loads(data) if path.suffix.lower() == ".json" else tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}") from None
    except ValueError:
        raise _bad(f"{path}: cannot be read") from None
    for target, columns in table.items() if isinstance(table, dict) else ():
        for column in columns if isinstance(columns, list) else [columns]:
            if not isinstance(column, str):
                raise _bad(f"{path}: {target} takes the name of a column or several")
            yield str(target).strip().lower(), column
