"""Scores as a table for people: a row per system, pair of systems, group and control, a column per metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from petct_cli.core.score_records import Comparison, Score
from petct_cli.metrics.glossary import name_of, over_samples, place_of
from petct_cli.metrics.verdict import verdicts


@dataclass(frozen=True)
class TableRow:
    """One line of a table of scores.

    Attributes
    ----------
    system
        Empty where there is only one, or where the line does not depend on the system.
    what
        ``all``, a group, or ``control: NAME``.
    cells
        Score by metric.
    """

    system: str
    what: str
    cells: Mapping[str, Score]


def arrange(scores: Iterable[Score]) -> tuple[list[str], list[TableRow]]:
    """Return the metrics in order and the lines of a table.

    Controls made from the references alone are the same for every system: they are told once, at the end.
    """
    found: dict[tuple[str, str], dict[str, Score]] = {}
    metrics: dict[str, None] = {}
    for score in scores:
        what = f"control: {score.control}" if score.control else score.group or "all"
        found.setdefault((score.system or "", what), {})[score.metric] = score
        metrics.setdefault(score.metric)
    systems = {system for system, _ in found}
    own, common = [], {}
    for (system, what), cells in found.items():
        others = [found.get((other, what), {}) for other in systems]
        same = all(_values(other) == _values(cells) for other in others)
        if len(systems) > 1 and what.startswith("control") and same:
            common[what] = TableRow("", what, cells)
        else:
            own.append(TableRow(system, what, cells))
    return sorted(metrics, key=place_of), [*own, *common.values()]


def _values(cells: Mapping[str, Score]) -> dict[str, float | None]:
    return {metric: score.value for metric, score in cells.items()}


@dataclass(frozen=True)
class Cell:
    """One value of a table as text, and what may stand small beside it.

    Attributes
    ----------
    bounds, rough_bounds
        Of its interval, as exact as the value; and as exact as there is room for on a terminal.
    few
        Over how many, where that is another number than the line's.
    p_value, p_adjusted
        Of a difference.
    """

    value: str = ""
    bounds: str = ""
    rough_bounds: str = ""
    few: str = ""
    p_value: float | None = None
    p_adjusted: float | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """Everything that there is to tell of it, part by part."""
        chance = "" if self.p_value is None else f"p={self.p_value:.2g}"
        if chance and self.p_adjusted is not None and self.p_adjusted != self.p_value:
            chance += f" (Holm {self.p_adjusted:.2g})"
        return tuple(part for part in (self.bounds and f"[{self.bounds}]", self.few, chance) if part)

    def __str__(self) -> str:
        return " ".join([self.value, *self.beside])


@dataclass(frozen=True)
class Line:
    """One line of a table as text.

    Attributes
    ----------
    section
        ``all``, ``differences``, ``groups`` or ``controls``.
    system, on
        Of what: one or two systems; ``all``, a group or a control.
    n
        Over how many samples, as text; empty for a difference.
    cells
        By metric.
    """

    section: str
    system: str
    on: str
    n: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Sheet:
    """All scores of a run as text, for any form of table: metrics with their headings, lines, what stands below.

    Attributes
    ----------
    verdicts
        What the controls say, a line per system.
    signatures
        A line per metric, then what controls and comparisons add.
    """

    headings: Mapping[str, str]
    lines: tuple[Line, ...]
    verdicts: tuple[str, ...]
    signatures: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return everything below the table."""
        return (*self.verdicts, *self.signatures)

    @property
    def named(self) -> bool:
        """Whether systems have names."""
        return any(line.system for line in self.lines)


