"""The worst samples of each system as HTML: reference and hypothesis side by side, their lesions marked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from petct_cli.metrics.glossary import name_of
from petct_cli.metrics.stock import stock_spans
from petct_cli.metrics.verdict import said
from petct_cli.report.language import language_of
from petct_cli.report.sites import lesion_words, site_words
from petct_cli.stages.page import short, visible

if TYPE_CHECKING:
    from petct_cli.metrics.families import Fact, Item
    from petct_cli.stages.score_run import ScoredSystem

LONGEST_TEXT = 6000
_POOL = 8
# Statuses of lesions, which are also the classes of their marks, and what they mean: never colour alone.
KINDS = {
    "matched": "in both",
    "differs": "in both, told differently",
    "omitted": "only in the reference: omitted",
    "hallucinated": "only in the hypothesis: hallucinated",
    "unplaced": "only in the reference, which names no place for it",
}


@dataclass(frozen=True)
class Mark:
    """One lesion of one text.

    Attributes
    ----------
    kind
        A key of `KINDS`.
    spans
        Half-open character ranges in its text; none for a lesion that came with the record.
    place
        Where it is, in words.
    number
        The same for both lesions of a pair, 0 for one that is alone.
    wrong
        What the two of a pair state differently: place, side, type, fdg, size, suv.
    """

    kind: str
    spans: tuple[tuple[int, int], ...]
    place: str
    number: int = 0
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One sample: its values of the leading metrics, its lesions, and the sides from which none could be read."""

    item: Item
    values: Mapping[str, float]
    reference: Sequence[Mark]
    hypothesis: Sequence[Mark]
    unread: Sequence[str] = ()

    @property
    def faults(self) -> Counter[str]:
        """How many lesions are omitted, hallucinated, or told with another side, size and so on."""
        marks = [*self.reference, *(mark for mark in self.hypothesis if not mark.number)]
        found = Counter(mark.kind for mark in marks if mark.kind in ("omitted", "hallucinated"))
        found.update(f"wrong {_WRONG.get(fault, fault)}" for mark in self.reference for fault in mark.wrong)
        return found


_WRONG = {"fdg": "FDG", "suv": "SUV"}


def marks_of(detail: Mapping[str, Any]) -> tuple[list[Mark], list[Mark]]:
    """Return the lesions of reference and hypothesis as `petct_cli.metrics.clinical_detail.compared` tells them."""
    if "pairs" not in detail:
        return [], []
    pairs = {
        side: {pair[side]: (number, tuple(pair["wrong"])) for number, pair in enumerate(detail["pairs"], 1)}
        for side in ("reference", "hypothesis")
    }
    mine, theirs = (
        [_mark_of(lesion, *pairs[side].get(index, (0, ()))) for index, lesion in enumerate(detail[side])]
        for side in ("reference", "hypothesis")
    )
    return mine, theirs


def _mark_of(lesion: Mapping[str, Any], number: int, wrong: tuple[str, ...]) -> Mark:
    places = ", ".join(site_words(place["organ"], place["side"]) for place in lesion["places"])
    spans = tuple((start, end) for start, end in lesion["spans"])
    return Mark("differs" if wrong else lesion["status"], spans, places or "?", number, wrong)


def worst_cases(system: ScoredSystem, leads: Sequence[str], number: int) -> list[Case]:
    """Return the samples with the worst values of the first metric in `leads`, at most one per patient.

    Of equal ones those with more wrong lesions come first, then those with worse values of the other `leads`. Samples
    without a hypothesis are left out: there is nothing to see.
    """
    import numpy as np

    items = system.input.items
    families = {name: family for family in system.families for name in family.metrics()}
    values = {name: families[name].value(name, system.rows(families[name])) for name in leads}
    spoken = np.array([status == "ok" for _, status in system.input.read if status != "without_truth"])
    defined = spoken & np.isfinite(values[leads[0]])
    upwards = [(1 if families[name].higher_is_better(name) else -1) * values[name] for name in leads]
    pool: dict[str, int] = {}
    for index in np.lexsort(tuple(reversed(upwards))).tolist():
        if defined[index] and len(pool) < number * _POOL:
            pool.setdefault(items[index].patient, index)
    cases = []
    for rank, index in enumerate(pool.values()):
        item = items[index]
        reference = None if item.reference is None else _cut(item.reference)
        item = replace(item, reference=reference, hypothesis=_cut(item.hypothesis))
        detail = _detail(system, item)
        own = {name: float(values[name][index]) for name in leads}
        case = Case(item, own, *marks_of(detail), detail.get("extraction_failed", ()))
        cases.append((float(upwards[0][index]), -case.faults.total(), rank, case))
    return [case for *_, case in sorted(cases, key=lambda one: one[:3])[:number]]


def _detail(system: ScoredSystem, item: Item) -> Mapping[str, Any]:
    """Return the lesions as they were scored; as they would be by default where they were not asked for."""
    from petct_cli.metrics.registry import MetricOptions, build_families

    for family in (*system.families, *build_families(("f1_t",), "vi", MetricOptions())):
        if found := family.detail(item, item.answer).get("clinical"):
            return dict(found)
    return {}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def legend() -> str:
    """Return what the marks mean, in the marks themselves."""
    shown = [f'<li><mark class="{kind}">{escape(words)}</mark></li>' for kind, words in KINDS.items()]
    return (
        f'<ul class="legend">{"".join(shown)}<li><span class="stock">stock sentence, in many reports</span></li></ul>'
    )


