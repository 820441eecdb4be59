"""``score --html``: the verdict, the scores with their controls and the worst cases on one self-contained page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from petct_cli.core.score_records import Comparison
from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.metrics.glossary import name_of
from petct_cli.metrics.stock import stock_sentences
from petct_cli.metrics.table import arrange
from petct_cli.metrics.verdict import SIGNIFICANT, leading_metrics, said, said_p
from petct_cli.stages.page import html_page, short
from petct_cli.stages.score_cases import case_html, legend, worst_cases
from petct_cli.stages.score_pairs import shown as name_of_system
from petct_cli.stages.score_plots import (
    CONTROLS,
    ShownSystem,
    by_group,
    evidence,
    groupings,
    key,
    limits_of,
    metric_words,
)

if TYPE_CHECKING:
    from petct_cli.stages.score_run import ScoredSystem

MOST_CASES, CASES_OF_ONE = 120, 6
STOCK_FROM = 5000
# What metrics count of texts that they could not read.
_UNREAD = ("unparseable", "extraction_failed", "reference_extraction_failed")
_ByMetric = dict[str, ScoreRecord]


def score_page(systems: Sequence[ScoredSystem], records: Sequence[ScoreRecord | Comparison]) -> bytes:
    """Return the page: what the controls say comes first, how it was computed last.

    Parameters
    ----------
    systems
        What was scored, for the worst cases.
    records
        All scores and comparisons of these systems.
    """
    scores = [record for record in records if isinstance(record, ScoreRecord)]
    compared = [record for record in records if isinstance(record, Comparison)]
    metrics, _ = arrange(scores)
    defined = {score.metric for score in scores if score.value is not None and not score.control and not score.group}
    undefined = [name_of(metric) for metric in metrics if metric not in defined] if defined else []
    metrics = [metric for metric in metrics if metric in defined or not defined]
    leads = leading_metrics(metrics)
    shown = _ranked(systems, scores, leads[0])
    limits = {metric: limits_of(shown, metric) for metric in leads}
    sections = {
        "Leaderboard": _leaderboard(shown, metrics, compared) + _left_out(undefined),
        **{
            f"By {by}": by_group(shown, by, groups, [*leads, *(one for one in metrics if one not in leads)])
            for by, groups in groupings(shown).items()
        },
        "Worst cases": _cases(shown, leads),
        "Null controls": _controls(shown, metrics),
        "Counts": _counts(shown),
        "Signatures": _signatures(shown, metrics),
    }
    told = {title: markup for title, markup in sections.items() if markup}
    links = " ".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in told)
    body = [
        f'<header class="top">{_head(shown)}<nav aria-label="On this page">{links}</nav></header>',
        f'<main><section class="verdicts">{"".join(_card(system, limits) for system in shown)}</section>',
        *(
            f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{markup}</section>'
            for title, markup in told.items()
        ),
        "</main>",
    ]
    return html_page("petct score", body, styles=["score_page.css"], kind="petct score", body_class="score")


def _ranked(systems: Sequence[ScoredSystem], scores: Sequence[ScoreRecord], lead: str) -> list[ShownSystem]:
    """Return the systems, the best by the first leading metric first."""
    found: dict[str | None, tuple[_ByMetric, dict[str, _ByMetric], dict[str, _ByMetric]]] = {}
    for score in scores:
        own, controls, groups = found.setdefault(score.system, ({}, {}, {}))
        if score.control:
            controls.setdefault(score.control, {})[score.metric] = score
        elif score.group:
            groups.setdefault(score.group, {})[score.metric] = score
        else:
            own[score.metric] = score

    def rank(system: ScoredSystem) -> float:
        score = found[system.name][0].get(lead)
        if score is None or score.value is None:
            return float("inf")
        return -score.value if score.higher_is_better else score.value

    return [
        ShownSystem(
            place,
            short(name_of_system(system.name) if len(systems) > 1 else system.name or "the system"),
            system,
            *found[system.name],
        )
        for place, system in enumerate(sorted(systems, key=rank))
    ]


def _head(shown: Sequence[ShownSystem]) -> str:
    levels = [system.verdict.level for system in shown]
    seeing = levels.count("yes")
    if len(shown) == 1:
        said_first = shown[0].verdict.headline
    elif set(levels) == {"untested"}:
        said_first = "Not tested whether any system looks at the image"
    else:
        said_first = f"{seeing or 'None'} of {len(shown)} systems show{'s' if seeing == 1 else ''} an image signal"
    samples = max(len(system.scored.input.items) for system in shown)
    patients = max(len({item.patient for item in system.scored.input.items}) for system in shown)
    told = [_number(len(shown), "system"), _number(samples, "sample"), _number(patients, "patient")]
    return (
        f'<p class="eyebrow">petct score · {" · ".join(told)}</p><h1>{escape(said_first)}</h1>'
        '<p class="soft">A system that looks at the image loses when its texts are given to other patients of the same '
        "region; one that does not loses nothing. This page holds report texts: treat it as patient data.</p>"
    )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _card(system: ShownSystem, limits: Mapping[str, tuple[float, float]]) -> str:
    found = system.verdict
    faults = system.scored.input.faults
    lost, total = faults["failed"] + faults["missing"], len(system.scored.input.items)
    told = f"<p><b>{lost:,} of {total:,}</b> hypotheses failed or are missing and count as empty.</p>" if lost else ""
    return (
        f'<article class="card {found.level}"><h2>{key(system)}{escape(system.name)}</h2>'
        f'<p class="level">{escape(found.headline)} <small>({escape(found.why)})</small></p>{told}'
        f'<div class="evidence">'
        + "".join(evidence(system, metric, found.reasons.get(metric, ()), ends) for metric, ends in limits.items())
        + "</div></article>"
    )


def best_systems(comparisons: Sequence[Comparison], systems: int) -> dict[str, str]:
    """Return for each metric the system that the paired test finds better than every other; none where there is none.

    Only a corrected p-value below 0.05 counts, against each of the other `systems`; one that could not be compared with
    all of them is not the best.
    """
    won: dict[str, Counter[str]] = {}
    for one in comparisons:
        if one.difference and one.p_adjusted is not None and one.p_adjusted < SIGNIFICANT:
            better = one.system if (one.difference > 0) == one.higher_is_better else one.against
            won.setdefault(one.metric, Counter())[better] += 1
    return {metric: name for metric, wins in won.items() for name, number in wins.items() if number == systems - 1}


def _leaderboard(shown: Sequence[ShownSystem], metrics: Sequence[str], comparisons: Sequence[Comparison]) -> str:
    best = best_systems(comparisons, len(shown))
    common = {
        name: shown[0].controls[name]
        for name in ("template", "other_patient", "self")
        if name in shown[0].controls and all(_same(shown[0].controls[name], one.controls.get(name)) for one in shown)
    }
    heads = [f'<th scope="col">{key(system)}{escape(system.name)}</th>' for system in shown]
    heads += [f'<th scope="col" class="control">{escape(CONTROLS[name][0])}</th>' for name in common]
    rows = []
    for metric in metrics:
        cells = [
            _cell(system.own.get(metric), "best" if best.get(metric) == name_of_system(system.scored.name) else "")
            for system in shown
        ]
        cells += [_cell(scores.get(metric), "control") for scores in common.values()]
        rows.append(f'<tr><th scope="row">{metric_words(metric, shown)}</th>{"".join(cells)}</tr>')
    told = "Values with 95 % intervals over patients; ↓ lower is better."
    if len(shown) > 1:
        tested = any(one.p_adjusted is not None for one in comparisons)
        told += (
            " ★ marks a system that is better than every other: paired randomisation of patients, corrected for the "
            f"number of pairs, p < {SIGNIFICANT:g}. Where no star is, none is better than all others."
            if tested
            else " The systems were not compared with each other, so none is marked as the best."
        )
    table = _table([*heads], rows, "Scores of all systems with 95 % intervals", "Metric")
    return f'<p class="soft">{escape(told)}</p>{table}'


def _left_out(undefined: Sequence[str]) -> str:
    told = f"Not defined on these samples: {', '.join(undefined)}."
    return f'<p class="soft">{escape(told)}</p>' if undefined else ""


def _same(one: Mapping[str, ScoreRecord], other: Mapping[str, ScoreRecord] | None) -> bool:
    return other is not None and {name: score.value for name, score in one.items()} == {
        name: score.value for name, score in other.items()
    }


def _cell(score: ScoreRecord | None, css: str = "") -> str:
    named = f' class="{css}"' if css else ""
    if score is None or score.value is None:
        return f'<td{named}><span class="soft">–</span></td>'
    bounds = f"<small>{said(score.ci95[0])} to {said(score.ci95[1])}</small>" if score.ci95 else ""
    star = '<span aria-hidden="true">★ </span><span class="unseen">best: </span>' if css == "best" else ""
    return f"<td{named}>{star}<b>{said(score.value)}</b>{bounds}</td>"


def _table(heads: Sequence[str], rows: Sequence[str], caption: str, corner: str) -> str:
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f'<caption class="unseen">{escape(caption)}</caption><thead><tr><th scope="col">{escape(corner)}</th>'
        f"{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


_OF_CONTROLS = (
    "What texts score that were not written for the patient, and what is left of a system without the sentences that "
    "many reports share."
)


def _controls(shown: Sequence[ShownSystem], metrics: Sequence[str]) -> str:
    parts = []
    for system in shown:
        names = [name for name in CONTROLS if name in system.controls]
        if not names:
            continue
        heads = ['<th scope="col">Its own texts</th>', '<th scope="col">Image signal</th>']
        heads += [f'<th scope="col" class="control">{escape(CONTROLS[name][0])}</th>' for name in names]
        rows = [
            f'<tr><th scope="row">{metric_words(metric, [system])}</th>{_cell(system.own[metric])}'
            f"{_signal(system.controls.get('shuffled', {}).get(metric))}"
            + "".join(_cell(system.controls[name].get(metric), "control") for name in names)
            + "</tr>"
            for metric in metrics
            if metric in system.own
        ]
        parts.append(f"<h3>{key(system)}{escape(system.name)}</h3>")
        parts.append(_table(heads, rows, f"Scores and null controls of {system.name}", "Metric"))
    if not parts:
        return ""
    return f'<p class="soft">{_OF_CONTROLS}</p>' + "".join(parts)


def _signal(shuffled: ScoreRecord | None) -> str:
    counts = (shuffled.counts or {}) if shuffled is not None else {}
    if "image_signal" not in counts:
        return '<td><span class="soft">–</span></td>'
    certainty = f"<small>{said_p(counts['p_value'])}</small>" if "p_value" in counts else ""
    return f"<td>{counts['image_signal']:+.2f}{certainty}</td>"


def _cases(shown: Sequence[ShownSystem], leads: Sequence[str]) -> str:
    stock = stock_sentences([item for system in shown for item in system.scored.input.items][:STOCK_FROM])
    number = max(1, min(CASES_OF_ONE, MOST_CASES // len(shown)))
    parts = []
    for system in shown[:MOST_CASES]:
        cases = worst_cases(system.scored, leads, number)
        told = (
            f"{_number(len(cases), 'sample')} with the worst {name_of(leads[0])} of "
            f"{len(system.scored.input.items):,}, at most one per patient."
        )
        parts.append(f'<h3>{key(system)}{escape(system.name)}</h3><p class="soft">{escape(told)}</p>')
        parts += [case_html(case, stock) for case in cases]
    return legend() + "".join(parts)


def _counts(shown: Sequence[ShownSystem]) -> str:
    counted = {system.place: _counted(system) for system in shown}
    names = list(dict.fromkeys(name for counts in counted.values() for name in counts))
    heads = [f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in names]
    rows = [
        f'<tr><th scope="row">{key(system)}{escape(system.name)}</th>'
        + "".join(f"<td>{counted[system.place].get(name, 0):,}</td>" for name in names)
        + "</tr>"
        for system in shown
    ]
    return _table(heads, rows, "What was read of each system, and what of it could not be", "System")


def _counted(system: ShownSystem) -> dict[str, int]:
    """Return how much was read of a system, and what was wrong with it: by the reader, then by the metrics."""
    items = system.scored.input.items
    counts = {"samples": len(items), "patients": len({item.patient for item in items})}
    counts |= dict(sorted(system.scored.input.faults.items()))
    for score in system.own.values():
        told = {name: int(number) for name, number in (score.counts or {}).items() if name in _UNREAD}
        counts |= {name: max(number, counts.get(name, 0)) for name, number in told.items()}
    return counts


def _signatures(shown: Sequence[ShownSystem], metrics: Sequence[str]) -> str:
    found = {
        metric: dict.fromkeys(system.own[metric].signature for system in shown if metric in system.own)
        for metric in metrics
    }
    told = "".join(
        f"<dt>{escape(name_of(metric))}</dt><dd>"
        + "".join(f"<code>{escape(one)}</code>" for one in signatures)
        + "</dd>"
        for metric, signatures in found.items()
    )
    return f'<dl class="signatures">{told}</dl>'
