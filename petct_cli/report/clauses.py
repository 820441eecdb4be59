"""Cutting a sentence into findings, and taking out what it says to be natural or not to be there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from petct_cli.report.measures import Measures, Size, Uptake, measures_of
from petct_cli.report.places import Position, find_positions
from petct_cli.report.vocabulary import Mention, Term, Vocabulary

Span = tuple[int, int]


@dataclass
class Before:
    """What the findings before in the same sentence are called and where they are, for one that does not say it."""

    kind: str | None = None
    positions: Sequence[Position] = ()


@dataclass(frozen=True)
class Sentence:
    """A sentence with its terms and measures; `live` has spaces where something is said not to exist."""

    text: str
    live: str
    words: Vocabulary
    mentions: tuple[Mention, ...]
    sizes: tuple[Size, ...]
    uptakes: tuple[Uptake, ...]
    before: Before = field(default_factory=Before)

    def heads(self, start: int = 0, end: int | None = None) -> list[Mention]:
        stop = len(self.text) if end is None else end
        return [one for one in self.mentions if one.term.kind and start <= one.span[0] < stop]

    def places(self, start: int, end: int) -> list[Mention]:
        return [one for one in self.mentions if one.term.organ and start <= one.span[0] < end]

    def measures(self, start: int, end: int) -> Measures:
        return measures_of(
            [one for one in self.sizes if start <= one.span[0] < end],
            [one for one in self.uptakes if start <= one.span[0] < end],
        )


def within(index: int, spans: Sequence[Span]) -> bool:
    """Say whether `index` lies in one of the half-open `spans`."""
    for start, end in spans:  # noqa: SIM110 (called often, and mostly for none)
        if start <= index < end:
            return True
    return False


def by_physiology(whole: Sentence) -> list[tuple[int, int, bool]]:
    """Cut the sentence into ranges that speak of physiological uptake and ranges that do not.

    Physiological is everything up to the word, but for clauses before it that measure a lesion, and what follows it
    unless that is measured.
    """
    text, end = whole.text, len(whole.text)
    cues = list(whole.words.cues["physiological"].finditer(text))
    if not cues:
        return [(0, end, False)]
    first = 0
    for joint in whole.words.cues["clause"].finditer(text, 0, cues[0].start()):
        if whole.heads(0, joint.start()) and whole.measures(0, joint.start()).measured:
            named = whole.places(joint.end(), cues[0].start())
            if named:
                first = joint.end()
                break
    ranges = [(0, first, False)] if first else []
    after = whole.words.cues["clause"].search(text, cues[-1].end())
    if after is not None and whole.measures(after.end(), end).measured:
        return [*ranges, (first, after.end(), True), (after.end(), end, False)]
    return [*ranges, (first, end, True)]


def without_absent(whole: Sentence, start: int, end: int) -> str:
    """Return the text with spaces outside of the range and where something is said not to exist."""
    words = whole.words
    out = " " * start + whole.text[start:end] + " " * (len(whole.text) - end)
    position = start
    while cue := words.cues["absent"].search(out, position):
        position = max(cue.end(), position + 1)
        said_before = any(head.span[1] <= cue.start() and out[head.span[0]] != " " for head in whole.heads(start, end))
        if said_before and words.cues["no_uptake"].match(out, cue.start()):
            continue  # "a nodule without uptake" is a nodule
        until = words.cues["absent_until"].search(out, cue.end())
        stop = until.start() if until else end
        if said_before:
            comma = _COMMA_OR_PARENTHESIS.search(out, cue.end())
            stop = min(stop, comma.start()) if comma else stop
        else:
            stop = min(stop, _positive_clause(whole, cue.end(), end))
        out = out[: cue.start()] + " " * (stop - cue.start()) + out[stop:]
        position = max(stop, cue.end())
    return out


def _positive_clause(whole: Sentence, start: int, end: int) -> int:
    """Return where, after a negation, a clause begins that measures a lesion and so must mean that it is there."""
    for comma in _COMMA.finditer(whole.text, start, end):
        stop = _COMMA_OR_SEMICOLON.search(whole.text, comma.end(), end)
        if whole.heads(comma.end(), stop.start() if stop else end) and whole.measures(comma.end(), end).measured:
            return comma.start()
    return end


_COMMA = re.compile(r",(?!\d)")
_CLAUSE_OR_AND = re.compile(r",(?!\d)|;|\bvà\b|\band\b")
_COMMA_OR_PARENTHESIS = re.compile(r",(?!\d)|\)")
_COMMA_OR_SEMICOLON = re.compile(r",(?!\d)|;")


def findings(part: Sentence, start: int, end: int) -> list[Span]:
    """Cut a range where another finding begins: one with measures of its own, or of another kind at another place."""
    text = part.live
    begins = {
        one.span[0]: one for one in part.mentions if start <= one.span[0] < end and (one.term.kind or one.term.organ)
    }
    cuts = [start]
    parentheses = [match.span() for match in _PARENTHESIS.finditer(text)] if "(" in text else []
    sided = _both_sides(part, start, end)
    for joint in part.words.cues["joint"].finditer(text, start, end):
        if joint.end() in sided:
            cuts.append(joint.end())
            continue
        lead = part.words.cues["lead"].match(text, joint.end())
        at = lead.end() if lead else joint.end()
        opens = begins.get(at) or begins.get(joint.end()) or _level_at(part, at)
        if opens is None or within(joint.start(), parentheses):
            continue
        if opens.term.kind and part.words.cues["largest"].search(text[opens.span[1] :]):
            continue
        if _starts_another(part, cuts[-1], joint, opens, end):
            cuts.append(joint.end())
    if sided:
        cuts.remove(start)  # what both sides have in common is no finding of its own
    return [
        (first, last) for first, last in zip(cuts, [*cuts[1:], end], strict=True) if text[first:last].strip(" ,;.()")
    ]


_PARENTHESIS = re.compile(r"\([^()]*(?:\)|$)")


def _level_at(part: Sentence, index: int) -> Mention | None:
    """Return a level at `index` as a place that another finding may begin with."""
    leads = (part.words.levels[name].match(part.live, index) for name in ("segment", "group"))
    found = next(filter(None, leads), None)
    return Mention(found.span(), Term(organ="level")) if found else None


def _both_sides(part: Sentence, start: int, end: int) -> set[int]:
    """Return where "..., bên phải 12 mm; bên trái 9 mm" tells one side and the other, nothing where it does not."""
    told = {match[1]: match.start() + 1 for match in part.words.cues["side_measured"].finditer(part.live, start, end)}
    if len(told) < 2 or not part.heads(start, min(told.values())):
        return set()
    common = min(told.values())
    heads = part.heads(start, common)
    part.before.kind = heads[0].term.kind
    part.before.positions = find_positions(part.live[start : common - 1], part.words).of_lesion(
        [Mention((one.span[0] - start, one.span[1] - start), one.term) for one in heads]
    )
    return {index + len(part.live[index:end]) - len(part.live[index:end].lstrip()) for index in told.values()}


_THEN_NUMBER = re.compile(r"\s*(?:khoảng\s*)?\d")


def _starts_another(part: Sentence, begin: int, joint: re.Match[str], opens: Mention, end: int) -> bool:
    # "dày thành đoạn dài 6 cm, dày 12 mm" is one.
    how_thick = opens.term.kind == "thickening" and _THEN_NUMBER.match(part.live, opens.span[1])
    before, after = part.measures(begin, joint.start()), part.measures(joint.end(), end)
    if joint.group().startswith(";") or (not how_thick and before.same_kind(after)):
        return True
    heads = part.heads(begin, joint.start())
    if opens.term.organ:
        # "..., phúc mạc dày", "..., ở gan có một nốt": the organ comes first.
        lead = part.words.cues["lead"].match(part.live, opens.span[1] + 1)
        reach = lead.end() if lead and part.words.cues["has"].search(lead.group()) else opens.span[1] + 1
        called = [one for one in part.heads(opens.span[1], end) if one.span[0] <= reach]
        kind = called[0].term.kind if called else None
        anew = bool(called) and reach > opens.span[1] + 1 and bool(part.places(begin, joint.start()))
        measure_at = called[0].span[1] if called else end
    else:
        kind, measure_at, anew = opens.term.kind, opens.span[1], False
    enlarged = bool(heads) and heads[0].term.kind == "enlargement" and not before
    if anew or (enlarged and kind is not None and kind not in part.words.attributes):
        return True
    if kind is None or not heads or kind in part.words.attributes:
        return False
    if kind == "thickening" and _THEN_NUMBER.match(part.live, measure_at):
        return False
    clause = _CLAUSE_OR_AND.search(part.live, opens.span[1], end)
    stop = clause.start() if clause else end
    placed = bool(part.places(opens.span[0], stop) or part.words.levels["group"].search(part.live, opens.span[0], stop))
    if not placed or not part.places(begin, joint.start()):
        return False
    differs = heads[0].term.kind != kind and kind not in part.words.generic
    return differs or bool(before.sizes_mm or before.suv_max)
