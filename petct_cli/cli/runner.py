"""stdin -> stage -> stdout: the one place where a filter's behaviour is decided.

Bad lines are reported and skipped, failed records keep their identity, upstream failures pass through, order is kept
under ``--jobs``, each record is flushed, a closed pipe ends in silence, and the exit code remembers what went wrong.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable

from petct_cli.cli.reporting import Reporter
from petct_cli.cli.shared import MaxFailures, Shared
from petct_cli.cli.sources import BadLine, Item
from petct_cli.core.errors import ExitCode, OutputError, PetctError, RecordError
from petct_cli.core.gather import Gather
from petct_cli.core.jsonl import BAD_LINE_CODES, Lines, encode
from petct_cli.core.lock import exclusive
from petct_cli.core.parallel import open_executor, ordered_map
from petct_cli.core.records import AnyRecord, ErrorInfo, Record


@runtime_checkable
class Stage(Protocol):
    """A filter that works on one record at a time. Instances must be picklable."""

    name: ClassVar[str]
    version: ClassVar[str]
    consumes: ClassVar[tuple[type[Record], ...]]

    def __call__(self, record: Any, /) -> Iterable[Record | Lines]:
        """Return what becomes of `record`; raise `PetctError` to fail it."""
        ...


@runtime_checkable
class WholeStage(Protocol):
    """A filter that must see all records before it can say anything (``train``, ``score``)."""

    name: ClassVar[str]
    version: ClassVar[str]
    consumes: ClassVar[tuple[type[Record], ...]]

    def collect(self, records: Iterable[Any]) -> Iterable[Record]:
        """Return what becomes of `records`, failed ones included."""
        ...


@dataclass(frozen=True)
class _Outcome:
    """What one record became: in a worker process this is all that comes back."""

    records: Sequence[Record | Lines]
    worked: bool
    bug: str | None = None

    def failed_in(self, stage: str) -> bool:
        return self.worked and any(made.error is not None and made.error.stage == stage for made in self.records)


@dataclass
class _Counts:
    records: int = 0
    written: int = 0
    failed: int = 0
    inherited_failures: int = 0
    bad_lines: int = 0
    bugs: int = field(default=0)
    # Of the input, for percentages: one study may become several failed samples.
    _given: int = 0
    _spoilt: int = 0

    def as_dict(self) -> dict[str, int]:
        return {name: int(value) for name, value in vars(self).items() if not name.startswith("_")}

    def give(self) -> None:
        self._given += 1

    def spoil(self) -> None:
        self._spoilt += 1

    def too_many(self, limit: MaxFailures) -> bool:
        failed = self._spoilt if limit.percent else self.failed
        return limit.exceeded(failed + self.bad_lines, self._given + self.bad_lines)


class _StopEarly(Exception):
    """``--fail-fast`` met its first failure."""


class Watch(Protocol):
    """Sees every record that is written, in this process, and has something to say at the end."""

    def see(self, record: Record, /) -> None:
        """Take note of a written record."""
        ...

    def notes(self) -> Iterable[str]:
        """Return what a person should know after the last record."""
        ...


def run(
    stage: Stage | WholeStage,
    source: Iterable[Item],
    shared: Shared,
    watch: Watch | None = None,
    gather: Gather | None = None,
) -> None:
    """Run `stage` over `source`, write its records to stdout and exit with the contract's code.

    What the stage gives goes through `gather` first, which may keep records back until after the last.

    Raises
    ------
    SystemExit
        With an `ExitCode` other than 0.
    """
    code = execute(stage, source, shared, watch, gather)
    if code:
        raise SystemExit(int(code))


def execute(
    stage: Stage | WholeStage,
    source: Iterable[Item],
    shared: Shared,
    watch: Watch | None = None,
    gather: Gather | None = None,
) -> ExitCode:
    """Do the work of `run` and return the exit code."""
    reporter = Reporter(stage.name, quiet=shared.quiet, json_logs=shared.json_logs)
    counts = _Counts()
    code = ExitCode.OK
    try:
        with ExitStack() as stack:
            stack.enter_context(exclusive(shared.lock))
            stack.enter_context(reporter.progress())
            out = _Output()
            try:
                _pump(stage, source, shared, reporter, counts, out, watch, gather)
                for speaker in (watch, gather):
                    for note in speaker.notes() if speaker is not None and not shared.dry_run else ():
                        reporter.note(note)
            except _StopEarly:
                pass
            except _StdoutFailedError:
                raise
            except PetctError as error:
                out.close()
                reporter.line(str(error) + f" [{error.code}]")
                code = error.exit_code if error.exit_code != ExitCode.RECORDS_FAILED else ExitCode.INPUT_UNUSABLE
            reporter.finish(counts.as_dict())
            out.close()
    except BrokenPipeError:
        _abandon_stdout()
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        reporter.line(f"the operating system refused: {error.strerror} [io_failed]")
        return ExitCode.IO
    except PetctError as error:
        if isinstance(error, _StdoutFailedError):
            _abandon_stdout()
        reporter.line(f"{error} [{error.code}]")
        return error.exit_code
    except KeyboardInterrupt:
        reporter.line("interrupted; the same command goes on from here")
        return ExitCode.INTERRUPTED
    return code or _verdict(counts, shared)


def _verdict(counts: _Counts, shared: Shared) -> ExitCode:
    if counts.bugs:
        return ExitCode.BUG
    return ExitCode.RECORDS_FAILED if counts.too_many(shared.max_failures) else ExitCode.OK


class _StdoutFailedError(OutputError):
    """stdout takes nothing more (disk full)."""


class _Output:
    """stdout as bytes, flushed per record."""

    def __init__(self) -> None:
        if sys.stdout is None:  # closed before petct began: `>&-`
            raise OutputError("output_failed", "stdout is closed")
        self._file: BinaryIO = sys.stdout.buffer

    def write(self, line: bytes) -> None:
        with _stdout_faults():
            self._file.write(line + b"\n")
            self._file.flush()

    def close(self) -> None:
        with _stdout_faults():
            self._file.flush()


@contextmanager
def _stdout_faults() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _StdoutFailedError("output_failed", f"cannot write to stdout: {error.strerror}") from None


def _pump(
    stage: Stage | WholeStage,
    source: Iterable[Item],
    shared: Shared,
    reporter: Reporter,
    counts: _Counts,
    out: _Output,
    watch: Watch | None = None,
    gather: Gather | None = None,
) -> None:
    taken = gather.take if gather is not None else _as_it_is
    items = _readable(source, stage.name, shared, reporter, counts)
    if shared.dry_run:
        for record in items:
            reporter.line(f"would {'work on' if _wanted(stage, record) else 'pass on'} {shown_id(stage, record)}")
        return
    if isinstance(stage, WholeStage):
        for made in stage.collect(_given(items, counts)):
            failed = counts.failed
            for record in taken(made):
                _emit(record, stage.name, reporter, counts, out, shared, mine=not _is_bad_line(record))
            if counts.failed > failed:
                counts.spoil()
        _emit_rest(gather, stage.name, reporter, counts, out, shared)
        return
    with ExitStack() as stack:
        # The source is closed first, the executor last: a closed pipe must not wait for work nobody will read.
        executor, in_flight = stack.enter_context(open_executor(shared.jobs, shared.executor))
        outcomes = stack.enter_context(
            closing(_iterator(ordered_map(partial(_work, stage), items, executor, in_flight)))
        )
        for outcome in outcomes:
            _tell(outcome, stage.name, reporter, counts)
            for record in outcome.records:
                if isinstance(record, Lines):
                    _emit_lines(record, reporter, counts, out)
                    continue
                for made in taken(record):
                    _emit(made, stage.name, reporter, counts, out, shared, mine=outcome.worked)
                    if watch is not None:
                        watch.see(made)
    _emit_rest(gather, stage.name, reporter, counts, out, shared)


def _tell(outcome: _Outcome, stage: str, reporter: Reporter, counts: _Counts) -> None:
    if outcome.bug:
        counts.bugs += 1
        reporter.line(outcome.bug)
    if outcome.worked:
        counts.give()
    if outcome.failed_in(stage):
        counts.spoil()


def _as_it_is(record: Record) -> Iterable[Record]:
    return (record,)


def _emit_rest(
    gather: Gather | None, stage: str, reporter: Reporter, counts: _Counts, out: _Output, shared: Shared
) -> None:
    for record in gather.rest() if gather is not None else ():
        _emit(record, stage, reporter, counts, out, shared, mine=True)


def _given(items: Iterable[Record], counts: _Counts) -> Iterator[Record]:
    for record in items:
        if record.error is None:
            counts.give()
        yield record


def _is_bad_line(record: Record) -> bool:
    """Say whether `record` was already told of, and counted, as a bad line."""
    return record.error is not None and record.error.code in BAD_LINE_CODES


def _iterator(outcomes: Iterator[_Outcome]) -> Any:
    """`ordered_map` is a generator; say so to `closing`."""
    return outcomes


def _readable(
    source: Iterable[Item], stage: str, shared: Shared, reporter: Reporter, counts: _Counts
) -> Iterator[Record]:
    """Take the bad lines out, keeping what identity they have, and keep to the shard."""
    for item in source:
        if shared.shard is not None and not shared.shard.holds(_id_of(item)):
            continue
        counts.records += 1
        if isinstance(item, BadLine):
            reporter.fault(item.place, item.fault.code, item.fault.message)
            counts.bad_lines += 1
            if shared.fail_fast:
                raise _StopEarly
            if item.fault.record is None:
                continue
            error = ErrorInfo(stage=stage, code=item.fault.code, message=item.fault.message)
            item = item.fault.record.with_fields(error=error)
        yield item


def _id_of(item: Item) -> str:
    """Return the id by which `item` comes to a shard; a line that shows none is told of by whoever has its place."""
    if not isinstance(item, BadLine):
        return item.id
    return item.place if item.fault.record is None else item.fault.record.id


def shown_id(stage: Stage | WholeStage, record: Record) -> str:
    """Return what people may see as a record's name: a stage that hides identities has its own ``shown_id``."""
    own = getattr(stage, "shown_id", None)
    return record.id if own is None else str(own(record))


