"""What de-identification of reports writes in place of what it takes out, and what a name looks like."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE = "[TÊN]", "[MÃ SỐ]", "[ĐIỆN THOẠI]", "[ĐỊA CHỈ]", "[NGÀY]", "[CƠ SỞ]"
MARKS = frozenset({NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE})

CAPITAL = "A-ZÀÁẢÃẠĂẰẮẲẴẶÂẦẤẨẪẬÈÉẺẼẸÊỀẾỂỄỆÌÍỈĨỊÒÓỎÕỌÔỒỐỔỖỘƠỜỚỞỠỢÙÚỦŨỤƯỪỨỬỮỰỲÝỶỸỴĐ"
SMALL = "a-zàáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ"
NAME_WORD = rf"[{CAPITAL}](?:[{SMALL}]{{0,6}}|[{CAPITAL}]{{1,6}})(?![{CAPITAL}{SMALL}\d/])"
# After a title or label a name may be foreign: Schwarzenegger, O'Neil, Lê-Hoàng.
TITLED_WORD = rf"[{CAPITAL}][{CAPITAL}{SMALL}'’\-]{{0,19}}(?![{CAPITAL}{SMALL}\d/])"
TITLED_RUN = rf"{TITLED_WORD}(?:[ \t]+{TITLED_WORD}){{0,5}}"
NAME_RUN = rf"{NAME_WORD}(?:[ \t]+{NAME_WORD}){{0,5}}"
DEGREE = r"(?:BS|Bs|ThS|Ths|ThS|TS|PGS|GS|CK\s?I{1,2}|CK\s?[12]|BSCK\s?(?:I{1,2}|[12])|BSNT|KTV|ĐD|CN|DS|Dr|Prof)"


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
