"""``score`` for a person: a table in place of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from petct_cli.core.records import Record
from petct_cli.core.records import Score as ScoreRecord
from petct_cli.stages.score import Score


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
