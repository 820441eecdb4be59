"""What labels give away: ``Họ tên:``, ``Mã BN``, ``BS.``, telephone numbers, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from petct_cli.report.deid_marks import ADDRESS, CAPITAL, DEGREE, NAME, NUMBER, PHONE, TITLED_RUN, Change
from petct_cli.report.deid_words import is_medical

_VALUE = r"(?P<v>[^\n,;.:()]{2,60})"
_SOMEBODY = r"(?:bệnh\s+nhân|người\s+bệnh|BN)"
# What may stand with a capital after "BN" and begins what is said of the patient.
_NO_NAMES = frozenset(
    {
        "bị",
        "biết",
        "chưa",
        "có",
        "còn",
        "đã",
        "đang",
        "đến",
        "đi",
        "điều",
        "được",
        "hiện",
        "không",
        "lên",
        "mới",
        "nhập",
        "nữ",
        "sau",
        "tại",
        "theo",
        "trong",
        "trước",
        "từ",
        "vào",
        "vẫn",
        "về",
        "với",
    }
)
_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 9, 12


class _Rule(NamedTuple):
    """What a pattern finds in its group ``v``, and what is written there instead."""

    pattern: re.Pattern[str]
    mark: str
    kind: str


def _rule(pattern: str, mark: str, kind: str, flags: re.RegexFlag = re.IGNORECASE) -> _Rule:
    return _Rule(re.compile(pattern, flags), mark, kind)


_RULES = (
    _rule(
        rf"(?<!\w)(?:mã\s+(?:số\s+)?(?:{_SOMEBODY}|hồ\s+sơ|y\s+tế|bệnh\s+án|định\s+danh|thẻ|ca|phiếu|lần\s+khám)|"
        rf"số\s+(?:phiếu|hồ\s+sơ|bệnh\s+án|BA|lưu\s+trữ|vào\s+viện|CCCD|CMND|CMT|thẻ|định\s+danh|(?:thẻ\s+)?BHYT|{_SOMEBODY})|"
        r"SBA|CCCD|CMND|CMT|BHYT|hộ\s+chiếu|passport|PID|MRN|accession(?:\s+number)?|ID)"
        r"\s*(?:số|no\.?)?\s*[:.#]?\s*"
        r"(?P<v>(?=[\w\-./]*\d)[A-Z\d][\w\-/]{3,}(?:\.\d+)*(?:[ .\-]\d{2,})*"
        r"|[A-Z]{0,2} ?\d{1,4}(?:[ .\-]\d{1,10}){2,6})"
        r"(?![\w])",
        NUMBER,
        "id",
    ),
    _rule(
        rf"(?<!\w)(?:họ\s+(?:và\s+|&\s*)?tên|tên\s+{_SOMEBODY}|patient(?:'s)?\s+name|full\s+name)\s*(?:{_SOMEBODY})?"
        rf"\s*[:\-]?\s*{_VALUE}",
        NAME,
        "name",
    ),
    _rule(rf"(?<!\w)(?:{_SOMEBODY}|người\s+nhà|thân\s+nhân)\s*:\s*{_VALUE}", NAME, "name"),
    _rule(
        r"(?<!\w)(?:địa\s+chỉ|đ/c|nơi\s+ở|thường\s+trú|tạm\s+trú|quê\s+quán|chỗ\s+ở|hộ\s+khẩu|address)"
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
        r"(?<!\w)(?:SĐT|ĐT|số\s+(?:điện\s+thoại|ĐT)|điện\s+thoại|di\s+động|tel|phone|mobile|hotline|zalo|liên\s+hệ)"
        rf"(?:\s+{_SOMEBODY})?\s*[:.]?\s*(?P<v>\+?[\d(][\d .()\-]{{6,16}}\d)",
        PHONE,
        "phone",
    ),
    _rule(
        r"(?<![\w.,/+(])(?P<v>(?:\(?\+84\)?|\(?0084\)?|\(?0\d{1,3}\)?|84(?=[35789]\d{8}(?!\d)))"
        r"(?:[ .\-]{0,2}(?:\(0\) ?)?\d{1,9}){1,5})(?![\w/%])",
        PHONE,
        "bare_phone",
    ),
    _rule(r"(?<![\w.,/+\-])(?P<v>0\d{11})(?![\w/]|[.,]\d)", NUMBER, "id"),
    _rule(r"(?P<v>[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)", PHONE, "email"),
    _rule(
        rf"(?<!\w)(?:{DEGREE}(?:[.\s/\-]*{DEGREE})*|(?i:bs(?:ck\s?(?:i{{1,2}}|[12])|nt)?|ths|ktv|đd|pgs)(?:\.(?:bs|ts|cki{{0,2}}))*|"
        r"(?i:bác\s+sĩ|bác\s+sỹ|điều\s+dưỡng|kỹ\s+thuật\s+viên)(?:\s+(?:đọc|chỉ\s+định|điều\s+trị|thực\s+hiện)(?:\s+kết\s+quả)?)?)"
        rf"[.:\s]+(?P<v>{TITLED_RUN})",
        NAME,
        "name",
        re.RegexFlag(0),
    ),
    _rule(
        r"(?<!\w)(?:(?i:bs|bác\s+sĩ|bác\s+sỹ|ktv)(?:\s+(?:đọc|chỉ\s+định|điều\s+trị|thực\s+hiện)(?:\s+kết\s+quả)?)?\s*:)"
        rf"\s*{_VALUE}",
        NAME,
        "name",
    ),
    _rule(
        r"(?<!\w)(?:[Ôô]ng|ÔNG|[Bb]à|BÀ|[Aa]nh|[Cc]hị|[Cc]ô|[Cc]hú|[Bb]ệnh\s+nhân|BỆNH\s+NHÂN|(?i:BN)|[Nn]gười\s+bệnh|Mr|Mrs|Ms)"
        rf"[.\s]+(?:(?:nam|nữ)\s+)?(?P<v>{TITLED_RUN})",
        NAME,
        "name",
        re.RegexFlag(0),
    ),
)


def labelled(text: str) -> Iterable[Change]:
    """Yield what labels say is a name, a number of the patient, a telephone number or an address."""
    for pattern, mark, kind in _RULES:
        for match in pattern.finditer(text):
            start, end = match.span("v")
            value = text[start:end].rstrip()
            if kind == "name" and (is_medical(value) or value.split()[0].casefold() in _NO_NAMES):
                continue
            if kind == "bare_phone":
                digits = sum(character.isdigit() for character in value)
                if not _MIN_PHONE_DIGITS <= digits <= _MAX_PHONE_DIGITS:
                    continue
            yield Change(start, start + len(value), mark, kind.removeprefix("bare_"))
