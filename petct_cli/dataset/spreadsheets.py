"""Reports in workbooks (.xlsx): a row each, under the labels of the header."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zipfile import BadZipFile

from petct_cli.core.errors import InputError
from petct_cli.dataset.matching import field_named
from petct_cli.report.sections import section_named

_HEADER_WITHIN = 20


@dataclass(frozen=True)
class Sheet:
    """One sheet: its number from 1, the labels of its header, and (number, values by label) of each row below it."""

    ordinal: int
    labels: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]


def read_sheets(data: bytes, is_header: Callable[[Sequence[str]], bool] | None = None) -> list[Sheet]:
    """Return the sheets of a workbook; formulas come as the values they had when the book was saved.

    A number comes as it is shown without decimals that are nought: a code that Excel took for a number has lost its
    leading noughts there, and no reader can tell.

    Parameters
    ----------
    is_header
        Tells the row of labels below a title; None: the first that has two labels known to petct, else two cells.

    Raises
    ------
    InputError
        ``report_format``: the bytes are no workbook, or one behind a password.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError, OSError):
        raise InputError("report_format", "no workbook that can be read") from None
    found = []
    for ordinal, sheet in enumerate(book.worksheets, start=1):
        rows = [
            (number, texts)
            for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1)
            if any(texts := [_text(cell) for cell in cells])
        ]
        head = _header(rows[:_HEADER_WITHIN], is_header)
        labels = rows[head][1] if rows else []
        filled = [
            (number, {label: text for label, text in zip(labels, texts, strict=False) if label and text})
            for number, texts in rows[head + 1 :]
        ]
        found.append(Sheet(ordinal, tuple(filter(None, labels)), [(number, row) for number, row in filled if row]))
    return found


def _header(rows: Sequence[tuple[int, list[str]]], is_header: Callable[[Sequence[str]], bool] | None) -> int:
    """Return which row holds the labels: above it there may be a title, a hospital and a date."""
    tests: list[Callable[[list[str]], bool]] = [lambda texts: sum(map(bool, texts)) >= 2]
    if is_header is None:
        tests.insert(0, lambda texts: sum(bool(field_named(text) or section_named(text)) for text in texts) >= 2)
    else:
        tests.insert(0, lambda texts: is_header([text for text in texts if text]))
    for test in tests:
        for place, (_, texts) in enumerate(rows):
            if test(texts):
                return place
    return 0


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == datetime.min.time() else cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
