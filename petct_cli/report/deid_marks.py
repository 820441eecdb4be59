"""What de-identification of reports writes in place of what it takes out, and what a name looks like."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE = "[TÊN]", "[MÃ SỐ]", "[ĐIỆN THOẠI]", "[ĐỊA CHỈ]", "[NGÀY]", "[CƠ SỞ]"
MARKS = frozenset({NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE})

# Every Latin letter: Ayŭn and Êñuôl are names of Viet Nam too.
_LETTERS = [chr(code) for code in (*range(0x41, 0x250), *range(0x1E00, 0x1F00)) if chr(code).isalpha()]
CAPITAL = "".join(letter for letter in _LETTERS if letter.isupper())
SMALL = "".join(letter for letter in _LETTERS if letter.islower())
NAME_WORD = rf"[{CAPITAL}][{CAPITAL}{SMALL}'’]{{0,19}}(?![{CAPITAL}{SMALL}\d])"
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