def _wanted(stage: Stage | WholeStage, record: Record) -> bool:
    return record.error is None and isinstance(record, stage.consumes)


def _work(stage: Stage, record: Record) -> _Outcome:
    """Run the stage on one record; everything that can go wrong with one record ends here."""
    if not record.error and not isinstance(record, stage.consumes):
        wanted = " or ".join(kind.TYPE or "any" for kind in stage.consumes)
        message = f"a {record.type or 'nameless'} record, where {stage.name} reads {wanted}"
        return _Outcome([record.failed(stage.name, "wrong_type", message)], worked=True)
    try:
        if record.error is not None:
            return _Outcome(_pass_on(stage, record), worked=False)
        return _Outcome(list(stage(record)), worked=True)
    except PetctError as error:
        if error.exit_code != ExitCode.RECORDS_FAILED:
            raise
        if record.error is not None:
            return _Outcome([record], worked=False)
        return _Outcome([record.failed(stage.name, error.code, str(error))], worked=True)
    except (KeyboardInterrupt, BrokenPipeError, MemoryError):
        raise
    except Exception as error:
        # The exception's own text may show a value of the patient: only its type and place are told.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        message = f"a fault of petct itself: {type(error).__name__} at {where}"
        return _Outcome(
            [record.failed(stage.name, "bug", message)], worked=True, bug=f"{shown_id(stage, record)}: {message}"
        )


