"""Seeing all studies before the first one is paired: who is on which side, and whose reports say the same."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import orjson

from petct_cli.core.errors import OutputError, RecordError, UsageError
from petct_cli.core.records import Record, Study
from petct_cli.core.scratch import scratch_folder
from petct_cli.core.store import write_atomically
from petct_cli.dataset.placement import DuplicateRule, Plan, Planner
from petct_cli.dataset.split_rules import AnyRule
from petct_cli.stages.pair_reports import Ledger

ItemT = TypeVar("ItemT")


class ReadsSections(Protocol):
    """Something that finds the report of a study, by section."""

    def sections(self, study: Study, /) -> Mapping[str, str]:
        """Return the sections; raise `RecordError` when there is no report."""
        ...


@dataclass
class Placing:
    """Places studies: passes what it is given on, each study with its split, after all were seen.

    Parameters
    ----------
    rule, duplicates
        How patients come to splits, and what becomes of those whose reports say the same.
    leakage
        File to write the leakage report to: Markdown by its suffix, else JSON.
    ledger
        Sees to it that no report goes to two studies.
    writes
        Whether to write the files asked for; a dry run does not.
    """

    rule: AnyRule
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)
    leakage: Path | None = None
    ledger: Ledger = field(default_factory=lambda: Ledger(None))
    writes: bool = True
    _counts: dict[str, int] | None = field(default=None, init=False)
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a report of what nobody looked for (``leakage_off``)."""
        if self.leakage is not None and self.duplicates.mode == "off":
            raise UsageError("leakage_off", "--leakage needs --duplicates move, drop or flag")

    @property
    def is_needed(self) -> bool:
        """Whether the order of things matters at all: otherwise each study goes by itself and records stream."""
        looks = self.duplicates.mode != "off" and not self.rule.is_one
        told = self.leakage is not None or self.ledger.unmatched is not None
        return self.rule.needs_all or looks or told or self.ledger.source is not None

    def counts(self) -> dict[str, int] | None:
        """Return numbers of duplicates, once all studies are placed; None where nobody looked for any."""
        return self._counts

    @contextmanager
    def folder(self) -> Iterator[Path | None]:
        """Make the private folder that `place` wants, None when no study must wait for another."""
        with scratch_folder() if self.is_needed else nullcontext() as folder:
            yield folder

    def place(self, items: Iterable[ItemT], reports: ReadsSections, folder: Path | None) -> Iterator[ItemT]:
        """Yield `items` in their order, studies with their placement, after the last one was read.

        Parameters
        ----------
        items
            Studies, and whatever else: that is passed on as it is.
        reports
            Finds what a study's report says.
        folder
            An empty private folder with room for all of them; None: pass all on as they come.
        """
        if folder is None:
            for item in items:
                if isinstance(item, Study):
                    self.ledger.see_report(item)
                yield item
            self._notes += self.ledger.notes()
            return
        planner = Planner(self.rule, self.duplicates, folder)
        spool = folder / "items"
        number = 0
        try:
            with spool.open("wb") as file:
                for item in items:
                    pickle.dump(item, file, pickle.HIGHEST_PROTOCOL)
                    if isinstance(item, Study):
                        planner.add(item, _sections(reports, item))
                        self.ledger.see(number, item)
                        number += 1
            plan = planner.plan()
        except OSError as error:
            raise OutputError("scratch_unwritable", f"cannot write temporary files: {error.strerror}") from None
        shared = self.ledger.faults()
        self._notes += [*plan.notes(), *self.ledger.notes()]
        if self.writes:
            self.ledger.write()
        self._counts = plan.duplicate_counts()
        if self.leakage is not None and self.writes:
            self._write(plan, self.leakage)
        with spool.open("rb") as file:
            number = 0
            for found in _unpickled(file):
                if isinstance(found, Study):
                    if not plan.is_dropped(number):
                        placement = replace(plan.placement(number), report_fault=shared.get(number))
                        yield found.placed(placement)  # type: ignore[misc]
                    number += 1
                else:
                    yield found

    def _write(self, plan: Plan, path: Path) -> None:
        from petct_cli.dataset.leakage import leakage, markdown

        report = leakage(plan)
        is_markdown = path.suffix.lower() in (".md", ".markdown")
        data = markdown(report).encode() if is_markdown else orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n"
        write_atomically(path, data)

    def see(self, record: Record) -> None:
        """Take no note of a written record."""

    def notes(self) -> Iterator[str]:
        """Yield what a person should know at the end."""
        yield from self._notes


def _sections(reports: ReadsSections, study: Study) -> Mapping[str, str]:
    try:
        return reports.sections(study)
    except RecordError:
        return {}


def _unpickled(file: BinaryIO) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(file)  # noqa: S301 - written by this process a moment ago, in a folder of its own
        except EOFError:
            return


def placed_split(study: Study, rule: AnyRule) -> str | None:
    """Return the split of a study: where it was placed, else by itself.

    Raises
    ------
    RecordError
        ``split_needs_all``: this rule says it only of all studies together. ``period_unknown``, ``month_unlisted``,
        ``split_*``: what `rule` says of this study.
    """
    if study.placement is None:
        split = rule.own(study)
        if split is None:
            raise RecordError("split_needs_all", "this split is known only after all studies were seen")
        return split
    if study.placement.fault is not None:
        raise RecordError(*study.placement.fault)
    return study.placement.split
