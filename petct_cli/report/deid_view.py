"""A plain view of report text to search in: letters composed, tones in one place, odd spaces plain.

Unseen characters are out. What is found in the view is replaced in the text itself: everything else keeps its bytes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

from petct_cli.core.lookalikes import LATIN_OF
from petct_cli.report.normalise import unify_tone_marks

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2212")


class View(NamedTuple):
    """Searchable text; `places`: where each of its characters begins in the original, and its end (None: the same)."""

    text: str
    places: list[int] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original text that a span of the view stands for."""
        return (start, end) if self.places is None else (self.places[start], self.places[end])


def view_of(text: str) -> View:
    """Return the view of a text.

    >>> view_of("Trâ\u0300n\u00a0An").text
    'Trần An'
    """
    plain = unicodedata.normalize("NFC", text)
    if len(plain) == len(text) and not any(_plain(character) != character for character in set(text)):
        return View(unify_tone_marks(plain), None)
    letters: list[str] = []
    places: list[int] = []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and (unicodedata.combining(text[end]) or unicodedata.category(text[end]) == "Cf"):
            end += 1
        cluster = "".join(_plain(character) for character in text[at:end])
        for letter in unicodedata.normalize("NFC", cluster):
            letters.append(letter)
            places.append(at)
        at = end
    return View(unify_tone_marks("".join(letters)), [*places, len(text)])


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character in LATIN_OF:
        return LATIN_OF[character]
    if character in _DASHES:
        return "-"
    kind = unicodedata.category(character)
    if kind == "Cf":
        return ""
    if kind == "Zs":
        return " "
    return unicodedata.normalize("NFKC", character) if "\uff00" <= character <= "\uffef" else character
