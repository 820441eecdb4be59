"""The plots of the page of scores: a system beside its controls, and all systems in each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.metrics.glossary import name_of
from petct_cli.metrics.interval_plot import CONTROL, SHAPES, Line, Point, interval_plot, marker
from petct_cli.metrics.verdict import Verdict, verdict
from petct_cli.stages.page import short

if TYPE_CHECKING:
    from petct_cli.stages.score_run import ScoredSystem

MOST_GROUPS, MOST_PLOTS = 12, 6
# What each control is called in a table, and in a plot; the ceiling would only press the others together.
CONTROLS = {
    "shuffled": ("Shuffled among patients", "shuffled"),
    "template": ("Template", "template"),
    "other_patient": ("Another patient's report", "another patient"),
    "chance": ("Chance", "chance"),
    "frequent_site": ("Commonest site", "commonest site"),
    "stock_removed": ("Without stock sentences", ""),
    "self": ("Reference itself", ""),
}

# What families tell apart beside the groups of samples (`petct_cli.metrics.families.Part`).
_PARTS = ("organ",)


@dataclass(frozen=True)
class ShownSystem:
    """One system on the page: its place among the marks, its scores, its verdict."""

    place: int
    name: str
    scored: ScoredSystem
    own: Mapping[str, ScoreRecord]
    controls: Mapping[str, Mapping[str, ScoreRecord]]
    groups: Mapping[str, Mapping[str, ScoreRecord]]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.own, self.controls)


def evidence(system: ShownSystem, metric: str, reasons: Sequence[str], limits: tuple[float, float]) -> str:
    """Return the sentences on one metric and the plot that they are about."""
    own = system.own.get(metric)
    if own is None or own.value is None:
        return f"<section><h3>{escape(name_of(metric))}</h3><p>Not defined on these samples.</p></section>"
    lines = [Line("this system", [_point(own, system.place % SHAPES, system.name)])]
    for control, (_, label) in CONTROLS.items():
        score = system.controls.get(control, {}).get(metric)
        if label and score is not None and score.value is not None:
            lines.append(Line(label, [_point(score, CONTROL, control)]))
    plot = interval_plot(f"{name_of(metric)} of {system.name} and of its controls", lines, limits)
    sentences = f"<p>{escape(' '.join(reasons))}</p>" if reasons else ""
    return f"<section><h3>{escape(name_of(metric))}</h3>{sentences}{plot}</section>"


def limits_of(shown: Sequence[ShownSystem], metric: str) -> tuple[float, float]:
    """Return the ends of an axis that holds `metric` of every system and its controls but the ceiling."""
    ends = [0.0]
    for system in shown:
        for scores in (system.own, *(system.controls.get(name, {}) for name, (_, label) in CONTROLS.items() if label)):
            score = scores.get(metric)
            ends += [score.value, *(score.ci95 or [])] if score is not None and score.value is not None else []
    return min(ends), max(ends)


def key(system: ShownSystem) -> str:
    """Return the mark of a system, where it has one of its own."""
    return marker(system.place) if system.place < SHAPES else ""


def _point(score: ScoreRecord, series: int, label: str) -> Point:
    interval = (score.ci95[0], score.ci95[1]) if score.ci95 else None
    return Point(series, label, score.value or 0.0, interval)


_LOWER = (
    ' <span class="lower" title="lower is better"><span aria-hidden="true">↓</span>'
    '<span class="unseen">lower is better</span></span>'
)


def metric_words(metric: str, shown: Sequence[ShownSystem]) -> str:
    """Return what a metric is called, with an arrow where less is better."""
    lower = any(not system.own[metric].higher_is_better for system in shown if metric in system.own)
    return escape(name_of(metric)) + (_LOWER if lower else "")


def groupings(shown: Sequence[ShownSystem]) -> dict[str, dict[str, str]]:
    """Return by what the samples were grouped: for each field, and for organs, the groups and what to call them."""
    fields = [name for groups in shown[0].scored.input.groups[:1] for name in groups] or ["region"]
    # The groups of the first field are named by their values alone (`petct_cli.stages.score_input.Fields`).
    signs = {f"{name}=": name for name in fields[1:]} | {f"{name}:": name for name in _PARTS}
    found: dict[str, dict[str, str]] = {}
    for group in dict.fromkeys(group for system in shown for group in system.groups):
        sign = next((sign for sign in signs if group.startswith(sign)), "")
        found.setdefault(signs.get(sign, fields[0]), {})[group] = short(group.removeprefix(sign)).replace("_", " ")
    return found


def by_group(shown: Sequence[ShownSystem], by: str, groups: Mapping[str, str], metrics: Sequence[str]) -> str:
    """Return a plot for each of the first metrics that the groups have, with all systems that marks can tell apart."""
    plotted = shown[:SHAPES]
    plots: list[str] = []
    for metric in metrics:
        lines = [
            Line(label, [_point(score, system.place, system.name) for system, score in of_group])
            for group, label in [("", "all"), *groups.items()][: MOST_GROUPS + 1]
            if (of_group := _of_group(plotted, group, metric))
        ]
        if len(lines) > 1 and len(plots) < MOST_PLOTS:
            plots.append(
                f"<figure><figcaption>{metric_words(metric, shown)}</figcaption>"
                f"{interval_plot(f'{name_of(metric)} by {by}', lines)}</figure>"
            )
    left = [f"{len(groups) - MOST_GROUPS} more groups are in the records."] if len(groups) > MOST_GROUPS else []
    left += [f"Only the first {SHAPES} systems are drawn."] if len(shown) > SHAPES else []
    keys = "".join(f"<li>{key(system)}{escape(system.name)}</li>" for system in plotted)
    note = f'<p class="soft">{escape(" ".join(left))}</p>' if left else ""
    return f'<ul class="legend">{keys}</ul>{note}<div class="plots">{"".join(plots)}</div>' if plots else ""


def _of_group(shown: Sequence[ShownSystem], group: str, metric: str) -> list[tuple[ShownSystem, ScoreRecord]]:
    found = [(system, (system.groups.get(group, {}) if group else system.own).get(metric)) for system in shown]
    return [(system, score) for system, score in found if score is not None and score.value is not None]
