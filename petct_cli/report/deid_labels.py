"""What labels give away: ``Mã BN``, telephone numbers, addresses (names: `deid_titles`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from petct_cli.report.deid_marks import ADDRESS, CAPITAL, NUMBER, PHONE, SMALL, Change
from petct_cli.report.deid_words import words

_SOMEBODY = r"(?:bệnh\s+nhân|người\s+bệnh|BN)"
_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 9, 12


_SENTENCE = re.compile(rf"(?<=\s)([{CAPITAL}][{SMALL}]+)[ \t]+([{SMALL}]+)")


class _Rule(NamedTuple):
    """What a pattern finds in its group ``v``, and what is written there instead."""

    pattern: re.Pattern[str]
    mark: str
    kind: str


def _rule(pattern: str, mark: str, kind: str, flags: re.RegexFlag = re.IGNORECASE) -> _Rule:
    return _Rule(re.compile(pattern, flags), mark, kind)


_RULES = (
    _rule(
        rf"(?<!\w)(?:mã\s+(?:số\s+)?(?:{_SOMEBODY}|hồ\s+sơ|y\s+tế|bệnh\s+án|định\s+danh|thẻ(?:\s+BHYT)?|ca|phiếu|lần\s+khám|KCB|khám\s+(?:chữa\s+)?bệnh|điều\s+trị|lưu\s+trữ|vạch)|"
        rf"(?:số\s+)?(?:thẻ\s+)?bảo\s+hiểm(?:\s+y\s+tế)?|(?:số\s+)?(?:thẻ\s+)?căn\s+cước(?:\s+công\s+dân)?|(?:giấy\s+)?chứng\s+minh(?:\s+(?:nhân\s+dân|thư))?|"
        rf"số\s+(?:phiếu|hồ\s+sơ|bệnh\s+án|BA|lưu\s+trữ|vào\s+viện|nhập\s+viện|ra\s+viện|khám|đăng\s+ký|CCCD|CMND|CMTND|CMT|thẻ|định\s+danh|(?:thẻ\s+)?BHYT|{_SOMEBODY})|"
        r"SBA|SHS|SVV|CCCD|CMND|CMTND|CMT|BHYT|hộ\s+chiếu|passport|PID|MRN|barcode|accession(?:\s+number)?|ID|mã)"
        r"\s*(?:số|no\.?)?\s*[:.#(]?\s*"
        r"(?P<v>(?=[\w\-./]*\d)[A-Z\d][\w\-/]{3,}(?:\.\d+)*(?:[ .\-]\d{2,})*"
        r"|[A-Z]{0,2} ?\d{1,4}(?:[ .\-]\d{1,10}){2,6})"
        r"(?![\w])",
        NUMBER,
        "id",
    ),
    # A card of health insurance, and a number of so many digits, need no label.
    _rule(r"(?<![\w.,/+\-])(?P<v>[A-Z]{2}[ .\-]?\d(?:[ .\-]?\d){12})(?![\w]|[.,]\d)", NUMBER, "id"),
    _rule(r"(?<![\w.,/+\-])(?P<v>(?-i:BN|HS|PID|MS)[ .\-]?\d{4,12})(?![\w]|[.,]\d)", NUMBER, "id"),
    _rule(
        r"(?<!\w)(?:địa\s+chỉ|đ/c|đc|nơi\s+ở|thường\s+trú|tạm\s+trú|quê\s+quán|chỗ\s+ở|hộ\s+khẩu|nguyên\s+quán|nơi\s+cư\s+trú|address)"
        rf"(?:\s+(?:{_SOMEBODY}|hiện\s+tại|liên\s+hệ|thường\s+trú)){{0,2}}\s*[:\-]\s*"
        r"(?P<v>(?:[^\n;.]|\.(?=\S)|(?<=\b[TPQHX])\.|(?<=\bTP)\.|(?<=\bTX)\.|(?<=\bTT)\.){3,160})",
        ADDRESS,
        "address",
    ),
    _rule(
        r"(?<![\w,.])(?P<v>(?:số\s+(?:nhà\s+)?)?\d{1,4}[A-Z]?(?:/\d{1,4})*,?\s+"
        rf"(?:(?:đường|phố)\s+(?-i:[{CAPITAL}])|(?:ngõ|ngách|hẻm|thôn|ấp|tổ)\s+(?-i:[{CAPITAL}\d]))[^\n;.()]{{1,120}})",
        ADDRESS,
        "address",
    ),
    _rule(
        r"(?<!\w)(?:ngụ|cư\s+trú|tạm\s+trú|thường\s+trú)\s+(?:tại|ở)\s+(?P<v>[^\n;.()]{3,120})",
        ADDRESS,
        "address",
    ),
    _rule(
        r"(?<!\w)(?:SĐT|ĐT|DĐ|số\s+(?:điện\s+thoại|ĐT|máy)|điện\s+thoại|di\s+động|tel|phone|mobile|hotline|zalo|liên\s+hệ|gọi(?:\s+số)?)"
        rf"(?:\s+{_SOMEBODY})?\s*[:.]?\s*(?P<v>\+?[\d(][\d .()\-+]{{6,18}}\d)",
        PHONE,
        "phone",
    ),
    _rule(
        r"(?<![\w.,/+])(?P<v>(?:\(?\+84\)?|\(?0084\)?|\(?0\d{1,3}\)?|84(?=[35789]\d{8}(?!\d)))"
        r"(?:[ .\-]{0,2}(?:\(0\) ?)?\d{1,9}){1,5})(?![\w/%])",
        PHONE,
        "bare_phone",
    ),
    _rule(r"(?<![\w.,/+\-])(?P<v>0\d{11})(?![\w/]|[.,]\d)", NUMBER, "id"),
    _rule(r"(?<![\w.,/+\-])(?P<v>\d{8,16})(?![\w/]|[.,]\d)", NUMBER, "id"),
    _rule(r"(?P<v>[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)", PHONE, "email"),
)


def labelled(text: str) -> Iterable[Change]:
    """Yield what labels say is a number of the patient, a telephone number or an address."""
    for pattern, mark, kind in _RULES:
        for match in pattern.finditer(text):
            start, end = match.span("v")
            value = text[start:end].rstrip()
            if kind == "address":
                value = _before_sentence(value)
            if kind == "bare_phone":
                digits = sum(character.isdigit() for character in value)
                if not _MIN_PHONE_DIGITS <= digits <= _MAX_PHONE_DIGITS:
                    continue
            yield Change(start, start + len(value), mark, kind.removeprefix("bare_"))


def _before_sentence(value: str) -> str:
    """Return an address without the sentence that follows it when the full stop is forgotten."""
    for match in _SENTENCE.finditer(value):
        if match.start() > 0 and (match[1].casefold(), match[2]) in words().follow:
            return value[: match.start()].rstrip()
    return value