def _pass_on(stage: Stage, record: Record) -> list[Record]:
    """Let a stage that fans records out do so with a failed one, too."""
    fan_out = getattr(stage, "fan_out_failed", None)
    return [record] if fan_out is None or not isinstance(record, stage.consumes) else list(fan_out(record))


def _emit(
    record: Record, stage: str, reporter: Reporter, counts: _Counts, out: _Output, shared: Shared, *, mine: bool
) -> None:
    try:
        line = encode(record)
    except RecordError as error:
        # What cannot be written keeps its identity; a stage must not end the run for the others.
        record = AnyRecord(type=record.type, id=record.id).failed(stage, error.code, error.message)
        line, mine = encode(record), True
    failed_here = record.error is not None and record.error.stage == stage and mine
    if failed_here and record.error is not None:
        counts.failed += 1
        if record.error.code != "bug":
            reporter.fault(record.id or "?", record.error.code, record.error.message)
    elif record.error is not None:
        counts.inherited_failures += 1
    out.write(line)
    counts.written += 1
    reporter.advance()
    if failed_here and shared.fail_fast:
        raise _StopEarly


def _emit_lines(made: Lines, reporter: Reporter, counts: _Counts, out: _Output) -> None:
    for line in made.lines:
        out.write(line)
    counts.written += len(made.lines)
    reporter.advance(len(made.lines))


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
