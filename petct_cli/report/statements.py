"""What one sentence states: each finding with its kind, places, measures, uptake and reach.

A sentence is taken apart in this order: its spelling is mended, physiological uptake is set aside, what is said not to
exist is taken out, the rest is cut where another finding begins, and each finding gets its places, sides and measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from petct_cli.report.clauses import Sentence, by_physiology, findings, within, without_absent
from petct_cli.report.measures import Measures, Size, Uptake, earlier_spans, find_sizes, find_uptakes
from petct_cli.report.places import Places, Position, find_positions
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
        Speaks of the largest of what the sentence before has told, or says of it only where it grows into.
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


@lru_cache(maxsize=32_768)
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
    text, offsets = mend(sentence, words, tokens) if lang == "vi" else (sentence, None)
    earlier = earlier_spans(text, words.cues["earlier"], words.cues["today"])
    sizes: tuple[Size, ...] = ()
    uptakes: tuple[Uptake, ...] = ()
    if numbered:
        sizes = tuple(one for one in find_sizes(text) if not within(one.span[0], earlier))
        uptakes = tuple(one for one in find_uptakes(text, words.cues["yardstick"]) if not within(one.span[0], earlier))
    if words.cues["advice"].search(text) and not sizes and not uptakes:
        return ()
    mentions = tuple(words.mentions(text, tokens if offsets is None else None))
    if label := words.cues["label"].match(text):
        # The heading is the place where nothing more precise is named.
        elsewhere = any(one.term.organ and one.span[0] > label.end() for one in mentions)
        mentions = tuple(one for one in mentions if one.span[0] > label.end() or not elsewhere)
    whole = Sentence(text, text, words, mentions, sizes, uptakes)
    stated: list[Statement] = []
    for start, end, natural in by_physiology(whole):
        if natural:
            stated += _natural(whole, start, end) if physiological else ()
            continue
        live = without_absent(whole, start, end)
        part = whole
        if live != text:
            part = replace(
                whole,
                live=live,
                mentions=tuple(one for one in mentions if live[one.span[0]] != " "),
                sizes=tuple(one for one in sizes if live[one.span[0]] != " "),
                uptakes=tuple(one for one in uptakes if live[one.span[0]] != " "),
            )
        for first, last in findings(part, start, end):
            finding = _read(part, first, last, earlier)
            if finding is not None:
                stated.append(finding)
    stated = _one_each(stated, uptakes) if words.cues["respectively"].search(text) else stated
    if offsets is None:
        return tuple(stated)
    return tuple(replace(one, span=(offsets[one.span[0]], offsets[one.span[1]])) for one in stated)


def _one_each(stated: list[Statement], uptakes: Sequence[Uptake]) -> list[Statement]:
    """Give each finding its SUVmax where all of them are told at the end ("..., SUVmax lần lượt 2,9 và 7,6")."""
    values = uptakes[-1].values if uptakes else ()
    if (
        len(stated) < 2
        or len(values) != len(stated)
        or any(at.suv_max is not None for one in stated[:-1] for at in one.at)
    ):
        return stated
    return [
        replace(one, at=tuple(replace(at, suv_max=value) for at in one.at))
        for one, value in zip(stated, values, strict=True)
    ]


_DIGIT = re.compile(r"\d")


def _natural(whole: Sentence, start: int, end: int) -> list[Statement]:
    places = find_positions(whole.text[start:end], whole.words)
    measures = whole.measures(start, end)
    at = tuple(At(place, measures.sizes_mm, measures.suv_max) for place in places.of_lesion(()))
    return [Statement((start, _stripped_end(whole.text, start, end)), at, fdg="physiological")] if at else []


def _read(part: Sentence, start: int, end: int, earlier: Sequence[Span]) -> Statement | None:
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
    positions = _of_all(places, heads, text, words)
    if kind is None and start > 0 and _STARTS_WITH_PLACE.match(text) and measures and part.before.kind:
        kind = part.before.kind
        positions = _same_side(places.of_lesion([Mention((0, 0), Term(kind=kind))]), part.before.positions)
    of_others = not positions and words.cues["others"].search(raw)
    grown = [reach for reach in places.reaches if reach.invasion]
    only_grows = bool(grown) and not measures and fdg is None and not positions and not part.before.positions
    if of_others or (not only_grows and not measures and _is_denied(raw, fdg, words)):
        return None
    if kind is None and not measures.suv_max and fdg != "increased" and not only_grows:
        part.before.positions = positions or part.before.positions
        return None
    if not positions and part.before.positions and (kind != "node" or part.before.kind == "node"):
        positions = _inherited(part.before.positions, places.lone_side())
    elif positions:
        part.before.positions = positions
    elif not only_grows:
        positions = places.of_lesion(heads, nearby=True)
    vague = kind in (None, "mass") or kind in words.generic or kind in words.attributes
    if not positions and (vague or (kind == "node" and fdg is None)) and not measures and not only_grows:
        return None
    if not positions and kind in words.generic and kind != "lesion" and fdg is None and not only_grows:
        return None
    part.before.kind = kind
    count = _count(heads, text, words)
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
        refers_back=only_grows or (start == 0 and words.cues["back_reference"].search(raw.strip()) is not None),
    )


def _of_all(places: Places, heads: Sequence[Mention], text: str, words: Vocabulary) -> list[Position]:
    """Return the places of a finding; where the largest of several is, is in the place of them all."""
    positions = places.of_lesion(heads)
    largest = next((one.span[0] for one in heads if words.cues["largest"].match(text[one.span[1] :])), 0)
    if len(positions) < 2 or not largest:
        return positions
    before = places.of_lesion(heads, until=largest)
    organs = {one.organ for one in before}
    return [one for one in positions if one in before or one.organ not in organs] or positions


def _is_denied(raw: str, fdg: str | None, words: Vocabulary) -> bool:
    """Whether all that is said of a finding without measures is that it is not there, or of normal size."""
    if words.cues["not_there"].search(raw):
        return True
    return fdg is None and words.cues["normal"].search(raw) is not None


def _same_side(positions: list[Position], before: Sequence[Position]) -> list[Position]:
    """Give places without a side that of the finding before where they are of its organ ("nhóm II trái, nhóm V")."""
    sides = {one.side for one in before}
    side = sides.pop() if len(sides) == 1 else None
    organs = {one.organ for one in before}
    return [replace(one, side=side) if one.side is None and one.organ in organs else one for one in positions]


# A further finding of what was named before, at another place: "và phân thùy 8 KT 2,6 cm", "bên trái 9 mm".
_STARTS_WITH_PLACE = re.compile(r"\s*(?!tăng|bắt|không|hấp)\w")


def _stripped_end(text: str, start: int, end: int) -> int:
    return start + max(1, len(text[start:end].rstrip(" ,;.")))


def _calls_a_lesion(head: Mention, part: Sentence) -> bool:
    """Whether a word that may call a lesion does so here: "to" and the like only right after an organ."""
    if head.term.kind != "enlargement":
        return True
    before = [one for one in part.mentions if one.term.organ and one.span[1] <= head.span[0]]
    return (
        bool(before) and part.words.cues["between"].fullmatch(part.live, before[-1].span[1], head.span[0]) is not None
    )


def _kind(heads: Sequence[Mention], text: str, opinion: int, words: Vocabulary) -> str | None:
    """Return what the finding is called first; a general word gives way to a precise one in the same breath."""
    stated = [head for head in heads if head.span[0] < opinion]
    # "Tăng chuyển hóa ... tương ứng nốt mờ" is a nodule; "... do viêm" names no lesion.
    stated = stated or [head for head in heads if head.term.kind not in words.attributes]
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
    if earlier:  # with another day told, it is a change
        lessened = words.cues["lessened"]
        less += [match.span() for match in words.cues["no_uptake"].finditer(text) if lessened.match(match.group())]
    denied = [
        match.span()
        for match in words.cues["no_uptake"].finditer(text)
        if not within(match.start(), less) and not within(start + match.start(), earlier)
    ]
    other = [*denied, *less]
    for taken in words.cues["uptake"].finditer(text):
        if within(taken.start(), other) or within(start + taken.start(), earlier):
            continue
        if denied and (denied[0][0] < taken.start() or not _RAISED.match(taken.group())):
            return "none"
        return "increased"
    return "none" if denied else None


_MORE_DIGITS = re.compile(r"(?:[\d./x-]|\d,)\s*$")
_COUNTED = re.compile(r"(\b\d{1,2}|\w+)\s+(?:ổ\s+|hình ảnh\s+|cái\s+)?$")


def _count(heads: Sequence[Mention], text: str, words: Vocabulary) -> int | None:
    """Return how many lesions there are said to be."""
    if said := words.cues["number"].search(text):
        return int(said[1])
    for head in heads[:2]:
        match = _COUNTED.search(text, max(0, head.span[0] - 24), head.span[0])
        if match is None or words.cues["largest"].search(text[head.span[1] :]):
            continue
        number = match[1]
        if _MORE_DIGITS.search(text, max(0, match.start(1) - 4), match.start(1)):
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
    positions: Sequence[Position], part: Sentence, start: int, end: int, measures: Measures
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
