"""Small tables that a user gives beside the records: CSV with a header in any delimiter, or JSONL."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError


def table_rows(path: Path, data: bytes, code: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and values by column of each row; JSONL by its suffix.

    Raises
    ------
    InputError
        `code`: the bytes are neither.
    """
    try:
        text = data.decode("utf-8-sig")
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            for number, line in enumerate(text.split("\n"), start=1):
                value = orjson.loads(line) if line.strip() else {}
                if not isinstance(value, dict):
                    raise ValueError
                if value:
                    yield number, value
            return
        delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if key is not None}
    except (UnicodeDecodeError, ValueError, csv.Error):
        raise InputError(code, f"{path}: neither CSV with a header nor JSONL (.jsonl), in UTF-8") from None
