"""The worst samples of each system as HTML: reference and hypothesis side by side, their lesions marked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from petct_cli.metrics.lesion_marks import LesionMark, mark_lesions
from petct_cli.metrics.stock import stock_spans
from petct_cli.metrics.verdict import name_of, said
from petct_cli.report.language import language_of
from petct_cli.report.sites import load_sites

if TYPE_CHECKING:
    from petct_cli.metrics.families import Fact, Item
    from petct_cli.stages.score_run import ScoredSystem

SIDE_VI = {"left": "trái", "right": "phải", "bilateral": "hai bên"}
LONGEST_TEXT = 6000
_POOL = 8
_INVISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    [0x7F, *range(0x80, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
)
# Class, sign before the text, and what a screen reader says: never colour alone.
KINDS = {
    "matched": "in both",
    "differs": "in both, told differently",
    "omitted": "only in the reference: omitted",
    "hallucinated": "only in the hypothesis: made up",
}


@dataclass(frozen=True)
class Case:
    """One sample, its values of the leading metrics, and its lesions in reference and hypothesis."""

    item: Item
    values: dict[str, float]
    reference: Sequence[LesionMark]
    hypothesis: Sequence[LesionMark]

    @property
    def faults(self) -> Counter[str]:
        """How many lesions are omitted, hallucinated, or told with another side, size and so on."""
        found = Counter({"omitted": sum(mark.agreement == "alone" for mark in self.reference)})
        found["hallucinated"] = sum(mark.agreement == "alone" for mark in self.hypothesis)
        found.update(f"wrong {fault}" for mark in self.hypothesis for fault in mark.faults)
        return +found


def worst_cases(system: ScoredSystem, leads: Sequence[str], number: int) -> list[Case]:
    """Return the samples with the lowest values of the first metric in `leads`, at most one per patient.

    Of equal ones those with more wrong lesions come first, then those with lower values of the other `leads`. Samples
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
        item = replace(item, reference=_cut(item.reference or ""), hypothesis=_cut(item.hypothesis))
        marks = mark_lesions(item.reference or "", item.hypothesis)
        case = Case(item, {name: float(values[name][index]) for name in leads}, *marks)
        cases.append((float(upwards[0][index]), -case.faults.total(), rank, case))
    return [case for *_, case in sorted(cases, key=lambda one: one[:3])[:number]]


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
    question = f'<p class="question" lang="vi">{escape(_shown(item.question))}</p>' if item.question else ""
    return (
        f'<article class="case"><header><h4><code>{escape(_shown(item.id))}</code></h4>'
        f'<span class="soft">{escape(_shown(item.group))}</span><span class="values">{values}</span></header>'
        f"{question}"
        + (f'<ul class="faults">{faults}</ul>' if faults else "")
        + '<div class="sides">'
        + _side("Reference", item.reference or "", case.reference, "omitted", stock, _known(item.truth))
        + _side("Hypothesis", item.hypothesis, case.hypothesis, "hallucinated", stock)
        + "</div></article>"
    )


def _side(title: str, text: str, marks: Sequence[LesionMark], alone: str, stock: frozenset[str], more: str = "") -> str:
    shown = marked_text(text, marks, alone, stock) or '<span class="soft">(empty)</span>'
    language = language_of(text)
    lang = f' lang="{language}"' if language else ""
    return f'<section><h5>{title}</h5><p class="text" dir="auto"{lang}>{shown}</p>{more}</section>'


def _known(truth: Sequence[Fact] | None) -> str:
    """Return the lesions that are known from elsewhere than the reference."""
    if truth is None:
        return ""
    told = ", ".join(_place(fact.site, None, fact.side) + _measures(fact.size_mm, fact.suv_max) for fact in truth)
    return (
        f'<p class="soft">True lesions: <span lang="vi">{escape(told)}</span></p>'
        if told
        else ('<p class="soft">True lesions: none</p>')
    )


def marked_text(text: str, marks: Sequence[LesionMark], alone: str, stock: frozenset[str]) -> str:
    """Return `text` as HTML: lesions marked, stock sentences dimmed.

    Parameters
    ----------
    marks
        The lesions of this text.
    alone
        Class of the lesions that have no partner in the other text: ``omitted`` or ``hallucinated``.
    stock
        Of `petct_cli.metrics.stock.stock_sentences`.
    """
    out: list[str] = []
    position = 0
    dim = stock_spans(text, stock)
    for (start, end), inside in _places(marks):
        out.append(_plain(text, position, start, dim))
        out.append(_mark(_shown(text[start:end]), inside, alone))
        position = end
    return "".join([*out, _plain(text, position, len(text), dim)])


def _places(marks: Sequence[LesionMark]) -> Iterator[tuple[tuple[int, int], list[LesionMark]]]:
    """Yield the spans of the lesions in order, those that overlap as one."""
    spans = sorted(
        ((span, number) for number, mark in enumerate(marks) for span in (mark.lesion.span, *mark.lesion.mentions)),
    )
    start = end = 0
    inside: dict[int, LesionMark] = {}
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


def _mark(text: str, inside: Sequence[LesionMark], alone: str) -> str:
    kinds = {alone if mark.agreement == "alone" else mark.agreement for mark in inside}
    kind = kinds.pop() if len(kinds) == 1 else "differs"
    numbers = sorted({mark.number for mark in inside if mark.number})
    sign = f"<sup>{'·'.join(map(str, numbers))}</sup>" if numbers else ""
    notes = _notes(inside, alone)
    note = f'<span class="note">{escape(notes)}</span>' if notes else ""
    return (
        f'<mark class="{kind}" title="{escape(KINDS[kind])}"><span class="unseen">[{escape(KINDS[kind])}] </span>'
        f"{escape(text)}{sign}</mark>{note}"
    )


def _notes(inside: Sequence[LesionMark], alone: str) -> str:
    """Return what is wrong with the lesions of one mark, with their places where there are several."""
    told: dict[str, list[str]] = {}
    for mark in inside:
        fault = alone if mark.agreement == "alone" else ", ".join(mark.faults)
        if fault and (len(inside) > 1 or mark.faults):
            told.setdefault(fault, []).append(_place(mark.lesion.site, mark.lesion.organ, mark.lesion.side))
    if len(inside) == 1:
        return next(iter(told), "")
    return "; ".join(f"{fault}: {', '.join(dict.fromkeys(places))}" for fault, places in told.items())


def _place(site: str | None, organ: str | None, side: str | None) -> str:
    known = load_sites().get(site or "")
    return " ".join(part for part in (known.vi if known else organ or site or "?", SIDE_VI.get(side or "", "")) if part)


def _measures(size_mm: float | None, suv_max: float | None) -> str:
    size = f", {size_mm:g} mm" if size_mm is not None else ""
    return size + (f", SUVmax {suv_max:g}" if suv_max is not None else "")


def _plain(text: str, start: int, end: int, dim: Sequence[tuple[int, int]]) -> str:
    """Return a part of the text with its stock sentences dimmed."""
    out: list[str] = []
    position = start
    for first, last in dim:
        first, last = max(first, position), min(last, end)
        if first >= last:
            continue
        out.append(escape(_shown(text[position:first])))
        out.append(f'<span class="stock">{escape(_shown(text[first:last]))}</span>')
        position = last
    return "".join([*out, escape(_shown(text[position:end]))])


def _shown(text: str) -> str:
    """Return `text` with what is invisible, or turns the direction of a whole line, made visible; as long as before."""
    return text.translate(_INVISIBLE)
