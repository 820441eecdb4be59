"""Canonical form of Vietnamese text, so that spelling habits do not look like different words.

The same report may be typed with composed or decomposed letters, as ``hoá`` or ``hóa``, with ``3,2`` or ``3.2``. Each
choice is a switch of `Canonical`, and `Canonical.signature` names them all.

>>> DEFAULT("Tăng chuyển HOÁ, SUVmax: 3,2")
'tăng chuyển hóa, suvmax: 3.2'
>>> DEFAULT.tokens("Nốt 3,2 cm.")
['nốt', '3.2', 'cm']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain

TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+")
"""A number with its decimals, or a run of letters: in Vietnamese, one syllable."""

_TONES = "\u0300\u0309\u0303\u0301\u0323"  # huyền, hỏi, ngã, sắc, nặng
_GLIDES = (("o", "a"), ("o", "e"), ("u", "y"))
_DECIMAL_COMMA = re.compile(r",(?<=\d,)(?=\d)")
# Letters that legacy encodings put in place of Vietnamese ones: Icelandic eth for d with stroke.
_LOOKALIKES = str.maketrans({"ð": "đ", "Ð": "Đ", "\u200b": None, "\u200c": None, "\u200d": None, "\ufeff": None})
_KEPT_WORDS = 100_000
_LONGEST_KEPT = 64


def _toned(letter: str, tone: str) -> str:
    return unicodedata.normalize("NFC", letter + tone)


def _glide_tables() -> tuple[dict[str, str], dict[str, str]]:
    """Return second-vowel -> first-vowel placements (open syllables) and the reverse (closed ones)."""
    to_first: dict[str, str] = {}
    for first, second in _GLIDES:
        for tone in _TONES:
            for a, b in ((first, second), (first.upper(), second), (first.upper(), second.upper())):
                to_first[a + _toned(b, tone)] = _toned(a, tone) + b
    return to_first, {placed: other for other, placed in to_first.items()}


_TO_FIRST, _TO_SECOND = _glide_tables()


def _any_of(letters: Iterable[str]) -> str:
    return f"[{''.join(sorted(set(letters)))}]"


# What starts with one class of letters is searched for at C speed; the tables say which pairs are meant.
# "quý" has its u in the consonant: there the tone belongs on the y in both habits.
_OPEN = re.compile(rf"{_any_of(pair[0] for pair in _TO_FIRST)}(?<![qQ].){_any_of(pair[1] for pair in _TO_FIRST)}(?!\w)")
_CLOSED = re.compile(
    rf"{_any_of(pair[0] for pair in _TO_SECOND)}(?:(?<=[qQ].)|(?=\w[^\W\d_])){_any_of(pair[1] for pair in _TO_SECOND)}"
)


def unify_tone_marks(text: str) -> str:
    """Put the tone mark of ``oa``, ``oe``, ``uy`` in one place: ``hoá`` -> ``hóa``, ``hóan`` -> ``hoán``.

    `text` is in NFC; its length does not change.
    """
    text = _OPEN.sub(lambda match: _TO_FIRST.get(match.group(), match.group()), text)
    return _CLOSED.sub(lambda match: _TO_SECOND.get(match.group(), match.group()), text)


def compose(text: str) -> str:
    """Return `text` with letters composed (NFC), look-alikes replaced and zero-width characters removed."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    # Translating reads every letter by itself; hardly a text has any of these.
    return text.translate(_LOOKALIKES) if any(chr(letter) in text for letter in _LOOKALIKES) else text


class _Words(dict[str, list[str]]):
    """Word, as written -> its tokens in one canonical form; a report has few different words."""

    def __init__(self, canonical: Canonical) -> None:
        super().__init__()
        self._canonical = canonical

    def __missing__(self, word: str) -> list[str]:
        tokens = TOKEN.findall(self._canonical(word))
        if len(word) <= _LONGEST_KEPT:
            if len(self) >= _KEPT_WORDS:
                self.clear()
            self[word] = tokens
        return tokens


@dataclass(frozen=True)
class Canonical:
    """Which differences in spelling count as none.

    Parameters
    ----------
    unicode
        Compose letters (NFC) and replace look-alikes.
    tone
        Put tone marks in one place.
    case
        Lowercase.
    decimal
        Write decimals with a point.
    """

    unicode: bool = True
    tone: bool = True
    case: bool = True
    decimal: bool = True

    def __call__(self, text: str) -> str:
        """Return the canonical form of `text`."""
        if self.unicode:
            text = compose(text)
        if self.case:
            text = text.lower()
        if self.tone:
            text = unify_tone_marks(text)
        if self.decimal:
            text = _DECIMAL_COMMA.sub(".", text)
        return text

    def tokens(self, text: str) -> list[str]:
        """Return the syllables and numbers of the canonical form; punctuation is dropped.

        No rule looks across white space, so the form of each word is found once.
        """
        return list(chain.from_iterable(map(self._words.__getitem__, text.split())))

    @cached_property
    def _words(self) -> _Words:
        return _Words(self)

    def signature(self, tokens: str | None = "syllable") -> str:
        """Return the choices in sacrebleu's manner: ``case:lower|norm:nfc|tone:unified|...``, and what `tokens` are."""
        choices = {
            "case": "lower" if self.case else "mixed",
            "norm": "nfc" if self.unicode else "none",
            "tone": "unified" if self.tone else "asis",
            "dec": "point" if self.decimal else "asis",
            **({"tok": tokens} if tokens else {}),
        }
        return "|".join(f"{name}:{choice}" for name, choice in choices.items())


DEFAULT = Canonical()


@lru_cache(maxsize=4096)
def _fold_cached(text: str) -> str:
    return DEFAULT(text)


def fold(text: str) -> str:
    """Return the default canonical form (for comparing words, not for showing them)."""
    return DEFAULT(text) if len(text) > 200 else _fold_cached(text)


def bare(text: str) -> str:
    """Return `text` in lowercase ASCII letters and digits only: what is left of a heading however it is typed.

    >>> bare("Ổ bụng - khung chậu:")
    'o bung khung chau'
    """
    return _bare(text) if len(text) > _LONGEST_KEPT else _bare_cached(text)


def _bare(text: str) -> str:
    letters = unicodedata.normalize("NFD", compose(text).lower().replace("đ", "d"))
    return " ".join(re.findall(r"[a-z0-9]+", "".join(c for c in letters if not unicodedata.combining(c))))


# Reports of one hospital have the same headings.
_bare_cached = lru_cache(maxsize=4096)(_bare)
