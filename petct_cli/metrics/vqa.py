"""Answers to questions: right or wrong by the kind of question, since n-grams reward a well-worded wrong answer.

Closed questions by whether yes or no was said, sizes and SUVmax within a tolerance, places by organ and side, counts
exactly, open questions by tokens. What the rules of `petct_cli.metrics.answers` cannot read counts as wrong, and is
counted; in a reference it makes the question an open one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from petct_cli.metrics.answers import (
    ANSWER_RULES_VERSION,
    Where,
    count,
    load_rules,
    places,
    polarity,
    size_mm,
    suv_max,
)
from petct_cli.metrics.families import Family, FamilyControl, Floats, Item, ratio
from petct_cli.metrics.lesion_language import read_language
from petct_cli.metrics.ngrams import rouge_n
from petct_cli.metrics.tokens import SYLLABLES, Tokens
from petct_cli.report.lesions import EXTRACTOR_VERSION
from petct_cli.report.normalise import DEFAULT, fold
from petct_cli.report.sites import sides_of

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

_KINDS = {
    "yes_no": "vqa_closed_accuracy",
    "size": "vqa_numeric",
    "suv": "vqa_numeric",
    "where": "vqa_where",
    "how_many": "vqa_how_many",
    "open": "vqa_open_f1",
}
_GIVEN = ("yes", "no", None)
# Said yes, no, neither to what is yes; then the same to what is no.
_YES, _NO = slice(0, 3), slice(3, 6)
_START = {"vqa_numeric": 6, "vqa_where": 9, "vqa_how_many": 12, "vqa_open_f1": 15}  # questions, score, unread
_COLUMNS = 18


@dataclass(frozen=True)
class Question:
    """A question that can be scored.

    Attributes
    ----------
    kind
        yes_no, size, suv, where, how_many or open.
    wanted
        ``yes`` or ``no``, millimetres, SUVmax, (site or organ, side) pairs, a number, or text.
    text
        What was asked, empty where the record does not keep it.
    unit
        mm or cm, where the question names it.
    """

    kind: str
    wanted: Any
    text: str
    unit: str | None = None


def question_of(item: Item) -> Question | None:
    """Return what `item` asks, None for one that is no question.

    The record's ``question`` tells the kind and the right answer; where it is only text, both are told from it and the
    reference. A question whose right answer of its kind cannot be read is an open one.
    """
    if item.task not in (None, "vqa") or not (item.question or item.asked):
        return None
    asked = item.asked or {}
    kind = asked.get("kind")
    return _question(item.question or "", item.reference, kind if kind in tuple(_KINDS) else None, *_told(asked))


def _told(asked: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the right answer of the record in a form that can be hashed, and its unit."""
    answer = asked.get("answer")
    match asked.get("kind"):
        case "yes_no":
            answer = answer if answer in ("yes", "no") else None
        case "size" | "suv" | "how_many":
            number = isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer)
            answer = answer if number else None
        case "where":
            answer = _where(answer)
        case _:
            answer = None
    unit = asked.get("unit")
    return answer, unit if isinstance(unit, str) else None


def _where(answer: Any) -> Where | None:
    if not isinstance(answer, list):
        return None
    pairs: set[tuple[str, str | None]] = set()
    for one in answer:
        site, side = (one.get("site"), one.get("side")) if isinstance(one, Mapping) else (None, None)
        if not isinstance(site, str) or not (side is None or isinstance(side, str)):
            return None
        pairs.update((site, each) for each in sides_of(site, side))
    return frozenset(pairs) or None


@lru_cache(maxsize=65536)
def _question(text: str, reference: str | None, kind: str | None, answer: Any, unit: str | None) -> Question | None:
    folded = fold(text)
    unit = unit or next((name for name in ("mm", "cm") if f" {name}" in folded), None)
    rules = load_rules()
    kinds = [kind] if kind is not None else [name for name, rule in rules.kinds.items() if rule.search(folded)]
    for chosen in kinds:
        wanted = answer if chosen == kind and answer is not None else _read(chosen, reference or "", text, unit)
        if wanted is not None and chosen != "open":
            return Question(chosen, wanted, text, unit)
    return Question("open", reference, text) if reference and DEFAULT.tokens(reference) else None


def _read(kind: str, answer: str, question: str, unit: str | None) -> Any:
    """Return what `answer` says, None where the rules cannot tell."""
    match kind:
        case "yes_no":
            return polarity(answer, question)
        case "size":
            return size_mm(answer, unit)
        case "suv":
            return suv_max(answer)
        case "how_many":
            return count(answer)
        case "where":
            return places(answer, read_language(question)) or None
    return answer


