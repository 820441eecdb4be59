"""Scores as a table for people: a row per system, control and group, a column per metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from petct_cli.core.records import Score

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
    """Say for each system and metric how much is lost when its texts are shuffled among patients."""
    lines = []
    for score in scores:
        counts = score.counts or {}
        if score.control == "shuffled" and "image_signal" in counts and score.metric in ("site_f1", "f1_tpf", "bleu4"):
            name = " ".join(part for part in (score.system, HEADINGS.get(score.metric, score.metric)) if part)
            p_value = counts.get("p_value")
            certainty = "" if p_value is None else f", p = {p_value:.2g}"
            lines.append(f"{name}: image signal {counts['image_signal']:+.2f}{certainty}")
    return lines


def score_rows(scores: Iterable[Score]) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows as text: system, what it is, n, then ``value [low, high]`` per metric."""
    metrics, lines = arrange(scores)
    heading = ["System", "On", "n", *(HEADINGS.get(metric, metric) for metric in metrics)]
    rows = [
        [
            line.system,
            line.what,
            str(next(iter(line.cells.values())).n),
            *(_cell(line.cells.get(metric)) for metric in metrics),
        ]
        for line in lines
    ]
    if not any(row[0] for row in rows):
        return heading[1:], [row[1:] for row in rows]
    return heading, rows


def _cell(score: Score | None) -> str:
    if score is None or score.value is None:
        return ""
    text = f"{score.value:.2f}"
    return f"{text} [{score.ci95[0]:.2f}, {score.ci95[1]:.2f}]" if score.ci95 else text


def _two_lines(score: Score | None) -> str:
    if score is None or score.value is None:
        return ""
    digits = 1 if max(abs(score.value), *map(abs, score.ci95 or [0.0])) >= 10 else 2
    text = f"{score.value:.{digits}f}"
    return f"{text}\n{score.ci95[0]:.{digits}f}, {score.ci95[1]:.{digits}f}" if score.ci95 else text


def markdown_table(scores: Sequence[Score]) -> str:
    """Return the scores as a Markdown table, with the signatures below."""
    heading, rows = score_rows(scores)
    lines = [heading, ["---"] * len(heading), *rows]
    table = "\n".join("| " + " | ".join(map(_in_a_cell, line)) + " |" for line in lines)
    return f"{table}\n\n" + "\n".join(f"- {line}" for line in [*image_signals(scores), *_signatures(scores)]) + "\n"


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def terminal_table(scores: Sequence[Score], width: int) -> str:
    """Return the scores as a table of at most `width` columns, with the signatures below.

    Groups are shown for a single system only; several are compared on the whole.
    """
    import io

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    systems = {score.system for score in scores}
    metrics, lines = arrange(score for score in scores if len(systems) == 1 or not score.group)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for metric in metrics:
        table.add_column(HEADINGS.get(metric, metric), justify="right")
    for line in lines:
        what = line.what.removeprefix("control: ") if line.system else line.what
        name = " · ".join(part for part in (line.system, what if what != "all" else "") if part)
        table.add_row(name or "all", *(_two_lines(line.cells.get(metric)) for metric in metrics))
    page = io.StringIO()
    console = Console(file=page, width=width, markup=False, highlight=False)
    console.print(table)
    for signal in image_signals(scores):
        console.print(signal)
    console.print()
    for signature in _signatures(scores):
        console.print(signature)
    return page.getvalue()


def _signatures(scores: Sequence[Score]) -> list[str]:
    named = {score.metric: score.signature for score in reversed(scores) if not score.control and not score.group}
    return [f"{metric}: {named[metric]}" for metric in sorted(named)]
