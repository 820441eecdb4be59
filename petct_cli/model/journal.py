"""Finished answers on disk, so that a killed ``generate`` goes on and a repeated one is quick. No torch."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson

from petct_cli.core.errors import OutputError

JOURNAL_FILE = "answers.jsonl"


class Journal:
    """Answers by key, one JSON line each, appended as they come.

    Parameters
    ----------
    folder
        Where the journal lies; None keeps nothing.

    Raises
    ------
    OutputError
        ``output_failed`` when the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._answers: dict[str, str] = {}
        self._file: IO[bytes] | None = None
        if folder is None:
            return
        path = folder / JOURNAL_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torn = self._read(path)
            # Unbuffered: a line is one write, and what a full disk refused does not come up again on closing.
            self._file = path.open("ab", buffering=0)
            if torn:
                self._file.write(b"\n")
        except OSError as error:
            raise OutputError("output_failed", f"cannot write {path}: {error.strerror}") from None

    def _read(self, path: Path) -> bool:
        """Read what is there; say whether the last line was torn by a kill."""
        if not path.is_file():
            return False
        data = path.read_bytes()
        for line in data.splitlines():
            try:
                entry = orjson.loads(line)
                key, hypothesis = entry["key"], entry["hypothesis"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
            if isinstance(key, str) and isinstance(hypothesis, str):
                self._answers[key] = hypothesis
        return bool(data) and not data.endswith(b"\n")

    def get(self, key: str) -> str | None:
        """Return the answer kept under `key`."""
        return self._answers.get(key)

    def put(self, key: str, hypothesis: str) -> None:
        """Keep an answer."""
        self._answers[key] = hypothesis
        if self._file is None:
            return
        try:
            line = orjson.dumps({"key": key, "hypothesis": hypothesis}) + b"\n"
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OutputError("output_failed", f"cannot write the journal: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