@dataclass(frozen=True)
class VqaFamily(Family):
    """Accuracy and macro-F1 of closed questions; scores of numeric, where, how many and open ones."""

    wanted: tuple[str, ...]
    tolerance: float = 0.1
    tokens: Tokens = SYLLABLES

    def applicable(self, items: Sequence[Item]) -> tuple[str, ...]:
        asked = {_KINDS[question.kind] for item in items if (question := question_of(item)) is not None}
        return tuple(name for name in self.wanted if (name if name != "vqa_macro_f1" else _KINDS["yes_no"]) in asked)

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), _COLUMNS))
        for row, item, text in zip(rows, items, hypotheses, strict=True):
            question = question_of(item)
            if question is None:
                continue
            given = _read(question.kind, text, question.text, question.unit)
            if question.kind == "yes_no":
                row[(_YES if question.wanted == "yes" else _NO).start + _GIVEN.index(given)] = 1
            else:
                start = _START[_KINDS[question.kind]]
                row[start : start + 3] = 1, self._score(question, given), given is None
        return rows

    def _score(self, question: Question, given: Any) -> float:
        wanted = question.wanted
        match question.kind:
            case _ if given is None:
                return 0.0
            case "where":
                return _overlap(given, wanted)
            case "how_many":
                return 100.0 if given == wanted else 0.0
            case "open":
                return rouge_n(self.tokens(given), self.tokens(wanted))
        return 100.0 if abs(given - wanted) <= self.tolerance * abs(wanted) + 1e-9 else 0.0

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric == "vqa_closed_accuracy":
            return ratio(100 * (sums[..., 0] + sums[..., 4]), sums[..., :6].sum(-1))
        if metric == "vqa_macro_f1":
            yes, no = sums[..., _YES], sums[..., _NO]
            asked = np.stack([yes.sum(-1), no.sum(-1)], -1)
            said = np.stack([yes[..., 0] + no[..., 0], yes[..., 1] + no[..., 1]], -1)
            right = np.stack([yes[..., 0], no[..., 1]], -1)
            # An answer that no reference gives has no F1 of its own; giving it is a miss of the other.
            f1 = np.where(asked > 0, 200 * right / np.maximum(asked + said, 1), 0)
            return ratio(f1.sum(-1), (asked > 0).sum(-1))
        start = _START[metric]
        return ratio(sums[..., start + 1], sums[..., start])

    def size(self, metric: str, sums: Floats) -> float:
        start = _START.get(metric)
        return float(sums[:6].sum() if start is None else sums[start])

    def signature(self, metric: str, sums: Floats) -> str:
        own = _SIGNATURES[metric]
        if metric == "vqa_numeric":
            own += f"|tol:{self.tolerance * 100:g}%"
        if metric == "vqa_where":
            own += f"|extractor:rules-{EXTRACTOR_VERSION}|lang:of-the-question"
        if metric == "vqa_open_f1":
            return f"{own}|{self.tokens.signature()}|kind:record-or-rules-{ANSWER_RULES_VERSION}"
        return f"{own}|unread:wrong|answers:rules-{ANSWER_RULES_VERSION}"

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        start = _START.get(metric)
        if start is not None:
            return {} if metric == "vqa_open_f1" else {"unparseable": float(sums[start + 2])}
        yes, no = sums[_YES], sums[_NO]
        return {
            "unparseable": float(yes[2] + no[2]),
            "reference_yes": float(yes.sum()),
            "reference_no": float(no.sum()),
            "said_yes": float(yes[0] + no[0]),
            "said_no": float(yes[1] + no[1]),
        }

    def controls(self, items: Sequence[Item]) -> Iterator[FamilyControl]:
        """Yield the score of always giving the more frequent of the right answers, ``no`` where they are even.

        It is known from the scored references themselves: no constant answer does better on them.
        """
        closed = tuple(name for name in self.wanted if name in ("vqa_closed_accuracy", "vqa_macro_f1"))
        questions = [question_of(item) for item in items]
        right = Counter(one.wanted for one in questions if one is not None and one.kind == "yes_no")
        if not closed or not right:
            return
        said = _GIVEN.index("yes" if right["yes"] > right["no"] else "no")
        rows = np.zeros((len(items), _COLUMNS))
        for row, question in zip(rows, questions, strict=True):
            if question is not None and question.kind == "yes_no":
                row[(_YES if question.wanted == "yes" else _NO).start + said] = 1
        yield FamilyControl("majority", closed, rows=rows, note="majority:in-sample")

    def detail(self, item: Item, hypothesis: str) -> dict[str, Any]:
        question = question_of(item)
        if question is None or question.kind == "open":
            return {}
        given = _read(question.kind, hypothesis, question.text, question.unit)
        return {"vqa": {"kind": question.kind, "wanted": _shown(question.wanted), "given": _shown(given)}}


def _shown(answer: Any) -> Any:
    if not isinstance(answer, frozenset):
        return answer
    ordered = sorted(answer, key=lambda pair: (pair[0], pair[1] or ""))
    return [{"place": place, **({"side": side} if side else {})} for place, side in ordered]


def _overlap(given: Where, wanted: Where) -> float:
    """Return the F1 of the places; a side that the reference leaves open is not compared."""
    sideless = {place for place, side in wanted if side is None}
    mine = {(place, None if place in sideless else side) for place, side in given}
    theirs = {(place, None if place in sideless else side) for place, side in wanted}
    return 200 * len(mine & theirs) / (len(mine) + len(theirs))


_SIGNATURES = {
    "vqa_closed_accuracy": "vqa:closed|polarity:first",
    "vqa_macro_f1": "vqa:closed|polarity:first|f1:macro-yes-no",
    "vqa_numeric": "vqa:size-suv|number:first-stated",
    "vqa_where": "vqa:where|f1:organ-and-side|avg:samples|unstated-side:not-compared",
    "vqa_how_many": "vqa:how-many|match:exact",
    "vqa_open_f1": "vqa:open|f1:tokens|avg:samples",
}


def vqa_family(wanted: tuple[str, ...], options: MetricOptions) -> VqaFamily:
    """Return the family for `wanted`."""
    return VqaFamily(wanted, options.vqa_tolerance, options.tokens)
