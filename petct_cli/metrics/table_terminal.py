"""The table of scores on a terminal: what a person can take in at once, and where the rest of it is.

Each system with what its own controls say, the controls that all have in common, then in what the others differ from
the first system, and the groups by the metric that counts most. Intervals stand with the systems only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from petct_cli.core.score_records import Comparison, Score
from petct_cli.metrics.table import Cell, Line, Sheet, sheet
from petct_cli.metrics.verdict import leading_metrics

MOST_GROUPS = 24
_NARROWEST_NAME = 16
_GAP, _EDGES = 2, 3  # what rich's box takes beside each column, and beside the first


@dataclass(frozen=True)
class _Row:
    """One row: what it is of, and the text of each cell by column."""

    label: str
    cells: Mapping[str, str]
    title: bool = False


def terminal(records: Sequence[Score | Comparison], width: int) -> str:
    """Return the scores as tables of at most `width` columns, with verdicts and signatures below.

    What does not fit beside each other goes into a further table; of many groups the first are shown.
    """
    from rich.console import Console

    page = sheet(records)
    systems = list(dict.fromkeys(line.system for line in page.lines if line.section == "all"))
    groups = list(dict.fromkeys(line.on for line in page.lines if line.section == "groups"))
    shown = [line for line in page.lines if line.section == "groups" and line.on in groups[:MOST_GROUPS]]
    # How many samples stands once where it is the same for all systems.
    numbers = {line.n for line in page.lines if line.section == "all"}
    n = numbers.pop() if len(numbers) == 1 else ""
    rows = [*_of_systems(page, systems, n), *_common(page, systems), *_differences(page, systems[0])]
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False)
    if len(systems) == 1:
        rows += [_Row("groups", {}, title=True)] if shown else []
        rows += [_Row(f"  {line.on} ({line.n})", _values(line)) for line in shown]
    for part in _tables(f"n = {n}" if n else "", page.headings, rows, width):
        console.print(part)
    if len(systems) > 1 and shown:
        lead = leading_metrics([name for name in page.headings if any(_value(line, name) for line in shown)])[0]
        for part in _tables(
            f"{page.headings[lead]} by group", {name: name for name in systems}, list(_by_group(shown, lead)), width
        ):
            console.print(part)
    for line in (*_left_out(page, systems, len(groups)), "", *page.verdicts, "", *_short(page)):
        console.print(line, soft_wrap=True)
    return out.getvalue()


def _of_systems(page: Sheet, systems: Sequence[str], n: str) -> Iterator[_Row]:
    for system in systems:
        own = [line for line in page.lines if line.system == system]
        for line in own:
            if line.section == "all":
                cells = {name: _stacked(cell) for name, cell in line.cells.items()}
                yield _Row((system or "all") + ("" if n else f" ({line.n})"), cells)
        # The signal is what the controls of a system are for.
        controls = [line for line in own if line.section == "controls"]
        for line in sorted(controls, key=lambda line: line.on != "image signal"):
            yield _Row(f"  {_control(line)}", _values(line))


def _common(page: Sheet, systems: Sequence[str]) -> Iterator[_Row]:
    lines = [line for line in page.lines if line.section == "controls" and line.system not in systems]
    if lines:
        yield _Row("controls of any system", {}, title=True)
    for line in lines:
        yield _Row(f"  {_control(line)}", _values(line))


def _control(line: Line) -> str:
    return line.on.removeprefix("control: ").replace("_", " ")


def _differences(page: Sheet, first: str) -> Iterator[_Row]:
    lines = [line for line in page.lines if line.section == "differences"]
    if lines:
        yield _Row(f"{first} minus (p: Holm)", {}, title=True)
    for line in lines:
        if line.system.startswith(f"{first} - "):
            yield _Row(f"  {line.system.removeprefix(f'{first} - ')}", _values(line))


def _by_group(lines: Sequence[Line], metric: str) -> Iterator[_Row]:
    for group in dict.fromkeys(line.on for line in lines):
        of_group = [line for line in lines if line.on == group]
        yield _Row(f"{group} ({of_group[0].n})", {line.system: _value(line, metric) for line in of_group})


def _left_out(page: Sheet, systems: Sequence[str], groups: int) -> Iterator[str]:
    pairs = sum(line.section == "differences" for line in page.lines)
    hidden = []
    if pairs > len(systems) - 1:
        hidden.append("differences between the others")
    if groups > MOST_GROUPS:
        hidden.append(f"{groups - MOST_GROUPS} more groups")
    if groups and len(systems) > 1:
        hidden.append("other metrics by group")
    if hidden:
        yield f"Left out: {', '.join(hidden)}; --format md or csv has everything."


def _short(page: Sheet) -> Iterator[str]:
    """Yield the signatures, with what those of all metrics have in common told once."""
    own = {name: parts.split("|") for name, _, parts in (line.partition(": ") for line in page.signatures)}
    of_metrics = [parts for name, parts in own.items() if name in page.headings]
    shared = [part for part in of_metrics[0][1:] if len(of_metrics) > 1 and all(part in parts for parts in of_metrics)]
    for name, (first, *parts) in own.items():
        own_parts = [part for part in parts if name not in page.headings or part not in shared]
        yield f"{name}: {'|'.join([first, *own_parts])}"
    if shared:
        yield f"all metrics: {'|'.join(shared)}"


def _values(line: Line) -> dict[str, str]:
    return {name: _value(line, name) for name in line.cells}


def _value(line: Line, metric: str) -> str:
    cell = line.cells.get(metric, Cell())
    chance = cell.p_value if cell.p_adjusted is None else cell.p_adjusted
    return cell.value if chance is None else f"{cell.value}\np={chance:.2g}"


def _stacked(cell: Cell) -> str:
    return "\n".join(part for part in (cell.value, cell.rough_bounds, cell.few) if part)


def _tables(corner: str, columns: Mapping[str, str], rows: Sequence[_Row], width: int) -> Iterator[object]:
    """Yield tables that hold all `columns` (key and heading) between them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    names = min(max(len(text) for text in (corner, *(row.label for row in rows))), max(_NARROWEST_NAME, width // 3))
    for chosen in _fitting(columns, rows, width - names - _EDGES):
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column(corner, max_width=names, overflow="fold")
        for key in chosen:
            table.add_column(columns[key], justify="right", overflow="fold")
        for row in rows:
            if row.title or any(key in row.cells for key in chosen):
                texts = [row.cells.get(key, "") for key in chosen]
                table.add_row(row.label, *texts, style="bold" if row.title else None)
        yield table


def _fitting(columns: Mapping[str, str], rows: Sequence[_Row], width: int) -> Iterator[list[str]]:
    """Yield the columns of one table after the other."""
    chosen: list[str] = []
    used = 0
    for key, heading in columns.items():
        texts = [heading, *(row.cells.get(key, "") for row in rows)]
        own = _GAP + max(len(part) for text in texts for part in text.split("\n"))
        if chosen and used + own > width:
            yield chosen
            chosen, used = [], 0
        chosen.append(key)
        used += own
    if chosen:
        yield chosen