def sheet(records: Iterable[Score | Comparison]) -> Sheet:
    """Return the table of `records`: systems, differences between them, groups with the systems together, controls.

    Names that come from a record give no command to a terminal and stay on their line.
    """
    found = list(records)
    scores = [record for record in found if isinstance(record, Score)]
    differences = [record for record in found if isinstance(record, Comparison)]
    metrics, rows = arrange(scores)
    upwards = {record.metric: record.higher_is_better for record in found}
    headings = {metric: name_of(metric) + ("" if upwards[metric] else " ↓") for metric in metrics}
    own = [_line("all", row) for row in rows if row.what == "all"]
    by_group: dict[str, list[Line]] = {}
    controls: list[Line] = []
    for row in rows:
        if row.what.startswith("control: "):
            controls.append(_line("controls", row))
            if row.what == "control: shuffled":
                controls.append(_signal_line(row))
        elif row.what != "all":
            by_group.setdefault(row.what, []).append(_line("groups", row))
    groups = [line for lines in by_group.values() for line in lines]
    lines = [*own, *_difference_lines(differences), *groups, *controls]
    return Sheet(
        {metric: _plain(heading) for metric, heading in headings.items()},
        tuple(replace(line, system=_plain(line.system), on=_plain(line.on)) for line in lines),
        tuple(map(_plain, verdicts(scores))),
        tuple(map(_plain, _signatures(found))),
    )


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def _line(section: str, row: TableRow) -> Line:
    # Lesions are more or fewer than samples: what is over samples tells how many, where anything is.
    defined = [score for score in row.cells.values() if score.value is not None]
    found = Counter(score.n for score in [one for one in defined if over_samples(one.metric)] or defined)
    n = found.most_common(1)[0][0] if found else 0
    return Line(section, row.system, row.what, str(n), {name: _cell(score, n) for name, score in row.cells.items()})


def _cell(score: Score, n: int) -> Cell:
    if score.value is None:
        return Cell()
    few = "" if score.n == n else f"n={score.n}"
    digits = _digits(score.value, score.ci95)
    return Cell(_fixed(score.value, digits), *_bounds(score.ci95, digits), few)


def _digits(value: float, ci95: Sequence[float] | None) -> int:
    return 1 if max(abs(value), *map(abs, ci95 or [0.0])) >= 1000 else 2


def _bounds(ci95: Sequence[float] | None, digits: int) -> tuple[str, str]:
    if not ci95:
        return "", ""
    rough = min(digits, 1 if max(map(abs, ci95)) >= 10 else 2)
    exact, short = (", ".join(_fixed(bound, places) for bound in ci95) for places in (digits, rough))
    return exact, short


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _signal_line(row: TableRow) -> Line:
    cells = {}
    for metric, score in row.cells.items():
        counts = score.counts or {}
        if "image_signal" in counts:
            cells[metric] = Cell(_signed(counts["image_signal"], 2), p_value=counts.get("p_value"))
    return Line("controls", row.system, "image signal", "", cells)


def _difference_lines(differences: Iterable[Comparison]) -> list[Line]:
    by_pair: dict[tuple[str, str], dict[str, Cell]] = {}
    for one in differences:
        cells = by_pair.setdefault((one.system, one.against), {})
        if one.difference is not None:
            digits = _digits(one.difference, one.ci95)
            exact, rough = _bounds(one.ci95, digits)
            cells[one.metric] = Cell(
                _signed(one.difference, digits), exact, rough, p_value=one.p_value, p_adjusted=one.p_adjusted
            )
    return [Line("differences", f"{a} - {b}", "all", "", cells) for (a, b), cells in by_pair.items()]


def _signatures(records: Sequence[Score | Comparison]) -> list[str]:
    """Return a line per metric: its signature over everything; then what controls and comparisons add to it."""
    own: dict[str, str] = {}
    for record in records:
        if isinstance(record, Score) and not record.control and not record.group:
            own.setdefault(record.metric, record.signature)
    added: dict[str, dict[str, None]] = {}
    for record in records:
        what = "differences" if isinstance(record, Comparison) else record.control
        if what and record.metric in own:
            known = own[record.metric].split("|")
            parts = [part for part in record.signature.split("|") if part not in known]
            added.setdefault(what, {}).update(dict.fromkeys(parts))
    lines = [f"{metric}: {own[metric]}" for metric in sorted(own)]
    return [*lines, *(f"{what}: {'|'.join(parts)}" for what, parts in added.items() if parts)]
