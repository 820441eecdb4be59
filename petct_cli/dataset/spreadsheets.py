"""Reports in workbooks (.xlsx): a row each, under the labels of the header."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from zipfile import BadZipFile, ZipFile

from petct_cli.core.errors import InputError
from petct_cli.dataset.labelled import IsHeader, Labelled, labelled

MOST_UNPACKED = 512 << 20
"""Bytes of all parts: some 150,000 reports."""


def read_sheets(data: bytes, is_header: IsHeader | None = None) -> list[Labelled]:
    """Return the sheets of a workbook; formulas come as the values they had when the book was saved.

    A number comes as it is shown without decimals that are nought, and with leading noughts where its format asks for
    them: a code that Excel took for a number has lost its own there, and no reader can tell. What a formula could not
    make (``#N/A``) is nothing.

    Parameters
    ----------
    is_header
        Tells the row of labels (`labelled`).

    Raises
    ------
    InputError
        ``report_format``: the bytes are no workbook, one behind a password, a damaged or empty one, or one that unpacks
        to more than 512 MiB.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED:
                raise InputError("report_format", "the workbook unpacks to more than 512 MiB", "give CSV")
        sheets = list(_sheets(data, is_header))
        if not any(sheet.labels for sheet in sheets):
            raise InputError("report_format", "the workbook is empty")
        return sheets
    except InputError:
        raise
    except (BadZipFile, OSError, MemoryError):
        raise InputError("report_format", "no workbook that can be read") from None
    except Exception:  # openpyxl raises whatever its parts meet in a damaged book, with what stands in it
        raise InputError("report_format", "the workbook is damaged") from None


def _sheets(data: bytes, is_header: IsHeader | None) -> Iterator[Labelled]:
    from openpyxl import load_workbook

    for sheet in load_workbook(io.BytesIO(data), read_only=True, data_only=True).worksheets:
        yield labelled(
            [(number, [_text(cell) for cell in cells]) for number, cells in enumerate(sheet.iter_rows(), start=1)],
            is_header,
        )


def _text(cell: Any) -> str:
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and re.fullmatch("0{2,}", cell.number_format or ""):
        return str(value).zfill(len(cell.number_format))
    return str(value).strip()
