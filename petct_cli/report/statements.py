"""What one sentence states: each finding with its kind, places, measures, uptake and reach.

A sentence is taken apart in this order: its spelling is mended, physiological uptake is set aside, what is said not to
exist is taken out, the rest is cut where another finding begins, and each finding gets its places, sides and measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from petct_cli.report.measures import Measures, Size, Uptake, earlier_spans, find_sizes, find_uptakes, measures_of
from petct_cli.report.places import Position, find_positions
from petct_cli.report.spelling import mend
from petct_cli.report.vocabulary import WORD, Mention, Term, Vocabulary, load_vocabulary

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class At:
    """A finding at one place (None: not understood), with its measures there."""

    place: Position | None
    sizes_mm: tuple[float, ...]
    suv_max: float | None


@dataclass(frozen=True)
class Statement:
    """One finding. The attributes are those of `petct_cli.report.lesions.ExtractedLesion`.

    Attributes
    ----------
    at
        One or more places.
    side
        Side where no place was understood.
    refers_back
        Speaks of the largest of what the sentence before has told.
    """

    span: Span
    at: tuple[At, ...]
    kind: str | None = None
    side: str | None = None
    fdg: Literal["increased", "none", "physiological"] | None = None
    multiple: bool = False
    count: int | None = None
    invasion: Literal["yes", "no"] | None = None
    invades: tuple[str, ...] = ()
    refers_back: bool = False


@dataclass
class _Before:
    """What the findings before in the same sentence are called and where they are, for one that does not say it."""

    kind: str | None = None
    positions: Sequence[Position] = ()


@dataclass(frozen=True)
class _Sentence:
    """A sentence with its terms and measures; `live` has spaces where something is said not to exist."""

    text: str
    live: str
    words: Vocabulary
    mentions: tuple[Mention, ...]
    sizes: tuple[Size, ...]
    uptakes: tuple[Uptake, ...]
    before: _Before = field(default_factory=_Before)

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


@lru_cache(maxsize=4096)
def read_sentence(sentence: str, lang: str, physiological: bool = False) -> tuple[Statement, ...]:
    """Return what `sentence` (composed, lowercase, tone marks in one place) states, with spans in it.

    Physiological uptake is told only on demand. Reports repeat their stock sentences: the same sentence is read once.
    """
    words = load_vocabulary(lang)
    numbered = _DIGIT.search(sentence) is not None
    if not numbered and not physiological and words.cues["physiological"].search(sentence):
        return ()  # without a measure, all of it is
    cue = None if numbered else words.cues["absent"].match(sentence)
    if cue and not words.cues["absent_until"].search(sentence, cue.end()):
        return ()  # all that follows is said not to exist
    tokens = list(WORD.finditer(sentence))
    text, offsets = mend(sentence, words, tokens)
    earlier = earlier_spans(text, words.cues["earlier"], words.cues["today"])
    sizes: tuple[Size, ...] = ()
    uptakes: tuple[Uptake, ...] = ()
    if numbered:
        sizes = tuple(one for one in find_sizes(text) if not _within(one.span[0], earlier))
        uptakes = tuple(one for one in find_uptakes(text, words.cues["yardstick"]) if not _within(one.span[0], earlier))
    if words.cues["advice"].search(text) and not sizes and not uptakes:
        return ()
    mentions = tuple(words.mentions(text, tokens if offsets is None else None))
    whole = _Sentence(text, text, words, mentions, sizes, uptakes)
    stated: list[Statement] = []
    for start, end, natural in _by_physiology(whole):
        if natural:
            stated += _natural(whole, start, end) if physiological else ()
            continue
        live = _without_absent(whole, start, end)
        part = whole
        if live != text:
            here = tuple(one for one in mentions if live[one.span[0]] != " ")
            part = replace(whole, live=live, mentions=here)
        for first, last in _findings(part, start, end):
            finding = _read(part, first, last, earlier)
            if finding is not None:
                stated.append(finding)
    if offsets is None:
        return tuple(stated)
    return tuple(replace(one, span=(offsets[one.span[0]], offsets[one.span[1]])) for one in stated)


_DIGIT = re.compile(r"\d")


def _within(index: int, spans: Sequence[Span]) -> bool:
    for start, end in spans:  # noqa: SIM110 (called often, and mostly for none)
        if start <= index < end:
            return True
    return False


def _by_physiology(whole: _Sentence) -> list[tuple[int, int, bool]]:
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


def _natural(whole: _Sentence, start: int, end: int) -> list[Statement]:
    places = find_positions(whole.text[start:end], whole.words)
    measures = whole.measures(start, end)
    at = tuple(At(place, measures.sizes_mm, measures.suv_max) for place in places.of_lesion(()))
    return [Statement((start, _stripped_end(whole.text, start, end)), at, fdg="physiological")] if at else []


def _without_absent(whole: _Sentence, start: int, end: int) -> str:
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


def _positive_clause(whole: _Sentence, start: int, end: int) -> int:
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


def _findings(part: _Sentence, start: int, end: int) -> list[Span]:
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
        if opens is None or _within(joint.start(), parentheses):
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


_PARENTHESIS = re.compile(r"\([^)]*\)?")


def _level_at(part: _Sentence, index: int) -> Mention | None:
    """Return a level at `index` as a place that another finding may begin with."""
    leads = (part.words.levels[name].match(part.live, index) for name in ("segment", "group"))
    found = next(filter(None, leads), None)
    return Mention(found.span(), Term(organ="level")) if found else None


def _both_sides(part: _Sentence, start: int, end: int) -> set[int]:
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


def _starts_another(part: _Sentence, begin: int, joint: re.Match[str], opens: Mention, end: int) -> bool:
    before, after = part.measures(begin, joint.start()), part.measures(joint.end(), end)
    if joint.group().startswith(";") or before.same_kind(after):
        return True
    heads = part.heads(begin, joint.start())
    if opens.term.organ:
        # "..., phúc mạc dày": the organ comes first.
        called = [one for one in part.heads(opens.span[1], end) if not part.live[opens.span[1] : one.span[0]].strip()]
        kind = called[0].term.kind if called else None
        measure_at = called[0].span[1] if called else end
    else:
        kind, measure_at = opens.term.kind, opens.span[1]
    enlarged = bool(heads) and heads[0].term.kind == "enlargement" and not before
    if enlarged and kind is not None and kind not in part.words.attributes:
        return True
    if kind is None or not heads or kind in part.words.attributes:
        return False
    if kind == "thickening" and _THEN_NUMBER.match(part.live, measure_at):
        return False
    clause = _CLAUSE_OR_AND.search(part.live, opens.span[1], end)
    placed = bool(part.places(opens.span[0], clause.start() if clause else end))
    if not placed or not part.places(begin, joint.start()):
        return False
    differs = heads[0].term.kind != kind and kind not in part.words.generic
    return differs or bool(before.sizes_mm or before.suv_max)


def _read(part: _Sentence, start: int, end: int, earlier: Sequence[Span]) -> Statement | None:
    """Return the finding in a range, None when it states no lesion."""
    words = part.words
    text, raw = part.live[start:end], part.text[start:end]
    if words.cues["gone"].search(raw):
        return None
    mentions = [
        Mention((one.span[0] - start, one.span[1] - start), one.term)
        for one in part.mentions
        if start <= one.span[0] < end and (not one.term.kind or _calls_a_lesion(one, part))
    ]
    places = find_positions(text, words, mentions, raw)
    heads = [one for one in mentions if one.term.kind and not places.reached(one.span)]
    kind = _kind(heads, text, places.opinion, words)
    measures = part.measures(start, end)
    fdg = _fdg(text, start, earlier, words)
    positions = places.of_lesion(heads)
    if kind is None and start > 0 and _STARTS_WITH_PLACE.match(text) and measures and part.before.kind:
        kind = part.before.kind
        positions = places.of_lesion([Mention((0, 0), Term(kind=kind))])
    if kind is None and not measures.suv_max and fdg != "increased":
        part.before.positions = positions or part.before.positions
        return None
    if not positions and part.before.positions and (kind != "node" or part.before.kind == "node"):
        positions = _inherited(part.before.positions, places.lone_side())
    elif positions:
        part.before.positions = positions
    else:
        positions = places.of_lesion(heads, nearby=True)
    vague = kind in (None, "mass") or kind in words.generic or kind in words.attributes
    if not positions and vague and not measures:
        return None
    if not positions and kind in words.generic and kind != "lesion" and fdg is None:
        return None
    part.before.kind = kind
    count = _count(heads, text, words)
    grown = [reach for reach in places.reaches if reach.invasion]
    return Statement(
        span=(start + len(raw) - len(raw.lstrip(" ,;.")), _stripped_end(part.text, start, end)),
        at=_measured(positions, part, start, end, measures),
        kind=kind,
        side=places.lone_side(),
        fdg=fdg,
        multiple=words.cues["several"].search(text) is not None or (count or 0) > 1,
        count=count,
        invasion=("yes" if any(not reach.denied for reach in grown) else "no") if grown else None,
        invades=places.invaded(),
        refers_back=start == 0 and words.cues["back_reference"].search(raw.strip()) is not None,
    )


# A further finding of what was named before, at another place: "và phân thùy 8 KT 2,6 cm", "bên trái 9 mm".
_STARTS_WITH_PLACE = re.compile(r"\s*(?!tăng|bắt|không|hấp)\w")


def _stripped_end(text: str, start: int, end: int) -> int:
    return start + max(1, len(text[start:end].rstrip(" ,;.")))


def _calls_a_lesion(head: Mention, part: _Sentence) -> bool:
    """Whether a word that may call a lesion does so here: "to" and the like only right after an organ."""
    if head.term.kind != "enlargement":
        return True
    before = [one for one in part.mentions if one.term.organ and one.span[1] <= head.span[0]]
    return (
        bool(before) and part.words.cues["between"].fullmatch(part.live, before[-1].span[1], head.span[0]) is not None
    )


def _kind(heads: Sequence[Mention], text: str, opinion: int, words: Vocabulary) -> str | None:
    """Return what the finding is called first; a general word gives way to a precise one in the same breath."""
    stated = [head for head in heads if head.span[0] < opinion] or list(heads)
    if not stated:
        return None
    first = stated[0]
    for head in stated[1:]:
        between = text[first.span[1] : head.span[0]]
        if first.term.kind not in words.generic or re.search(r",(?!\d)|;|\bvà\b|\bkèm\b|\(|\band\b", between):
            break
        if head.term.kind in words.generic or (head.term.kind in words.attributes and between.strip()):
            continue
        return head.term.kind
    return first.term.kind


# "Bắt xạ ..., không tăng": taken up, but no more than around it.
_RAISED = re.compile(r"tăng|cường|.*(?:tăng|mạnh|cao)$|increas|intens|hyper|elevat|avid")


def _fdg(text: str, start: int, earlier: Sequence[Span], words: Vocabulary) -> Literal["increased", "none"] | None:
    """Return what is said of uptake first, of another day aside; less than before is not none."""
    less = [match.span() for match in words.cues["less_than_before"].finditer(text)]
    denied = [
        match.span()
        for match in words.cues["no_uptake"].finditer(text)
        if not _within(match.start(), less) and not _within(start + match.start(), earlier)
    ]
    other = [*denied, *less]
    for taken in words.cues["uptake"].finditer(text):
        if _within(taken.start(), other) or _within(start + taken.start(), earlier):
            continue
        if denied and (denied[0][0] < taken.start() or not _RAISED.match(taken.group())):
            return "none"
        return "increased"
    return "none" if denied else None


_COUNTED = re.compile(r"(?:(?P<number>\b\d{1,2}|\w+)\s+(?:ổ\s+|hình ảnh\s+|cái\s+)?$)|(?P<upto>\d\s*-\s*\d{1,2})\s+$")


def _count(heads: Sequence[Mention], text: str, words: Vocabulary) -> int | None:
    """Return how many lesions there are said to be."""
    if said := words.cues["number"].search(text):
        return int(said[1])
    for head in heads[:2]:
        match = _COUNTED.search(text, max(0, head.span[0] - 24), head.span[0])
        if match is None or match["number"] is None or words.cues["largest"].search(text[head.span[1] :]):
            continue
        number = match["number"]
        if re.search(r"[\d.,x/-]\s*$", text[: match.start("number")]):
            continue
        if number in words.counts:
            return words.counts[number]
        if number.isdecimal() and int(number) > 0:
            return int(number)
    return None


def _inherited(topic: Sequence[Position], side: str | None) -> list[Position]:
    """Return the organ that the sentence began with, for a finding that names none."""
    return [replace(one, side=side or one.side, part=None, level=None) for one in topic[:1]]


def _measured(
    positions: Sequence[Position], part: _Sentence, start: int, end: int, measures: Measures
) -> tuple[At, ...]:
    """Give each place the measures of the finding, or its own where they are told one after the other."""
    sizes = [measures.sizes_mm] * len(positions)
    suvs = [measures.suv_max] * len(positions)
    if len(positions) > 1 and part.words.cues["respectively"].search(part.live, start, end):
        told = [value for one in part.uptakes if start <= one.span[0] < end for value in one.values]
        if len(told) == len(positions):
            suvs = list(told)
        diameters = [one.mm for one in part.sizes if start <= one.span[0] < end]
        if len(diameters) == len(positions):
            sizes = list(diameters)
    if not positions:
        return (At(None, measures.sizes_mm, measures.suv_max),)
    return tuple(At(place, size, suv) for place, size, suv in zip(positions, sizes, suvs, strict=True))
