"""Word lists of report de-identification: names of people and places, and medical words that look like names."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from petct_cli.report.deid_marks import fold
from petct_cli.report.normalise import unify_tone_marks

_WORD = re.compile(r"[^\W\d_]+")
_PHRASED = ("phrases_vi.toml", "sections.toml", "sites.toml", "synonyms_vi.toml")


@dataclass(frozen=True)
class Words:
    """What is known of words.

    Attributes
    ----------
    surnames
        Family names in lower case; True: also a common word.
    surnames_folded
        The same without marks; True: also a common word, or another word without its marks.
    given, given_folded
        Middle and given names, with and without marks.
    allowed
        Medical phrases and eponyms, folded: a run that begins with one is no name.
    harmless
        Folded pairs that are medical when written small.
    vocabulary
        Words of reports and forms, with their marks.
    follow
        Words of reports that follow each other, with their marks.
    """

    surnames: dict[str, bool]
    surnames_folded: dict[str, bool]
    given: frozenset[str]
    given_folded: frozenset[str]
    allowed: frozenset[str]
    harmless: frozenset[tuple[str, str]]
    vocabulary: frozenset[str]
    follow: frozenset[tuple[str, str]]


def _lines(name: str) -> list[str]:
    text = unify_tone_marks(
        unicodedata.normalize("NFC", (files("petct_cli.report") / "data" / name).read_text("utf-8"))
    )
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def words() -> Words:
    """Return the word lists, read once."""
    surnames: dict[str, bool] = {}
    for line in _lines("surnames_vi.txt"):
        surnames.setdefault(line.rstrip(" !").casefold(), line.endswith("!"))
    folded: dict[str, bool] = {}
    for name, is_word in surnames.items():
        folded[fold(name)] = folded.get(fold(name), False) or is_word
    allowed, pairs = set(), set()
    for line in _lines("medical_allow_vi.txt"):
        if line.startswith("~"):
            left, right = line[1:].split()
            pairs.add((left, right))
        else:
            allowed.add(line)
    given = frozenset(word.casefold() for line in _lines("given_names_vi.txt") for word in line.split())
    vocabulary = {word for line in _lines("report_words_vi.txt") for word in line.split()}
    follow: set[tuple[str, str]] = set()
    for text in (*allowed, *(line for name in _PHRASED for line in _lines(name))):
        for part in re.split(r"[^\w\s]+", text.casefold()):
            tokens = _WORD.findall(part)
            follow.update(pairwise(tokens))
            vocabulary.update(tokens)
    return Words(
        surnames=surnames,
        surnames_folded=folded,
        given=given,
        given_folded=frozenset(map(fold, given)),
        allowed=frozenset(map(fold, allowed)),
        harmless=frozenset(pairs),
        vocabulary=frozenset(vocabulary),
        follow=frozenset(follow),
    )


@cache
def provinces() -> tuple[str, ...]:
    """Return the provinces and large cities, with and without marks, the longest first."""
    names = _lines("places_vi.txt")
    return tuple(sorted({*names, *map(fold, names)}, key=lambda name: (-len(name), name)))


def harmless_pairs() -> frozenset[tuple[str, str]]:
    """Return folded pairs of words that are medical terms when written small, although a name could hold them."""
    return words().harmless


def vocabulary() -> frozenset[str]:
    """Return the words of reports and forms, with their marks, in lower case."""
    return words().vocabulary


def is_medical(text: str) -> bool:
    """Say whether a run of capitalised words begins with a medical phrase."""
    allowed = words().allowed
    tokens = fold(text).split()
    return any(" ".join(tokens[:size]) in allowed for size in range(min(4, len(tokens)), 0, -1))
