"""``score`` for a person: a table in place of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Record
from petct_cli.core.records import Score as ScoreRecord
from petct_cli.stages.score import Score


def chosen_form(asked: str, *, terminal: bool, per_sample: bool) -> str:
    """Return the form of the output: ``jsonl``, ``md`` or ``table``.

    Raises
    ------
    UsageError
        ``bad_option`` for a form that is unknown, or that has no place for records of single samples.
    """
    if asked not in ("auto", "jsonl", "md", "table"):
        raise UsageError("bad_option", "--format takes jsonl, md or table")
    if asked == "auto":
        return "table" if terminal and not per_sample else "jsonl"
    if per_sample and asked != "jsonl":
        raise UsageError("bad_option", "--per-sample emits records: not with --format md or table")
    return asked


@dataclass(frozen=True)
class ShownScore:
    """Score, hand the table to `write` and emit nothing.

    Parameters
    ----------
    stage
        What scores.
    form
        ``md`` or ``table``.
    write
        Takes the table as UTF-8 bytes.
    width
        Columns of the terminal.
    """

    stage: Score
    form: str
    write: Callable[[bytes], object]
    width: int = 120

    name: ClassVar[str] = Score.name
    version: ClassVar[str] = Score.version
    consumes: ClassVar[tuple[type[Record], ...]] = Score.consumes

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Write the table of all scores."""
        from petct_cli.metrics.table import markdown_table, terminal_table

        scores = [record for record in self.stage.collect(records) if isinstance(record, ScoreRecord)]
        table = markdown_table(scores) if self.form == "md" else terminal_table(scores, self.width)
        self.write(table.encode())
        yield from ()
