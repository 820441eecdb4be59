"""stderr is for people: faults, a progress bar on a terminal, a last line of counts; ``--json-logs`` for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from petct_cli.core.errors import OutputError

if TYPE_CHECKING:
    from rich.progress import Progress


class Reporter:
    """Says what happens in one run of one stage.

    Parameters
    ----------
    stage
        Name of the command, for the ``petct NAME:`` prefix.
    quiet
        No progress and no counts.
    json_logs
        File that gets one JSON object per event appended.
    """

    def __init__(self, stage: str, *, quiet: bool, json_logs: Path | None) -> None:
        self.stage = stage
        self.quiet = quiet
        self._log: IO[bytes] | None = None
        self._progress: Progress | None = None
        self._started = time.monotonic()
        if json_logs is not None:
            try:
                self._log = json_logs.open("ab")
            except OSError as error:
                raise OutputError("output_failed", f"cannot write {json_logs}: {error.strerror}") from None

    def line(self, text: str) -> None:
        """Write one line, above the progress bar if there is one."""
        message = f"petct {self.stage}: {_printable(text)}"
        if self._progress is not None:
            self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)
        elif sys.stderr is not None:
            sys.stderr.write(message + "\n")

    def fault(self, place: str, code: str, message: str) -> None:
        """Report one bad line or failed record."""
        self.line(f"{place}: {message} [{code}]")
        self.event("fault", place=place, code=code, message=message)

    def note(self, text: str) -> None:
        """Say something worth knowing that is no fault."""
        if not self.quiet:
            self.line(text)
        self.event("note", message=text)

    def event(self, kind: str, **fields: Any) -> None:
        """Append one event to the JSON log."""
        if self._log is None:
            return
        import orjson

        # A file name may hold bytes that are no text.
        told = {name: _encodable(value) if isinstance(value, str) else value for name, value in fields.items()}
        self._log.write(orjson.dumps({"time": time.time(), "stage": self.stage, "event": kind, **told}) + b"\n")
        self._log.flush()

    def advance(self, records: int = 1) -> None:
        """Count so many more records on the progress bar."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], records)

    def finish(self, counts: dict[str, int]) -> None:
        """Close with the counts: a line when something failed or a person is watching, an event in any case."""
        seconds = time.monotonic() - self._started
        self.event("finish", seconds=round(seconds, 3), **counts)
        watched = _watched() and not self.quiet
        if watched or counts["failed"] or counts["bad_lines"]:
            self.line(
                ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number) or "0"
            )

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Show a bar while the body runs, on a terminal only; pass the package's log messages on."""
        handler = _ToReporter(self)
        logger = logging.getLogger("petct_cli")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            if self.quiet or not _watched():
                yield
            else:
                yield from self._with_bar()
        finally:
            logger.removeHandler(handler)
            if self._log is not None:
                self._log.close()
                self._log = None

    def _with_bar(self) -> Iterator[None]:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task(f"petct {self.stage}", total=None)
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None


def _printable(text: str) -> str:
    """Return `text` on one line and without commands to the terminal: ids and file names come from anywhere."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _watched() -> bool:
    """Say whether a person sees stderr (which may be closed altogether)."""
    return sys.stderr is not None and sys.stderr.isatty()


class _ToReporter(logging.Handler):
    """Library code logs; the command line decides that a person reads it on stderr."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING and not self._reporter.quiet:
            self._reporter.line(message)
            self._reporter.event("warning", message=message)
        else:
            self._reporter.note(message)
