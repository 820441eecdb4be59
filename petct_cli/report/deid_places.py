"""Addresses and institutions in running text: administrative units, provinces at the end of a chain, hospitals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from petct_cli.report.deid_marks import ADDRESS, CAPITAL, LETTER, PLACE, Change
from petct_cli.report.deid_words import provinces, words

_PROPER = rf"(?-i:[{CAPITAL}])[{LETTER}'’]*"
_UNIT = (
    r"(?:tỉnh|thành\s+phố|tp\.?|quận|huyện|thị\s+xã|thị\s+trấn|phường|xã|thôn|xóm|ấp|bản|buôn|làng|khóm|khu\s+phố|tổ\s+dân\s+phố|"
    r"tổ|tdp|đường|phố|ngõ|ngách|hẻm|kiệt|khu\s+đô\s+thị|chung\s+cư|"
    r"(?-i:tinh|quan|huyen|thi\s+xa|thi\s+tran|phuong|xa|thon|xom|ap|to\s+dan\s+pho|To\s+dan\s+pho|duong|pho|ngo))"
)
_SHORT_UNIT = r"(?-i:TP|TX|TT|P|Q|H|X|T)\."
_NAMED = rf"(?:{_PROPER}(?:[ \t]+{_PROPER}){{0,4}}(?:[ \t]+\d{{1,3}}(?![\d.,%]))?|\d{{1,3}}[A-Z]?(?![\d.,%]))"
_PART = rf"(?:{_UNIT}[ \t]+{_NAMED}|{_SHORT_UNIT}[ \t]?{_NAMED})"
# A chain: units, then units or bare names after commas or dashes.
_NUMBERED = r"(?:(?:số|so)\s+(?:nhà\s+|nha\s+)?)?\d{1,4}[A-Z]?(?:/\d{1,4})*"
_CHAIN = re.compile(
    rf"(?<![\w/])(?:{_NUMBERED},?[ \t]+(?:{_PROPER}(?:[ \t]+{_PROPER}){{0,4}},[ \t]*)?)?"
    rf"{_PART}(?:[ \t]*[,\-–][ \t]*(?:{_PART}|{_PROPER}(?:[ \t]+{_PROPER}){{0,3}}))*",
    re.IGNORECASE,
)
# A house number and a street without the word: only with a place after it.
_HOUSE = re.compile(
    rf"(?<![\w,./]){_NUMBERED}[ \t]+{_PROPER}(?:[ \t]+{_PROPER}){{0,4}},[ \t]*"
    rf"(?=(?:{_PART}|{_PROPER}[ \t]+{_PROPER}))",
    re.IGNORECASE,
)
_BARE_CHAIN = re.compile(
    rf"(?<![\w/]){_PROPER}(?:[ \t]+{_PROPER}){{0,3}}(?:[ \t]*[,\-–][ \t]*{_PROPER}(?:[ \t]+{_PROPER}){{0,3}}){{1,3}}",
    re.IGNORECASE,
)
_LIVING = re.compile(
    r"(?<!\w)(?:(?:ngụ|cư\s+trú|tạm\s+trú|thường\s+trú|đến\s+từ|hộ\s+khẩu|quê)\s+(?:quán\s+)?(?:tại\s+|ở\s+)?|(?:trú|sống|nhà|bệnh\s+nhân|BN)\s+(?:tại|ở)\s+)"
    rf"(?P<v>{_PROPER}(?:[ \t]+{_PROPER}){{0,4}}|\d{{1,4}}[A-Z]?(?:/\d{{1,4}})*[ \t]+{_PROPER}[^\n;.()]{{0,100}})",
    re.IGNORECASE,
)
_HOSPITAL_WORDS = (
    r"đa\s+khoa|trung\s+ương|tỉnh|huyện|thành\s+phố|quận|cơ\s+sở|quốc\s+tế|hữu\s+nghị|quân\s+y|y\s+học\s+cổ\s+truyền|ung\s+(?:bướu|thư)|"
    r"phụ\s+sản|sản\s+nhi|nhi\s+đồng|nhi|tim\s+mạch|phổi|mắt|y\s+tế|lao|và|chuyên\s+khoa|điều\s+dưỡng|khu\s+vực|quốc\s+gia|y|dược|số"
)
_HOSPITAL = re.compile(
    r"(?<!\w)(?:bệnh\s+viện|(?-i:BV|BVĐK|BVTW|TTYT|PKĐK|TYT|Viện|VIỆN)|trung\s+tâm\s+(?:y\s+tế|y\s+khoa|chẩn\s+đoán|ung\s+bướu)|phòng\s+khám|"
    r"trạm\s+y\s+tế|đại\s+học)"
    rf"(?P<v>(?:[ \t]+(?:(?:{_HOSPITAL_WORDS})(?!\w)|{_PROPER}|\d{{1,4}}\w?(?![\w.,]\d)))+)",
    re.IGNORECASE,
)
_CAPITALISED = re.compile(rf"\b[{CAPITAL}]|\d")


@cache
def _province() -> re.Pattern[str]:
    names = "|".join(
        re.sub(r"[ \-]+", r"[ \\-]+", re.escape(name).replace(r"\ ", " ").replace(r"\-", "-")) for name in provinces()
    )
    return re.compile(rf"(?<![\w])(?:TP\.?[ \t]*)?(?:{names})(?![\w])", re.IGNORECASE)


def places(text: str) -> Iterable[Change]:
    """Yield addresses and institutions that are written without a label."""
    if not any(character.isupper() for character in text):
        return
    for match in _HOSPITAL.finditer(text):
        value = match["v"]
        if _CAPITALISED.search(value) and not _only_words(value):
            end = match.start("v") + len(value.rstrip())
            yield Change(match.start(), end, PLACE, "institution")
    for match in _CHAIN.finditer(text):
        yield Change(match.start(), match.end(), ADDRESS, "address")
    for pattern in (_BARE_CHAIN, _HOUSE):
        for match in pattern.finditer(text):
            ends = [found.end() for found in _province().finditer(text, match.start(), match.end() + 30)]
            if ends and _province().search(text, match.start() + 1):
                last = max(ends)
                if last > match.start() and ("," in match.group() or " - " in match.group()):
                    yield Change(
                        match.start(), max(last, match.end() if last > match.end() else last), ADDRESS, "address"
                    )
    for match in _LIVING.finditer(text):
        yield Change(*match.span("v"), ADDRESS, "address")


def _only_words(value: str) -> bool:
    """Say whether what follows "bệnh viện" is the next sentence: capitals of words of reports only."""
    capitals = [word for word in value.split() if word[:1].isupper()]
    known = words()
    return (
        not any(character.isdigit() for character in value)
        and all(
            word.casefold() in known.vocabulary and word.casefold() not in known.given and len(word) > 1
            for word in capitals
        )
        and not any(word.casefold() in ("quốc", "trung", "ung", "đa") for word in capitals)
    )
