"""Where a finding is: the places that its text names, their parts and levels, and which of them are on which side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from petct_cli.report.levels import find_levels, segment_name, with_side
from petct_cli.report.vocabulary import Mention, Vocabulary

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Position:
    """One place of a lesion: site of ``sites.toml`` (None outside of them), organ and its part, level, side."""

    site: str | None
    organ: str
    side: str | None
    part: str | None = None
    level: str | None = None


class _Named(NamedTuple):
    span: Span
    organ: str | None
    part: str | None = None
    level: str | None = None
    side: str | None = None
    adjunct: bool = False


@dataclass(frozen=True)
class Reach:
    """Where a lesion grows to (`invasion`) or what it lies beside: a range of the text."""

    span: Span
    invasion: bool
    denied: bool


@dataclass(frozen=True)
class Places:
    """The places in a piece of text, the sides in it, and where invasion and opinion begin."""

    text: str
    named: tuple[_Named, ...]
    sides: tuple[tuple[Span, str], ...]
    reaches: tuple[Reach, ...]
    opinion: int
    words: Vocabulary
    heads: tuple[Span, ...] = ()

    def lone_side(self) -> str | None:
        """Return the only side that the text gives the lesion, not what it reaches or is compared with."""
        distinct = {side for span, side in self.sides if not self.reached(span) and span[0] < self.opinion}
        return distinct.pop() if len(distinct) == 1 else None

    def of_lesion(self, heads: Sequence[Mention], nearby: bool = False, until: int | None = None) -> list[Position]:
        """Return the places of the lesion itself, given the words that call it a lesion.

        Where a lesion reaches and what it is compared with are not its places; `nearby`, where nothing else tells its
        place, takes what it lies beside. `until` leaves out what is named from there on.
        """
        sided = self._with_sides()
        free = [one for one in sided if not self.reached(one.span)]
        if nearby and not free:
            beside = min((reach.span for reach in self.reaches if not reach.invasion), default=(0, len(self.text)))
            free = [one for one in sided if beside[0] < one.span[0] < beside[1] and not self._invasion_of(one)]
        chosen = [one for one in free if one.span[0] < self.opinion] or free
        if until is not None:
            chosen = [one for one in chosen if one.span[0] < until]
        positions = [self._position(one, heads) for one in chosen]
        return self._precise(positions)

    def invaded(self) -> tuple[str, ...]:
        """Return the organs that the lesion is said to grow into."""
        if not self.reaches:
            return ()
        own = {position.organ for position in self.of_lesion(()) or self.of_lesion((), nearby=True)}
        organs = [one.organ for one in self.named if one.organ and self._grown_into(one)]
        wide = {organ for organ in organs if own & self.words.narrower.get(organ, frozenset())}
        return tuple(dict.fromkeys(organ for organ in organs if organ not in own | wide))

    def _grown_into(self, one: _Named) -> bool:
        """Whether the last that is said of a place is that the lesion grows into it."""
        last = self._invasion_of(one)
        return last is not None and not last.denied

    def _invasion_of(self, one: _Named) -> Reach | None:
        over = [reach for reach in self.reaches if reach.span[0] < one.span[0] < reach.span[1]]
        last = max(over, key=lambda reach: reach.span[0], default=None)
        return last if last is not None and last.invasion else None

    def reached(self, span: Span) -> bool:
        """Whether `span` is where the lesion grows to or what it lies beside."""
        return any(reach.span[0] < span[0] < reach.span[1] for reach in self.reaches)

    def _precise(self, positions: list[Position]) -> list[Position]:
        """Leave out what a more precise place says better, which takes the side that only the other tells."""
        kept = list(dict.fromkeys(positions))
        for position in list(kept):
            if position not in kept:
                continue
            others = [other for other in kept if other != position]
            wide = self.words.narrower.get(position.organ, frozenset())
            narrower = [other for other in others if other.organ in wide or _says_better(other, position)]
            if not narrower:
                continue
            kept.remove(position)
            if position.side is not None:
                kept = [
                    replace(other, side=position.side) if other in narrower and other.side is None else other
                    for other in kept
                ]
        return list(dict.fromkeys(kept))

    def _position(self, one: _Named, heads: Sequence[Mention]) -> Position:
        organ = one.organ or ""
        site = self.words.node_sites.get(organ) if self._is_node(one, heads) else self.words.sites.get(organ)
        level = with_side(one.level, organ, one.side) if one.level else None
        return Position(site, organ, one.side, one.part, level)

    def _is_node(self, one: _Named, heads: Sequence[Mention]) -> bool:
        before = [head for head in heads if head.span[0] <= one.span[0]]
        after = [head for head in heads if head.span[0] > one.span[0]]
        return (before[-1] if before else after[0]).term.kind == "node" if before or after else False

    def _with_sides(self) -> list[_Named]:
        """Give each place the side that is said with it.

        A side belongs to the place before it ("phổi phải", "cơ ức đòn chũm (nhóm IIB) hai bên"), else to the place
        right after it ("hai phổi", "bên phải đốt sống"). A place without one takes that of the next in the same list
        ("thùy trên và thùy dưới phổi trái"), else, where no place has one, the only side in the text.
        """
        own: list[str | None] = [one.side for one in self.named]
        for (start, end), side in self.sides:
            before = [index for index, one in enumerate(self.named) if one.span[1] <= start]
            after = [index for index, one in enumerate(self.named) if one.span[0] >= end]
            leads = after and not self.text[end : self.named[after[0]].span[0]].strip(" (")
            follows = before and self._adjoins(self.text[self.named[before[-1]].span[1] : start])
            inside = [index for index, one in enumerate(self.named) if one.span[0] <= start and end <= one.span[1]]
            if inside:
                own[inside[0]] = own[inside[0]] or side
            elif leads and self.words.lang == "en":
                own[after[0]] = own[after[0]] or side
            elif follows and own[before[-1]] is None:
                own[before[-1]] = side
            elif leads:
                own[after[0]] = own[after[0]] or side
        for index in range(len(own) - 2, -1, -1):
            between = self.text[self.named[index].span[1] : self.named[index + 1].span[0]]
            if own[index] is None and self._may_share(index) and _SAME_LIST.fullmatch(between):
                own[index] = own[index + 1]
        lone = self.lone_side() if not any(own) else None
        return [
            one if one.side == (side or lone) else one._replace(side=side or lone)
            for one, side in zip(self.named, own, strict=True)
        ]

    def _may_share(self, index: int) -> bool:
        """Whether a place may take the side of the next: one that has no sides does not ("xương ức, sườn phải")."""
        one, other = self.named[index], self.named[index + 1]
        if any(one.span[1] <= start < other.span[0] for start, _ in self.heads):
            return False  # "nốt phổi hay hạch nách trái": another lesion
        return other.side is None and (one.organ == other.organ or one.organ in self.words.paired)

    @staticmethod
    def _adjoins(between: str) -> bool:
        outside = _PARENTHESIS.sub("", between) if "(" in between else between
        return "," not in outside and ";" not in outside and ":" not in outside and len(outside) <= _NEAR


def _says_better(one: Position, other: Position) -> bool:
    """Whether `one` says all that `other` does, and more."""
    if one.organ != other.organ or (None not in (one.side, other.side) and one.side != other.side):
        return False
    if other.part not in (None, one.part):
        return False
    if other.level is not None and not set(other.level.split(",")) < set((one.level or "").split(",")):
        return one.level == other.level and (one.part, one.side) != (other.part, other.side) and other.side is None
    same = (one.part, one.level) == (other.part, other.level)
    return other.side is None if same else True


_NEAR = 40
_COMMA = re.compile(r",(?!\d)")
_PARENTHESIS = re.compile(r"\([^)]*\)")
_SAME_LIST = re.compile(r"[\s,]*(?:và|hoặc|hay|and)?[^.;:()\d]{0,24}")


def find_positions(
    text: str, words: Vocabulary, mentions: Iterable[Mention] | None = None, raw: str | None = None
) -> Places:
    """Find the places and sides that `text` (canonical form) names.

    `mentions` are its terms where they are known; `raw` is the text with what is said not to exist, where `text` has
    spaces.
    """
    terms = list(words.mentions(text) if mentions is None else mentions)
    places = [one for one in terms if one.term.organ or one.term.adjunct]
    organs = {one.term.organ for one in places if one.term.organ}
    nodes = any(one.term.kind == "node" for one in terms)
    codes = find_levels(text, words, organs, nodes)
    named = [
        _Named(code.span, code.organ, level=code.level, side=code.side, adjunct=code.organ is None) for code in codes
    ]
    named += [
        _Named(one.span, one.term.organ, one.term.part, adjunct=one.term.adjunct)
        for one in places
        if not any(code.span[0] < one.span[1] and one.span[0] < code.span[1] for code in codes)
    ]
    # What a code covers is named by it ("xương sườn 7", "đốt sống ngực 4"), its part is not lost.
    parts = {
        code.span: one.term.part
        for code in codes
        for one in places
        if one.term.part and code.span[0] < one.span[1] and one.span[0] < code.span[1]
    }
    if parts:
        named = [one._replace(part=one.part or parts.get(one.span)) for one in named]
    named.sort(key=lambda one: (one.span[0], -one.span[1]))
    joined = _join(text, named, words)
    heads = tuple(one.span for one in terms if one.term.kind)
    return Places(
        text=text,
        named=tuple(joined),
        sides=tuple(_find_sides(text, words, places)),
        reaches=tuple(_find_reaches(raw or text, words, heads)),
        opinion=cue.start() if (cue := words.cues["opinion"].search(text)) else len(text),
        words=words,
        heads=heads,
    )


def _join(text: str, named: Sequence[_Named], words: Vocabulary) -> list[_Named]:
    """Make one place of a part, a level and an organ that stand together."""
    joined: list[_Named] = []
    for one in named:
        if joined:
            last = joined[-1]
            between = text[last.span[1] : one.span[0]]
            if words.cues["joined"].fullmatch(between) and (one.span != last.span) and (both := _combine(last, one)):
                joined[-1] = both
                continue
            if re.fullmatch(r"\s*[,:]\s*", between) and _refines(one, last) and (both := _combine(last, one)):
                joined[-1] = both
                continue
        joined.append(one)
    organs = {one.organ for one in named if one.organ and not one.adjunct}
    settled: list[_Named] = []
    for one in joined:
        organ = one.organ
        if organ is None and one.level is not None:
            organ = "lung" if "lung" in organs and "liver" not in organs else "liver"
        elif organ is None:
            if settled and settled[-1].part is None and not re.search("[,;.]", text[settled[-1].span[1] : one.span[0]]):
                settled[-1] = settled[-1]._replace(part=one.part)
            continue
        elif one.adjunct and organs and organ not in organs and len(organs) == 1 and one.level is None:
            organ = next(iter(organs))
        level = segment_name(one.level, organ) if one.level and organ in ("liver", "lung") else one.level
        if (one.organ, one.level, one.adjunct) != (organ, level, False):
            one = one._replace(organ=organ, level=level, adjunct=False)
        settled.append(one)
    return settled


def _refines(one: _Named, last: _Named) -> bool:
    return (last.part, last.level) == (None, None) and (one.part is not None or one.level is not None)


def _combine(first: _Named, second: _Named) -> _Named | None:
    """Return both as one place, None where they are two."""
    if first.part and second.part and first.part != second.part and first.part not in _WITHIN_LOBE:
        return None
    if first.level and second.level:
        return None
    generic = _GENERIC_OF.get(first.organ or "", ()), _GENERIC_OF.get(second.organ or "", ())
    if first.organ == second.organ or second.organ is None or (second.adjunct and not first.adjunct):
        organ, adjunct = first.organ, first.adjunct and second.adjunct
    elif first.organ is None or first.adjunct:
        organ, adjunct = second.organ, second.adjunct
    elif second.organ in generic[0]:
        organ, adjunct = first.organ, False
    elif first.organ in generic[1]:
        organ, adjunct = second.organ, False
    else:
        return None
    return _Named(
        (first.span[0], second.span[1]),
        organ,
        first.part or second.part,
        first.level or second.level,
        first.side or second.side,
        adjunct,
    )


_WITHIN_LOBE = frozenset(["lingula", "apex", "base"])  # "phân thùy lưỡi thùy trên phổi trái" is one place
# An organ and what it may be called more widely right beside it.
_GENERIC_OF = {
    **dict.fromkeys(("cervical_spine", "thoracic_spine", "lumbar_spine", "sacrum", "coccyx"), ("spine", "bone")),
    **dict.fromkeys(("rib", "femur", "humerus", "iliac_bone", "skull", "mandible", "maxilla"), ("bone",)),
    "mediastinum": ("neck",),
}


def _find_sides(text: str, words: Vocabulary, places: Sequence[Mention]) -> list[tuple[Span, str]]:
    if words.not_a_side.search(text):
        text = words.not_a_side.sub(lambda match: " " * len(match.group()), text)
    sides: list[tuple[Span, str]] = []
    for begin in words.side_begins.finditer(text):
        if (not sides or begin.start() >= sides[-1][0][1]) and (match := words.sides.match(text, begin.start())):
            sides.append((match.span(), match.lastgroup or ""))
    for one in places:
        pair = words.cues["pair"].search(text, max(0, one.span[0] - 8), one.span[0])
        if pair and one.term.organ in words.paired and all(pair.end() <= a or b <= pair.start() for (a, b), _ in sides):
            sides.append((pair.span(), "bilateral"))
    return sorted(sides)


def _find_reaches(text: str, words: Vocabulary, heads: Sequence[Span]) -> list[Reach]:
    reaches: list[Reach] = []
    until = words.cues["invasion_until"]
    passive = list(words.cues["grown_into"].finditer(text))
    for match in passive:
        begin = max(text.rfind(mark, 0, match.start()) for mark in ";:")
        called = [end for start, end in heads if begin < start < match.start()]
        if called:
            comma = _COMMA.search(text, called[-1], match.start())
            begin = comma.start() if comma else match.start()
        denied = words.cues["denied"].search(text, 0, match.start()) is not None
        reaches.append(Reach((begin, match.end()), True, denied))
    for invasion, name in ((True, "invasion"), (False, "beside")):
        for match in words.cues[name].finditer(text):
            if any(one.start() <= match.start() < one.end() for one in passive):
                continue
            stop = until.search(text, match.end())
            denied = words.cues["denied"].search(text, 0, match.start()) is not None
            reaches.append(Reach((match.start(), stop.start() if stop else len(text)), invasion, denied))
    return reaches
