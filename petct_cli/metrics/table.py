"""Scores as a table for people: a row per system, control and group, a column per metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from petct_cli.core.records import Score

HEADINGS = {
    "site_f1": "Site F1",
    "size_mae_mm": "Size MAE mm",
    "size_r": "Size r",
    "suv_mae": "SUV MAE",
    "suv_r": "SUV r",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    **{f"bleu{order}": f"BLEU-{order}" for order in range(1, 5)},
}


def score_rows(scores: Iterable[Score]) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows: system, what it is, then ``value [low, high]`` per metric."""
    found: dict[tuple[str, str], dict[str, Score]] = {}
    metrics: dict[str, None] = {}
    for score in scores:
        what = f"control: {score.control}" if score.control else score.group or "all"
        found.setdefault((score.system or "", what), {})[score.metric] = score
        metrics.setdefault(score.metric)
    heading = ["System", "On", "n", *(HEADINGS.get(metric, metric) for metric in metrics)]
    rows = [
        [system, what, str(next(iter(cells.values())).n), *(_cell(cells.get(metric)) for metric in metrics)]
        for (system, what), cells in found.items()
    ]
    if not any(row[0] for row in rows):
        return heading[1:], [row[1:] for row in rows]
    return heading, rows


def _cell(score: Score | None) -> str:
    if score is None or score.value is None:
        return ""
    text = f"{score.value:.2f}"
    return f"{text} [{score.ci95[0]:.2f}, {score.ci95[1]:.2f}]" if score.ci95 else text


def markdown_table(scores: Sequence[Score]) -> str:
    """Return the scores as a Markdown table, with the signatures below."""
    heading, rows = score_rows(scores)
    lines = [heading, ["---"] * len(heading), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n" + "\n".join(f"- {line}" for line in _signatures(scores)) + "\n"


def terminal_table(scores: Sequence[Score], width: int) -> str:
    """Return the scores as a table of at most `width` columns, with the signatures below."""
    import io

    from rich.console import Console
    from rich.table import Table

    heading, rows = score_rows(scores)
    table = Table()
    for name in heading:
        table.add_column(name, justify="left" if name in ("System", "On") else "right")
    for row in rows:
        table.add_row(*(cell.replace(" [", "\n[") for cell in row))
    page = io.StringIO()
    console = Console(file=page, width=width, markup=False, highlight=False)
    console.print(table)
    for line in _signatures(scores):
        console.print(line)
    return page.getvalue()


def _signatures(scores: Sequence[Score]) -> list[str]:
    named = {score.metric: score.signature for score in reversed(scores) if not score.control and not score.group}
    return [f"{metric}: {named[metric]}" for metric in sorted(named)]