def case_html(case: Case, stock: frozenset[str]) -> str:
    """Return one case as an article."""
    item = case.item
    values = "".join(
        f"<span><b>{escape(name_of(name))}</b> {said(value)}</span>"
        for name, value in case.values.items()
        if math.isfinite(value)
    )
    faults = "".join(f"<li>{count} {escape(words)}</li>" for words, count in sorted(case.faults.items()))
    question = f'<p class="question" lang="vi">{escape(visible(_cut(item.question)))}</p>' if item.question else ""
    return (
        f'<article class="case"><header><h4><code>{escape(short(item.id))}</code></h4>'
        f'<span class="soft">{escape(short(item.group))}</span><span class="values">{values}</span></header>'
        f"{question}"
        + (f'<ul class="faults">{faults}</ul>' if faults else "")
        + (
            f'<p class="soft">No lesions could be read from the {" and the ".join(case.unread)}.</p>'
            if case.unread
            else ""
        )
        + '<div class="sides">'
        + _side("Reference", item.reference or "", case.reference, stock, _known(item.truth))
        + _side("Hypothesis", item.hypothesis, case.hypothesis, stock)
        + "</div></article>"
    )


def _side(title: str, text: str, marks: Sequence[Mark], stock: frozenset[str], more: str = "") -> str:
    shown = marked_text(text, marks, stock) or '<span class="soft">(empty)</span>'
    language = language_of(text)
    lang = f' lang="{language}"' if language else ""
    listed = "; ".join(f"{mark.place} ({KINDS[mark.kind]})" for mark in marks if not mark.spans)
    if listed:
        more = f'<p class="soft">Lesions that came with the record: {escape(listed)}</p>{more}'
    return f'<section><h5>{title}</h5><p class="text" dir="auto"{lang}>{shown}</p>{more}</section>'


def _known(truth: Sequence[Fact] | None) -> str:
    """Return the lesions that are known from elsewhere than the reference."""
    if truth is None:
        return ""
    told = ", ".join(lesion_words(fact.site, fact.side, fact.size_mm, fact.suv_max) for fact in truth)
    return f'<p class="soft">True lesions: <span lang="vi">{escape(told or "–")}</span></p>'


def marked_text(text: str, marks: Sequence[Mark], stock: frozenset[str]) -> str:
    """Return `text` as HTML: lesions marked, stock sentences dimmed.

    Parameters
    ----------
    marks
        The lesions of this text.
    stock
        Of `petct_cli.metrics.stock.stock_sentences`.
    """
    out: list[str] = []
    position = 0
    dim = stock_spans(text, stock)
    for (start, end), inside in _places(marks):
        out.append(_plain(text, position, start, dim))
        out.append(_mark(visible(text[start:end]), inside))
        position = end
    return "".join([*out, _plain(text, position, len(text), dim)])


def _places(marks: Sequence[Mark]) -> Iterator[tuple[tuple[int, int], list[Mark]]]:
    """Yield the spans of the lesions in order, those that overlap as one."""
    spans = sorted((span, number) for number, mark in enumerate(marks) for span in mark.spans)
    start = end = 0
    inside: dict[int, Mark] = {}
    for span, number in spans:
        if inside and span[0] >= end:
            yield (start, end), list(inside.values())
            inside = {}
        if not inside:
            start, end = span
        end = max(end, span[1])
        inside[number] = marks[number]
    if inside:
        yield (start, end), list(inside.values())


def _mark(text: str, inside: Sequence[Mark]) -> str:
    kinds = {mark.kind for mark in inside}
    kind = kinds.pop() if len(kinds) == 1 else "differs"
    numbers = sorted({mark.number for mark in inside if mark.number})
    sign = f"<sup>{'·'.join(map(str, numbers))}</sup>" if numbers else ""
    notes = _notes(inside)
    note = f'<span class="note">{escape(notes)}</span>' if notes else ""
    return (
        f'<mark class="{kind}" title="{escape(KINDS[kind])}"><span class="unseen">[{escape(KINDS[kind])}] </span>'
        f"{escape(text)}{sign}</mark>{note}"
    )


def _notes(inside: Sequence[Mark]) -> str:
    """Return what is wrong with the lesions of one mark, with their places where there are several."""
    told: dict[str, list[str]] = {}
    for mark in inside:
        fault = ", ".join(_WRONG.get(one, one) for one in mark.wrong) if mark.number else mark.kind
        if fault and (len(inside) > 1 or mark.wrong):
            told.setdefault(fault, []).append(mark.place)
    if len(inside) == 1:
        return next(iter(told), "")
    return "; ".join(f"{fault}: {', '.join(dict.fromkeys(places))}" for fault, places in told.items())


def _plain(text: str, start: int, end: int, dim: Sequence[tuple[int, int]]) -> str:
    """Return a part of the text with its stock sentences dimmed."""
    out: list[str] = []
    position = start
    for first, last in dim:
        first, last = max(first, position), min(last, end)
        if first >= last:
            continue
        out.append(escape(visible(text[position:first])))
        out.append(f'<span class="stock">{escape(visible(text[first:last]))}</span>')
        position = last
    return "".join([*out, escape(visible(text[position:end]))])
