"""What de-identification of reports writes in place of what it takes out, and what a name looks like."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE = "[TÊN]", "[MÃ SỐ]", "[ĐIỆN THOẠI]", "[ĐỊA CHỈ]", "[NGÀY]", "[CƠ SỞ]"
MARKS = frozenset({NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE})

# Every Latin letter: Ayŭn and Êñuôl are names of Viet Nam too.
_LETTERS = [chr(code) for code in (*range(0x41, 0x250), *range(0x1E00, 0x1F00)) if chr(code).isalpha()]


def _ranges(letters: Iterable[str]) -> str:
    """Return letters in order as what stands inside of ``[...]``: ranges, which compile much faster than a list."""
    found: list[list[str]] = []
    for letter in letters:
        if found and ord(letter) == ord(found[-1][1]) + 1:
            found[-1][1] = letter
        else:
            found.append([letter, letter])
    return "".join(first if first == last else f"{first}-{last}" for first, last in found)


CAPITAL = _ranges(letter for letter in _LETTERS if letter.isupper())
SMALL = _ranges(letter for letter in _LETTERS if letter.islower())
LETTER = _ranges(letter for letter in _LETTERS if letter.isupper() or letter.islower())
"""Both of them."""
NAME_WORD = rf"[{CAPITAL}][{LETTER}'’]{{0,19}}(?![{LETTER}\d])"
DEGREE = r"(?:BS|Bs|ThS|Ths|TS|PGS|GS|CK\s?I{1,2}|CK\s?[12]|BSCK\s?(?:I{1,2}|[12])|BSNT|KTV|ĐD|CN|DS|Dr|Prof)"


class Change(NamedTuple):
    """One replaced stretch of text and why."""

    start: int
    end: int
    text: str
    kind: str


def fold(text: str) -> str:
    """Return `text` without marks and case."""
    parts = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(part for part in parts if not unicodedata.combining(part)).casefold()
