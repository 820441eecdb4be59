"""Text as it is compared: without case, marks, and the differences that only a computer sees."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from petct_cli.core.lookalikes import FOLDED_LATIN_OF


def fold(text: str) -> tuple[str, list[int] | None]:
    """Return `text` without case and marks, and for each folded character its place in `text` (None: the same).

    >>> fold("Đỗ Thị Hà")[0]
    'do thi ha'
    """
    if text.isascii():
        return text.lower(), None
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for letter in _fold_character(character):
            letters.append(letter)
            places.append(place)
    return "".join(letters), places


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character in "đĐðÐ":
        return "d"
    if unicodedata.category(character) == "Cf":
        # Zero-width spaces and soft hyphens are not seen, and so hide nothing.
        return ""
    parts = unicodedata.normalize("NFKD", character)
    bare = (part for part in parts if not unicodedata.combining(part))
    return "".join(FOLDED_LATIN_OF.get(part, part) for part in bare).casefold()
