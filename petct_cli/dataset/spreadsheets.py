"""Reports in workbooks (.xlsx): a row each, under the labels of the header."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from zipfile import BadZipFile, ZipFile

from petct_cli.core.errors import InputError
from petct_cli.dataset.labelled import NO_VALUE, IsHeader, Labelled, Merged, labelled

MOST_UNPACKED = 512 << 20
"""Bytes of all parts: some 150,000 reports."""
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^>]*?\bref="([A-Z]{1,3})(\d{1,7}):[A-Z]{1,3}(\d{1,7})"')
# Of type "str" is a formula whose value is the empty text.
_NO_VALUE = re.compile(
    rb'<(?:\w+:)?c\b(?![^>]*\bt="str")[^>]*\br="([A-Z]{1,3})(\d{1,7})"[^>]*>\s*'
    rb"<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*"
    rb"</(?:\w+:)?c>"
)


def read_sheets(data: bytes, is_header: IsHeader | None = None) -> list[Labelled]:
    """Return the sheets of a workbook; formulas come as the values they had when the book was saved, or as `NO_VALUE`.

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

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    with ZipFile(io.BytesIO(data)) as archive:
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # many programs write a wrong one, and what is beyond it would be lost
            rows = [[_text(cell) for cell in cells] for cells in sheet.iter_rows()]
            # What openpyxl does not tell of a sheet that it reads row by row.
            part = archive.read(sheet._worksheet_path.lstrip("/"))
            for column, row in _without_value(part):
                rows[row - 1][column] = NO_VALUE
            yield labelled(list(enumerate(rows, start=1)), is_header, _merged(part))


def _without_value(part: bytes) -> Iterator[tuple[int, int]]:
    """Yield column, from 0, and row, from 1, of the formulas that were saved without a value."""
    from openpyxl.utils import column_index_from_string

    for match in _NO_VALUE.finditer(part) if b"f>" in part or b"<f " in part else ():
        yield column_index_from_string(match[1].decode()) - 1, int(match[2])


def _merged(part: bytes) -> Iterator[Merged]:
    from openpyxl.utils import column_index_from_string

    for match in _MERGED.finditer(part):
        yield column_index_from_string(match[1].decode()) - 1, int(match[2]), int(match[3])


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
