"""Scores as a table for people: a row per system, pair of systems, group and control, a column per metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from petct_cli.core.records import Comparison, Score

# In the order of the columns: what a model must get right before how it words it.
HEADINGS = {
    "site_f1": "Site F1",
    "size_mae_mm": "Size MAE mm",
    "size_r": "Size r",
    "suv_mae": "SUV MAE",
    "suv_r": "SUV r",
    "f1_t": "F1-T",
    "f1_tp": "F1-TP",
    "f1_tf": "F1-TF",
    "f1_tpf": "F1-TPF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    **{f"bleu{order}": f"BLEU-{order}" for order in range(1, 5)},
    "chrf": "chrF++",
    "meteor": "METEOR",
    "cider_d": "CIDEr-D",
    **{f"bertscore_{part}": f"BERTScore {part.upper()}" for part in ("p", "r", "f1")},
}


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
    order = {metric: place for place, metric in enumerate(HEADINGS)}
    return sorted(metrics, key=lambda metric: order.get(metric, len(order))), [*own, *common.values()]


def _values(cells: Mapping[str, Score]) -> dict[str, float | None]:
    return {metric: score.value for metric, score in cells.items()}


def image_signals(scores: Iterable[Score]) -> list[str]:
    """Say for each system whether its texts fit their own patients better than others', and a template better still."""
    scores = list(scores)
    by_what = {(score.system, score.control, score.metric): score for score in scores if not score.group}
    lines = []
    for score in scores:
        counts = score.counts or {}
        if score.control != "shuffled" or "image_signal" not in counts or score.metric not in _MAIN:
            continue
        name = " ".join(part for part in (score.system, HEADINGS.get(score.metric, score.metric)) if part)
        chance = counts.get("p_value")
        none = "none, " if chance is not None and chance > _LEVEL else ""
        certainty = "" if chance is None else f", p = {chance:.2g}"
        own, template = (by_what.get((score.system, control, score.metric)) for control in (None, "template"))
        better = own is not None and template is not None and _better(template, own)
        also = f"; a constant template scores higher ({template.value:.2f})" if better and template is not None else ""
        lines.append(f"{name}: image signal {none}{_signed(counts['image_signal'], 2)}{certainty}{also}")
    return lines


_MAIN = ("site_f1", "f1_tpf", "bleu4")
_LEVEL = 0.05


def _better(one: Score, other: Score) -> bool:
    if one.value is None or other.value is None:
        return False
    return one.value > other.value if one.higher_is_better else one.value < other.value


@dataclass(frozen=True)
class Cell:
    """One value of a table as text, and what stands small beside it: the interval, how many, the chance."""

    value: str = ""
    beside: tuple[str, ...] = ()

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
    """All scores of a run as text, for any form of table: metrics with their headings, lines, notes below."""

    headings: Mapping[str, str]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def named(self) -> bool:
        """Whether systems have names."""
        return any(line.system for line in self.lines)


def sheet(records: Iterable[Score | Comparison]) -> Sheet:
    """Return the table of `records`: systems, differences between them, groups with the systems together, controls."""
    found = list(records)
    scores = [record for record in found if isinstance(record, Score)]
    differences = [record for record in found if isinstance(record, Comparison)]
    metrics, rows = arrange(scores)
    upwards = {record.metric: record.higher_is_better for record in found}
    headings = {metric: HEADINGS.get(metric, metric) + ("" if upwards[metric] else " ↓") for metric in metrics}
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
    notes = (*image_signals(scores), *_signatures(found))
    return Sheet(headings, (*own, *_difference_lines(differences), *groups, *controls), notes)


def _line(section: str, row: TableRow) -> Line:
    # Lesions are more or fewer than samples: most metrics are over samples.
    found = Counter(score.n for score in row.cells.values() if score.value is not None)
    n = found.most_common(1)[0][0] if found else 0
    return Line(section, row.system, row.what, str(n), {name: _cell(score, n) for name, score in row.cells.items()})


def _cell(score: Score, n: int) -> Cell:
    if score.value is None:
        return Cell()
    few = () if score.n == n else (f"n={score.n}",)
    digits = _digits(score.value, score.ci95)
    return Cell(_fixed(score.value, digits), (*_bounds(score.ci95, digits), *few))


def _digits(value: float, ci95: Sequence[float] | None) -> int:
    return 1 if max(abs(value), *map(abs, ci95 or [0.0])) >= 1000 else 2


def _bounds(ci95: Sequence[float] | None, digits: int) -> tuple[str, ...]:
    return (f"[{_fixed(ci95[0], digits)}, {_fixed(ci95[1], digits)}]",) if ci95 else ()


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _signal_line(row: TableRow) -> Line:
    cells = {}
    for metric, score in row.cells.items():
        counts = score.counts or {}
        if "image_signal" in counts:
            cells[metric] = Cell(_signed(counts["image_signal"], 2), _chances(counts.get("p_value"), None))
    return Line("controls", row.system, "image signal", "", cells)


def _chances(p_value: float | None, adjusted: float | None) -> tuple[str, ...]:
    if p_value is None:
        return ()
    return (
        f"p={p_value:.2g}" if adjusted is None or adjusted == p_value else f"p={p_value:.2g} (Holm {adjusted:.2g})",
    )


def _difference_lines(differences: Iterable[Comparison]) -> list[Line]:
    by_pair: dict[tuple[str, str], dict[str, Cell]] = {}
    for one in differences:
        cells = by_pair.setdefault((one.system, one.against), {})
        if one.difference is not None:
            digits = _digits(one.difference, one.ci95)
            beside = (*_bounds(one.ci95, digits), *_chances(one.p_value, one.p_adjusted))
            cells[one.metric] = Cell(_signed(one.difference, digits), beside)
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
