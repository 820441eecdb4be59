"""Where a finding is: the places that its text names, and which of them are on which side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from petct_cli.report.vocabulary import Place, Vocabulary

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Position:
    """One place of a lesion."""

    site: str | None
    organ: str
    side: str | None


@dataclass(frozen=True, slots=True)
class _Named:
    span: Span
    place: Place
    side: str | None = None


@dataclass(frozen=True)
class Places:
    """The places in a piece of text, the sides in it, and where invasion and opinion begin."""

    text: str
    named: tuple[_Named, ...]
    sides: tuple[tuple[Span, str], ...]
    invasion: Span | None
    opinion: int
    words: Vocabulary

    def covers(self, span: Span) -> bool:
        """Whether `span` is part of the name of a place ("ổ" of "ổ bụng")."""
        return any(one.span[0] <= span[0] and span[1] <= one.span[1] for one in self.named)

    def lone_side(self) -> str | None:
        """Return the only side that the text gives the lesion, not what it reaches or is compared with."""
        distinct = {side for span, side in self.sides if not self._reached(span) and span[0] < self.opinion}
        return distinct.pop() if len(distinct) == 1 else None

    def of_lesion(self, heads: Sequence[re.Match[str]]) -> list[Position]:
        """Return the places of the lesion itself, given the words that call it a lesion.

        Where a lesion reaches and what it is compared with are not its places, unless nothing else is named.
        """
        sided = self._with_sides()
        own = [one for one in sided if not self._reached(one.span) and one.span[0] < self.opinion]
        chosen = own or [one for one in sided if not self._reached(one.span)]
        positions = [self._position(one, heads) for one in chosen]
        precise = [position for position in positions if position.organ not in ("spine", "bone")]
        if any(position.organ in ("thoracic_spine", "lumbar_spine", "cervical_spine") for position in precise):
            positions = [position for position in positions if position.organ != "spine"]
        return positions

    def _reached(self, span: Span) -> bool:
        return self.invasion is not None and self.invasion[0] < span[0] < self.invasion[1]

    def _position(self, one: _Named, heads: Sequence[re.Match[str]]) -> Position:
        site = one.place.node if self._is_node(one, heads) else one.place.site
        return Position(site, one.place.organ, one.side)

    def _is_node(self, one: _Named, heads: Sequence[re.Match[str]]) -> bool:
        if one.place.forced:
            return True
        before = [head for head in heads if head.start() <= one.span[0]]
        after = [head for head in heads if head.start() > one.span[0]]
        return nodes_at(before[-1] if before else after[0], self.words) if before or after else False

    def _with_sides(self) -> list[_Named]:
        """Give each place the side that is said with it.

        A side belongs to the place before it ("phổi phải", "cơ ức đòn chũm (nhóm IIB) hai bên"), else to the place
        right after it ("hai phổi", "bên phải đốt sống"). A place without one takes that of the next in the same list
        ("thùy trên và thùy dưới phổi trái"), else, where no place has one, the only side in the text.
        """
        own: list[str | None] = [None] * len(self.named)
        for (start, end), side in self.sides:
            before = [index for index, one in enumerate(self.named) if one.span[1] <= start]
            after = [index for index, one in enumerate(self.named) if one.span[0] >= end]
            leads = after and not self.text[end : self.named[after[0]].span[0]].strip()
            follows = before and self._adjoins(self.text[self.named[before[-1]].span[1] : start])
            inside = [index for index, one in enumerate(self.named) if one.span[0] <= start and end <= one.span[1]]
            if inside:
                own[inside[0]] = own[inside[0]] or side
            elif follows and own[before[-1]] is None:
                own[before[-1]] = side
            elif leads:
                own[after[0]] = own[after[0]] or side
        for index in range(len(own) - 2, -1, -1):
            between = self.text[self.named[index].span[1] : self.named[index + 1].span[0]]
            if own[index] is None and re.fullmatch(r"[\s,]*(?:và|hoặc|hay)?[^.;()\d]{0,24}", between):
                own[index] = own[index + 1]
        lone = self.lone_side() if not any(own) else None
        return [_Named(one.span, one.place, side or lone) for one, side in zip(self.named, own, strict=True)]

    @staticmethod
    def _adjoins(between: str) -> bool:
        outside = re.sub(r"\([^)]*\)", "", between)
        return "," not in outside and ";" not in outside and len(outside) <= 40


def nodes_at(head: re.Match[str], words: Vocabulary) -> bool:
    """Whether the word that calls a lesion a lesion calls it a lymph node."""
    return words.kind_of[head.group()] == "node"


def find_positions(text: str, words: Vocabulary) -> Places:
    """Find the places and sides that `text` (canonical form) names."""
    found = [_Named(match.span(), words.place_of[match.group()]) for match in words.places.finditer(text)]
    for code in words.codes:
        if code.context is None or code.context.search(text):
            found += [_Named(match.span(), code.place) for match in code.pattern.finditer(text)]
    named = sorted(found, key=lambda one: (one.span[0], -one.span[1]))
    kept: list[_Named] = []
    for one in named:
        if not kept or one.span[0] >= kept[-1].span[1]:
            kept.append(one)
    invasion = words.cues["invasion"].search(text)
    reach = None
    if invasion is not None:
        stop = re.search(r"\b(?:kích thước|đường kính|tăng|không tăng|suv)", text[invasion.end() :])
        reach = (invasion.start(), invasion.end() + stop.start() if stop else len(text))
    opinion = words.cues["opinion"].search(text)
    return Places(
        text=text,
        named=tuple(kept),
        sides=tuple(_find_sides(text, words)),
        invasion=reach,
        opinion=opinion.start() if opinion else len(text),
        words=words,
    )


def _find_sides(text: str, words: Vocabulary) -> list[tuple[Span, str]]:
    text = words.not_a_side.sub(lambda match: " " * len(match.group()), text)
    sides: list[tuple[Span, str]] = []
    for side, pattern in words.sides:
        for match in pattern.finditer(text):
            if all(match.end() <= start or end <= match.start() for (start, end), _ in sides):
                sides.append((match.span(), side))
    return sorted(sides)
