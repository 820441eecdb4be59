"""The file that keeps one line per run of ``score``: for cron, where the same input comes again and again."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from petct_cli import __version__
from petct_cli.core.errors import OutputError, UsageError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.jsonl import encode
from petct_cli.core.score_records import Comparison, ScoreLog
from petct_cli.core.score_records import Score as ScoreRecord

if TYPE_CHECKING:
    from petct_cli.stages.score_run import ScoreRun

_log = logging.getLogger(__name__)


def summary(run: ScoreRun, scores: Iterable[ScoreRecord | Comparison]) -> ScoreLog:
    """Return the line about `run`, which gave `scores`."""
    inputs = [
        {"system": system.name, "samples": len(system.input.read), "sha256": system.stamp.inputs_sha256}
        for system in run.systems
    ]
    options = run.options.content_options()
    signatures: list[str] = []
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for score in scores:
        if isinstance(score, Comparison) or score.group:
            continue
        key = (score.system, score.metric)
        if score.control is None:
            found[key] = {"system": score.system, "metric": score.metric, "value": score.value, "n": score.n}
            found[key] |= {"ci95": score.ci95} if score.ci95 else {}
            signatures.append(score.signature)
        elif score.control == "shuffled":
            counts = score.counts or {}
            found[key] |= {name: counts[name] for name in ("image_signal", "p_value") if name in counts}
    fields: dict[str, Any] = {
        "id": sha256_json([inputs, options, signatures, __version__])[:16],
        "version": __version__,
        "options": options,
        "inputs": inputs,
        "scores": list(found.values()),
    }
    return ScoreLog(**fields)


def refuse_other_uses(append: Path | None, html: Path | None, *others: str | Path | None) -> None:
    """Refuse files to write that are also read, or are the lock: a page would replace what it is about.

    Raises
    ------
    UsageError
        ``same_file``.
    """
    taken = {os.path.realpath(other) for other in others if other is not None}
    for option, path in (("--append", append), ("--html", html)):
        if path is not None and os.path.realpath(path) in taken:
            raise UsageError("same_file", f"{option} takes a file of its own, no input, output or lock of this run")
        taken |= {os.path.realpath(path)} if path is not None else set()


class LogFile:
    """A file of `ScoreLog` lines.

    Parameters
    ----------
    path
        Made when it is not there.

    Raises
    ------
    OutputError
        ``output_failed`` at once when nothing can be written there: not after an hour of scoring.
    """

    def __init__(self, path: Path) -> None:
        from petct_cli.core.store import refuse_unwritable

        self._path = path
        if not path.parent.is_dir():
            raise OutputError("output_failed", f"cannot write {path}")
        refuse_unwritable(path)

    def add(self, line: ScoreLog) -> bool:
        """Add `line` unless one of the same id is there; say so if it is. Return whether it was added.

        Two runs wait for each other. What a killed run or a full disk left of a line is taken away first.

        Raises
        ------
        OutputError
            ``output_failed``: the file is then as it was.
        """
        try:
            with self._locked() as descriptor:
                kept = self._whole(descriptor)
                if line.id in _ids(kept):
                    _log.warning("%s has the same input and options already: nothing added", self._path)
                    return False
                self._write(descriptor, len(kept), encode(line) + b"\n")
                return True
        except OSError as error:
            raise OutputError("output_failed", f"cannot write {self._path}: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _whole(self, descriptor: int) -> bytes:
        """Return the lines in the file, each with its end, and leave nothing else in it."""
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read()
        if not data or data.endswith(b"\n"):
            return data
        start = data.rfind(b"\n") + 1
        try:
            orjson.loads(data[start:])
        except orjson.JSONDecodeError:
            _log.warning("%s ended in half a line, which is removed", self._path)
            os.ftruncate(descriptor, start)
            return data[:start]
        self._write(descriptor, len(data), b"\n")
        return data + b"\n"

    @staticmethod
    def _write(descriptor: int, size: int, data: bytes) -> None:
        """Append `data` in one call, so that no kill comes in between; take a part of it back."""
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise


def _ids(data: bytes) -> set[str]:
    """Return the ids of the lines that can be read."""
    found = set()
    for line in data.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and value.get("type") == ScoreLog.TYPE:
            found.add(str(value.get("id")))
    return found
