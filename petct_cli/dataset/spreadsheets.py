"""Reports in workbooks (.xlsx): a row each, under the labels of the first row that holds any."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from zipfile import BadZipFile

from petct_cli.core.errors import InputError


def sheet_rows(data: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, row by label) of all sheets; formulas come as the values they had when the book was saved.

    A number comes as it is shown without decimals that are nought: a code that Excel took for a number has lost its
    leading noughts there, and no reader can tell.

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
    for ordinal, sheet in enumerate(book.worksheets, start=1):
        labels: list[str] = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            texts = [_text(cell) for cell in cells]
            if not any(texts):
                continue
            if not labels:
                labels = texts
                continue
            row = {label: text for label, text in zip(labels, texts, strict=False) if label and text}
            yield f"sheet {ordinal} row {number}", row


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
