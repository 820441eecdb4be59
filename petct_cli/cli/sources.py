"""Where a command's records come from: files, ``-`` or stdin, line by line, with file and line number kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from petct_cli.core.errors import InputError, InputFault, UsageError
from petct_cli.core.jsonl import BadLineError, decode
from petct_cli.core.records import Record, Study


@dataclass(frozen=True)
class BadLine:
    """A line that could not be read as a record: where it stands and why."""

    place: str
    fault: BadLineError


Item = Record | BadLine
Check = Callable[[Record], BadLineError | None]


def read_records(
    files: Iterable[str | Path] | None, *, any_json: bool = False, check: Check | None = None
) -> Iterator[Item]:
    """Yield the records of `files` in order; stdin for ``-`` or when there are none.

    Parameters
    ----------
    any_json
        Accept objects that petct did not write (`decode`).
    check
        Returns what makes a record a bad line though it can be read, so that the message names file and line.

    Raises
    ------
    UsageError
        ``stdin_is_terminal``: nobody types JSONL by hand.
    InputError
        ``no_such_file`` before the first record, so that a typing error costs nothing.
    """
    names = [str(file) for file in files or ["-"]]
    for name in names:
        # Not `is_file`: a named pipe or <(zcat ...) is as good.
        if name != "-" and (not Path(name).exists() or Path(name).is_dir()):
            raise InputError("no_such_file", f"{name}: no such file")
    if "-" in names and sys.stdin is None:
        raise InputError("no_stdin", "stdin is closed")
    if "-" in names and sys.stdin.isatty():
        raise UsageError("stdin_is_terminal", "nothing to read: give FILE, or pipe records in")
    return _read_all(names, any_json, check)


def _read_all(names: list[str], any_json: bool, check: Check | None) -> Iterator[Item]:
    for name in names:
        if name == "-":
            with _stdin() as stdin:
                yield from _read_lines("stdin", stdin, any_json, check)
            continue
        try:
            with open(name, "rb") as file:
                yield from _read_lines(name, file, any_json, check)
        except OSError as error:
            raise InputError("unreadable", f"{name}: {error.strerror}") from None


@contextmanager
def _stdin() -> Iterator[BinaryIO]:
    """Open stdin as bytes, in a buffer of its own.

    A thread may still wait for a line when the process ends, and the interpreter wants to lock its own buffer then.
    """
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):
        yield sys.stdin.buffer
        return
    with open(descriptor, "rb", closefd=False) as file:
        yield file


def _read_lines(name: str, file: BinaryIO, any_json: bool, check: Check | None) -> Iterator[Item]:
    for number, line in enumerate(file, start=1):
        line = line.removeprefix(b"\xef\xbb\xbf")
        if not line or line.isspace():
            continue
        try:
            record = decode(line, any_json=any_json)
        except BadLineError as fault:
            yield BadLine(f"{name}:{number}", fault)
            continue
        refused = check(record) if check is not None else None
        yield record if refused is None else BadLine(f"{name}:{number}", refused)


def as_items(found: Iterable[Record | InputFault]) -> Iterator[Item]:
    """Let faults of what was scanned be reported and counted as bad lines are."""
    for item in found:
        if isinstance(item, InputFault):
            yield BadLine(item.place, BadLineError(item.code, item.message))
        else:
            yield item


def is_manifest(path: str) -> bool:
    """Say whether a PATH argument is a manifest (``-`` or a JSONL file) and not something to scan."""
    return path == "-" or (path.endswith((".jsonl", ".ndjson")) and not Path(path).is_dir())


def once_each(studies: Iterable[Item], stage: str | None = None) -> Iterator[Item]:
    """Let each id be worked on once: what is made of a second study of that name would stand for the first one's.

    It holds the ids of all studies, 130 bytes each.

    Parameters
    ----------
    stage
        What passes the second one on as failed, and does nothing to studies that have failed or have volumes. None: the
        second one is told of and left out, whatever it is, since each of the records that follow counts.
    """
    seen: set[str] = set()
    for item in studies:
        if isinstance(item, Study) and (stage is None or (item.error is None and item.ct is None and item.pet is None)):
            if item.id in seen:
                code, message = "duplicate_id", "a study of this id was given before"
                failed = None if stage is None else item.failed(stage, code, message)
                yield BadLine(item.id, BadLineError(code, message, failed))
                continue
            seen.add(item.id)
        yield item
