"""``score`` for a person: a table in place of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, TextIO

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Record
from petct_cli.core.score_records import Comparison
from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.stages.score import Score

_FORMS = ("jsonl", "table", "md", "latex", "csv", "html")


def chosen_form(asked: str, *, terminal: bool, per_sample: bool) -> str:
    """Return the form of the output: ``jsonl``, ``table``, ``md``, ``latex``, ``csv`` or ``html``.

    Raises
    ------
    UsageError
        ``bad_option`` for a form that is unknown, or that has no place for records of single samples.
    """
    if asked not in ("auto", *_FORMS):
        raise UsageError("bad_option", f"--format takes {', '.join(_FORMS)}")
    if asked == "auto":
        return "table" if terminal and not per_sample else "jsonl"
    if per_sample and asked != "jsonl":
        raise UsageError("bad_option", "--per-sample emits records: only with --format jsonl")
    return asked


@dataclass(frozen=True)
class ShownScore:
    """Score, hand the table to `write` and emit nothing.

    Parameters
    ----------
    stage
        What scores.
    form
        ``table``, ``md``, ``latex``, ``csv`` or ``html``.
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
        from petct_cli.metrics.table_forms import FORMS
        from petct_cli.metrics.table_terminal import terminal

        scores = [made for made in self.stage.collect(records) if isinstance(made, ScoreRecord | Comparison)]
        self.write((terminal(scores, self.width) if self.form == "table" else FORMS[self.form](scores)).encode())
        yield from ()


def as_shown(stage: Score, asked: str, out: TextIO | None, width: int) -> Score | ShownScore:
    """Return `stage` so that it gives its output in the form `asked` for (`chosen_form`).

    `out` is None where nothing takes output, which is for the runner to say.
    """
    form = chosen_form(asked, terminal=out is not None and out.isatty(), per_sample=stage.per_sample)
    return stage if form == "jsonl" or out is None else ShownScore(stage, form, out.buffer.write, width)
