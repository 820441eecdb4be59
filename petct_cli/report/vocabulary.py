"""The compiled vocabulary of the lesion extractor (``data/vocabulary_*.toml`` and ``data/anatomy.toml``)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from petct_cli.report.cues import Cue
from petct_cli.report.normalise import compose, fold, unify_tone_marks

WORD = re.compile(r"[^\W\d_]+(?:-(?=[^\W\d_]))?|\d+/\d+|\d+|[^\w\s]")
"""A token of text: a fraction, a number, a syllable or a mark."""
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Term:
    """What a run of words means.

    Attributes
    ----------
    kind
        Kind of lesion, for a word that calls something a lesion.
    organ, part
        For a place: the organ and its part. A part alone ("upper third") has no organ, or a usual one.
    adjunct
        A part that belongs to whatever organ stands next to it.
    place_words
        How many of the last words of a kind name its place, too ("viêm phổi").
    """

    kind: str | None = None
    organ: str | None = None
    part: str | None = None
    adjunct: bool = False
    place_words: int = 0


IGNORED = Term()


class Mention(NamedTuple):
    """A term where it stands in a text."""

    span: Span
    term: Term


@dataclass(frozen=True)
class Vocabulary:
    """Terms by their first two words, longest first, and patterns over canonical text (`normalise.fold`).

    Attributes
    ----------
    meanings
        All words -> meaning.
    terms
        First word -> second word -> (all words, meaning), the longest first; the empty word is for what has no second.
    phrases
        Every run of words that is worth being spelt right, for `petct_cli.report.spelling`.
    unsafe
        Words without marks that could be many a word.
    """

    lang: str
    meanings: Mapping[tuple[str, ...], Term]
    terms: Mapping[str, Mapping[str, Sequence[tuple[tuple[str, ...], Term]]]]
    phrases: tuple[tuple[str, ...], ...]
    unsafe: frozenset[str]
    cues: Mapping[str, Cue]
    levels: Mapping[str, Cue]
    counts: Mapping[str, int]
    sides: re.Pattern[str]
    side_begins: re.Pattern[str]
    not_a_side: Cue
    generic: frozenset[str]
    attributes: frozenset[str]
    distinct: frozenset[str]
    paired: frozenset[str]
    narrower: Mapping[str, frozenset[str]]
    sites: Mapping[str, str]
    node_sites: Mapping[str, str]

    def mentions(self, text: str, found: Sequence[re.Match[str]] | None = None) -> list[Mention]:
        """Return the terms in `text` (canonical form) from left to right, at each word the longest.

        `found` are its words (`WORD`) where they are known.
        """
        found = list(WORD.finditer(text)) if found is None else found
        words = [match.group() for match in found]
        mentions: list[Mention] = []
        after = 0
        for index, word in enumerate(words):
            by_next = self.terms.get(word)
            if by_next is None or index < after:
                continue
            following = words[index + 1] if index + 1 < len(words) else ""
            for term, meaning in by_next.get(following) or by_next[""]:
                size = len(term)
                if size == 1 or tuple(words[index : index + size]) == term:
                    after = index + size
                    if meaning is not IGNORED:
                        mentions.append(Mention((found[index].start(), found[after - 1].end()), meaning))
                    if meaning.place_words:
                        after -= meaning.place_words
                    elif size > 1 and meaning.kind and self._begins_longer(words, after - 1):
                        after -= 1  # "gãy xương đùi": a break of the femur
                    break
        return mentions

    def _begins_longer(self, words: list[str], index: int) -> bool:
        by_next = self.terms.get(words[index])
        if by_next is None or index + 1 == len(words):
            return False
        return any(
            len(term) > 1 and meaning.organ and tuple(words[index : index + len(term)]) == term
            for term, meaning in by_next.get(words[index + 1], ())
        )


# "tỷ" and "tỉ", "thùy" and "thuỳ" are both right; the latter is settled by `fold`, the former here.
_I_OR_Y = (("tỷ", "tỉ"), ("kỹ", "kĩ"), ("tụy", "tuỵ"))


def _spellings(term: str) -> Iterator[tuple[str, ...]]:
    folded = fold(term)
    yield tuple(WORD.findall(folded))
    for one, other in _I_OR_Y:
        if one in folded:
            yield tuple(WORD.findall(folded.replace(one, other)))


def _place_terms(table: Mapping[str, Any]) -> Iterator[tuple[str, Term]]:
    for name, terms in table["places"].items():
        organ, _, part = name.partition("/")
        yield from ((term, Term(organ=organ, part=part or None)) for term in terms)
    for name, terms in table["parts"].items():
        organ, _, part = name.partition("/")
        yield from ((term, Term(organ=organ or None, part=part, adjunct=True)) for term in terms)


def _terms(table: Mapping[str, Any]) -> dict[tuple[str, ...], Term]:
    terms: dict[tuple[str, ...], Term] = {}
    for kind, wordings in table["heads"].items():
        terms |= {words: Term(kind=kind) for wording in wordings for words in _spellings(wording)}
    places = {words: meaning for wording, meaning in _place_terms(table) for words in _spellings(wording)}
    # "vùng cổ" is "cổ": longer than that, it would hide "cổ tử cung".
    terms |= {
        words: meaning for words, meaning in places.items() if words[0] != "vùng" or places.get(words[1:]) != meaning
    }
    everywhere = frozenset(table["roles"]["everywhere"])
    for words, meaning in terms.items():
        if meaning.kind:
            tails = (terms.get(words[at:], IGNORED) for at in range(1, len(words)))
            named = [tail.organ is not None and not tail.adjunct and tail.organ not in everywhere for tail in tails]
            if any(named):
                terms[words] = replace(meaning, place_words=len(words) - 1 - named.index(True))
    terms |= {words: IGNORED for wording in table["ignored"]["terms"] for words in _spellings(wording)}
    return terms


def _by_two_words(
    terms: Mapping[tuple[str, ...], Term],
) -> dict[str, dict[str, list[tuple[tuple[str, ...], Term]]]]:
    table: dict[str, dict[str, list[tuple[tuple[str, ...], Term]]]] = {}
    for words, meaning in sorted(terms.items(), key=lambda item: (-len(item[0]), item[0])):
        by_next = table.setdefault(words[0], {"": []})
        by_next.setdefault(words[1] if len(words) > 1 else "", []).append((words, meaning))
    for by_next in table.values():
        for following, found in by_next.items():
            if following:
                found += by_next[""]
    return table


def _pattern(written: str) -> re.Pattern[str]:
    return re.compile(_canonical(written))


def _canonical(written: str) -> str:
    return unify_tone_marks(compose(written))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("petct_cli.report").joinpath(f"data/{name}.toml").read_text("utf-8"))


@cache
def load_vocabulary(lang: str = "vi") -> Vocabulary:
    """Read and compile the vocabulary of `lang` (``vi`` or ``en``)."""
    table = {**_read("anatomy"), **_read(f"vocabulary_{lang}")}
    terms = _terms(table)
    sides = table["sides"]
    spelt = [words for wording in table["spelling"]["words"] for words in _spellings(wording)]
    return Vocabulary(
        lang=lang,
        meanings=terms,
        terms=_by_two_words(terms),
        phrases=tuple(dict.fromkeys([*spelt, *terms])),
        unsafe=frozenset(table["spelling"]["unsafe"]),
        cues={name: Cue(_canonical(pattern)) for name, pattern in table["cues"].items()},
        levels={name: Cue(_canonical(pattern)) for name, pattern in table["levels"].items()},
        counts=table["counts"],
        sides=_pattern("|".join(f"(?P<{side}>{sides[side]})" for side in ("bilateral", "right", "left"))),
        side_begins=_pattern(sides["begins"]),
        not_a_side=Cue(_canonical(sides["not_a_side"])),
        generic=frozenset(table["roles"]["generic"]),
        attributes=frozenset(table["roles"]["attribute"]),
        distinct=frozenset(table["roles"]["distinct"]),
        paired=frozenset(table["roles"]["paired"]),
        narrower={organ: frozenset(parts) for organ, parts in table["narrower"].items()},
        sites=table["sites"],
        node_sites={organ: site for site, organs in table["node_sites"].items() for organ in organs},
    )
