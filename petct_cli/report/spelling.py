"""Mend what is typed without marks or with a slip, as far as the vocabulary tells what was meant.

>>> from petct_cli.report.vocabulary import load_vocabulary
>>> mend("not mo thuy tren phoi phai", load_vocabulary())[0]
'nốt mờ thùy trên phổi phải'
>>> mend("hạhc nách trái", load_vocabulary())[0]
'hạch nách trái'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from petct_cli.report.language import ENGLISH, language_of
from petct_cli.report.vocabulary import WORD, Vocabulary, load_vocabulary

_SYLLABLE = re.compile(
    r"(?:b|ch?|d|đ|g[hi]?|h|kh?|l|m|ngh?|nh?|ph?|qu|r|s|th?|tr?|v|x)?[aăâeêioôơuưy]{1,3}(?:ch?|m|ng?|nh|p|t)?"
)
_MARKED_SHARE = 0.25
_LONG_ENOUGH = 4
_TONES = "\u0300\u0301\u0303\u0309\u0323"


@lru_cache(maxsize=20_000)
def unmarked(word: str) -> str:
    """Return `word` without its marks."""
    letters = unicodedata.normalize("NFD", word.replace("đ", "d"))
    return letters if letters.isascii() else "".join(c for c in letters if not unicodedata.combining(c))


@dataclass(frozen=True)
class _Index:
    words: frozenset[str]
    """Every word of the phrases."""
    runs: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]
    """First word without marks -> (words without marks, words), longest first, the more usual first."""
    flat: frozenset[str]
    """The same without marks."""
    near: dict[str, tuple[str, ...]]
    """What is left of a word when one letter is taken out -> the words."""


@cache
def _index(lang: str) -> _Index:
    phrases = load_vocabulary(lang).phrases
    words = frozenset(word for phrase in phrases for word in phrase)
    runs: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for phrase in sorted(phrases, key=lambda phrase: -len(phrase)):
        bare = tuple(map(unmarked, phrase))
        known = runs.setdefault(bare[0], [])
        if all(bare != other for other, _ in known):
            known.append((bare, phrase))
    near: dict[str, set[str]] = {}
    for word in words:
        if len(word) >= _LONG_ENOUGH - 1 and word.isalpha():
            for shorter in {word, *_one_less(word)}:
                near.setdefault(shorter, set()).add(word)
    return _Index(
        words, runs, frozenset(map(unmarked, words)), {key: tuple(sorted(found)) for key, found in near.items()}
    )


def _one_less(word: str) -> list[str]:
    return [word[:index] + word[index + 1 :] for index in range(len(word))]


def mend(
    text: str, vocabulary: Vocabulary, found: Sequence[re.Match[str]] | None = None
) -> tuple[str, list[int] | None]:
    """Return `text` (one sentence in canonical form) with its words as the vocabulary spells them.

    A sentence that is typed without marks gets them from the longest phrases that fit. In any other, a word that is no
    word of the vocabulary is mended when the phrase around it tells which one was meant, or when it cannot be a
    syllable and one slip of a finger (a letter too many, too few, wrong or swapped) makes it one.

    `found` are the words of `text` where they are known.

    Returns
    -------
    tuple
        The text, and for each of its characters the offset in the text that was given (None: nothing was changed).
    """
    found = list(WORD.finditer(text)) if found is None else found
    words = [match.group() for match in found]
    index = _index(vocabulary.lang)
    known = index.words
    strange = [i for i, word in enumerate(words) if word not in known and _may_be_mended(word, vocabulary.lang)]
    if not strange:
        return text, None
    bare = _is_bare(text, words)
    mended = list(words)
    done = -1
    for i in range(len(words)) if bare else strange:
        if i > done and words[i][0].isalpha():
            done = _mend_run(words, mended, i, bare, index, vocabulary)
    if mended == words:
        return text, None
    return _rebuilt(text, found, mended)


@lru_cache(maxsize=20_000)
def _may_be_mended(word: str, lang: str) -> bool:
    """Whether `word` is none of the vocabulary and yet like one."""
    index = _index(lang)
    if not word[0].isalpha():
        return False
    return _flat(word) in index.flat or _slip(word, index) is not None


def _is_bare(text: str, words: Sequence[str]) -> bool:
    """Whether `text` is Vietnamese that is typed without marks."""
    letters = [word for word in words if word[0].isalpha()]
    return sum(not word.isascii() for word in letters) < _MARKED_SHARE * len(letters) and language_of(text) != ENGLISH


def _mend_run(
    words: Sequence[str], mended: list[str], at: int, bare: bool, index: _Index, vocabulary: Vocabulary
) -> int:
    """Mend the phrase around word `at`; return the last word that was settled."""
    first = at if bare else max(0, at - 3)
    for begin in range(first, at + 1):
        for flat, phrase in index.runs.get(_flat(words[begin]), ()):
            end = begin + len(flat)
            if end <= at or end > len(words) or tuple(map(_flat, words[begin:end])) != flat:
                continue
            if bare:
                if len(flat) == 1 and flat[0] in vocabulary.unsafe:
                    continue
                mended[begin:end] = phrase
                return end - 1
            given = words[begin:end]
            kept = [mine == theirs for mine, theirs in zip(given, phrase, strict=True)]
            # Another word of the vocabulary is what it says.
            if any(mine != theirs and mine in index.words for mine, theirs in zip(given, phrase, strict=True)):
                continue
            if (len(flat) > 1 and any(kept)) or (len(flat) == 1 and _alone(given[0], phrase[0], vocabulary)):
                mended[begin:end] = phrase
                return end - 1
    if not bare and (slip := _slip(words[at], index)):
        mended[at] = slip
    return at


def _flat(word: str) -> str:
    return word if word.isascii() else unmarked(word)


def _alone(given: str, meant: str, vocabulary: Vocabulary) -> bool:
    """Whether a single word without marks can mean only that of the vocabulary."""
    return given.isascii() and len(given) >= _LONG_ENOUGH and given not in vocabulary.unsafe and not meant.isascii()


def _slip(word: str, index: _Index) -> str | None:
    """Return the word that was meant by one that cannot be a syllable, None when that is not clear."""
    if len(word) < _LONG_ENOUGH or word.isascii() or not word.isalpha() or _is_syllable(word):
        return None
    close = {near for shorter in [word, *_one_less(word)] for near in index.near.get(shorter, ())}
    swapped = [near for near in close if sorted(near) == sorted(word)]
    candidates = swapped or [near for near in close if _one_apart(near, word)]
    return candidates[0] if len(candidates) == 1 else None


def _one_apart(one: str, other: str) -> bool:
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    shorter, longer = sorted((one, other), key=len)
    return len(longer) - len(shorter) == 1 and shorter in _one_less(longer)


@lru_cache(maxsize=20_000)
def _is_syllable(word: str) -> bool:
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if c not in _TONES)
    return _SYLLABLE.fullmatch(unicodedata.normalize("NFC", plain)) is not None


def _rebuilt(text: str, found: Sequence[re.Match[str]], mended: Sequence[str]) -> tuple[str, list[int]]:
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    for match, new in zip(found, mended, strict=True):
        word, start = match.group(), match.start()
        pieces += [text[at:start], new]
        offsets += [*range(at, start), *(min(start + i, start + len(word) - 1) for i in range(len(new)))]
        at = start + len(word)
    pieces.append(text[at:])
    return "".join(pieces), [*offsets, *range(at, len(text) + 1)]
