"""Text in the form that the vocabulary is written in, with the way back to the text that was given."""

from __future__ import annotations

import re
import unicodedata

from petct_cli.report.normalise import compose, unify_tone_marks

_UNEVEN = re.compile(r"(?:[^\S\r\n]|[\u00ad\u200b-\u200d\u2060\ufeff])+")
_NEEDS_EVENING = re.compile(r"[^\S\r\n ]|  |[\u00ad\u200b-\u200d\u2060\ufeff]")


def composed_with_offsets(text: str) -> tuple[str, list[int] | None]:
    r"""Return `text` composed and with single spaces, and for each of its characters the offset in `text`.

    Marks without width are left out, line breaks stay. No offsets (None) where they are the same.

    >>> composed_with_offsets("hạch\t  nách")
    ('hạch nách', [0, 1, 2, 3, 4, 7, 8, 9, 10, 11])
    """
    composed, offsets = _composed(text)
    if _NEEDS_EVENING.search(composed) is None:
        return composed, offsets
    pieces: list[str] = []
    kept: list[int] = []
    start = 0
    for match in _UNEVEN.finditer(composed):
        pieces.append(composed[start : match.start()])
        kept += range(start, match.start())
        if not match.group().strip("\u00ad\u200b\u200c\u200d\u2060\ufeff"):
            start = match.end()
            continue  # nothing to be seen between two letters
        pieces.append(" ")
        kept.append(match.start())
        start = match.end()
    pieces.append(composed[start:])
    kept += range(start, len(composed) + 1)
    return "".join(pieces), kept if offsets is None else [offsets[index] for index in kept]


def original(offsets: list[int] | None, index: int) -> int:
    """Return where `index` of the composed text lies in the text that was given."""
    return index if offsets is None else offsets[index]


def folded(composed: str) -> str:
    """Return `composed` in lowercase, its tone marks in one place, without changing its length."""
    lower = composed.lower()
    if len(lower) != len(composed):
        lower = "".join(low if len(low := char.lower()) == 1 else char for char in composed)
    return unify_tone_marks(lower)


def _composed(text: str) -> tuple[str, list[int] | None]:
    if unicodedata.is_normalized("NFC", text):
        composed = compose(text)
        if len(composed) == len(text):
            return composed, None
    pieces: list[str] = []
    offsets: list[int] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and unicodedata.combining(text[end]):
            continue
        piece = compose(text[start:end])
        pieces.append(piece)
        offsets += [start] * len(piece)
        start = end
    return "".join(pieces), [*offsets, len(text)]
