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
from functools import lru_cache

TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+")
"""A number with its decimals, or a run of letters: in Vietnamese, one syllable."""

_TONES = "\u0300\u0309\u0303\u0301\u0323"  # huyền, hỏi, ngã, sắc, nặng
_GLIDES = (("o", "a"), ("o", "e"), ("u", "y"))
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
# Letters that legacy encodings put in place of Vietnamese ones: Icelandic eth for d with stroke.
_LOOKALIKES = str.maketrans({"ð": "đ", "Ð": "Đ", "\u200b": None, "\u200c": None, "\u200d": None, "\ufeff": None})

_ANY_LOOKALIKE = re.compile("[" + "".join(map(chr, _LOOKALIKES)) + "]")


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


# "quý" has its u in the consonant: there the tone belongs on the y in both habits.
def _any_of(pairs: Iterable[str]) -> str:
    """Return a pattern of two-letter strings in classes of letters, which is searched much faster than a list."""
    seconds: dict[str, set[str]] = {}
    for pair in pairs:
        seconds.setdefault(pair[0], set()).add(pair[1])
    firsts: dict[str, str] = {}
    for first, found in seconds.items():
        firsts["".join(sorted(found))] = firsts.get("".join(sorted(found)), "") + first
    return "(?:" + "|".join(f"[{before}][{after}]" for after, before in firsts.items()) + ")"


_OPEN = re.compile(rf"(?<![qQ]){_any_of(_TO_FIRST)}(?!\w)")
_CLOSED = re.compile(rf"{_any_of(_TO_SECOND)}(?=[^\W\d_])|(?<=[qQ]){_any_of(_TO_SECOND)}")


def unify_tone_marks(text: str) -> str:
    """Put the tone mark of ``oa``, ``oe``, ``uy`` in one place: ``hoá`` -> ``hóa``, ``hóan`` -> ``hoán``.

    `text` is in NFC; its length does not change.
    """
    text = _OPEN.sub(lambda match: _TO_FIRST[match.group()], text)
    return _CLOSED.sub(lambda match: _TO_SECOND[match.group()], text)


def compose(text: str) -> str:
    """Return `text` with letters composed (NFC), look-alikes replaced and zero-width characters removed."""
    text = unicodedata.normalize("NFC", text)
    return text.translate(_LOOKALIKES) if _ANY_LOOKALIKE.search(text) else text


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
        """Return the syllables and numbers of the canonical form; punctuation is dropped."""
        return TOKEN.findall(self(text))

    def signature(self) -> str:
        """Return the choices in sacrebleu's manner: ``case:lower|norm:nfc|tone:unified|...``."""
        choices = {
            "case": "lower" if self.case else "mixed",
            "norm": "nfc" if self.unicode else "none",
            "tone": "unified" if self.tone else "asis",
            "dec": "point" if self.decimal else "asis",
            "tok": "syllable",
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
    letters = unicodedata.normalize("NFD", compose(text).lower().replace("đ", "d"))
    return " ".join(re.findall(r"[a-z0-9]+", "".join(c for c in letters if not unicodedata.combining(c))))
