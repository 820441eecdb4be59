"""Names that titles, labels and kinship give away: ``Họ tên:``, ``BS.``, ``Ông``, ``con gái là``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from petct_cli.report.deid_marks import CAPITAL, DEGREE, LETTER, NAME, NAME_WORD, SMALL, Change
from petct_cli.report.deid_names import MAX_WORDS, Word, small_name
from petct_cli.report.deid_words import is_medical, words

_SOMEBODY = r"(?:bệnh\s+nhân|người\s+bệnh|BN)"
_KIN = (
    r"(?:vợ|chồng|con|mẹ|bố|ba|má|cha|anh|chị|em|cháu|cô|chú|bác|cậu|dì|ông|bà)"
    r"(?:\s+(?:trai|gái|dâu|rể|ruột|nội|ngoại|đẻ|họ|nuôi|út|cả)){0,2}"
)
_PEOPLE = (
    r"(?:bác\s+(?:sĩ|sỹ)|y\s+(?:tá|sĩ|sỹ)|điều\s+dưỡng|(?:kỹ|kĩ)\s+thuật\s+viên|(?:phó\s+)?trưởng\s+khoa|phó\s+khoa|phó\s+(?:giáo\s+sư|giám\s+đốc)|giám\s+đốc|"
    r"giáo\s+sư|tiến\s+(?:sĩ|sỹ)|thạc\s+(?:sĩ|sỹ)|cử\s+nhân|dược\s+(?:sĩ|sỹ)|phẫu\s+thuật\s+viên|thủ\s+thuật\s+viên|kíp\s+\w+)"
)
_DEGREES = rf"(?:{DEGREE}|(?i:bs|ths|pgs|ktv|đd|bsnt|bsck\s?(?:i{{1,2}}|[12])|cki{{1,2}}))"
# A label ends in a colon; what follows it is a name however it is written.
_LABEL = re.compile(
    rf"(?<!\w)(?:họ\s*(?:,|và|&)?\s*tên(?:\s+{_SOMEBODY})?|tên(?:\s+(?:{_SOMEBODY}|đầy\s+đủ|khách\s+hàng|tôi))?|patient(?:'s)?(?:\s+name)?|full\s+name|"
    rf"{_SOMEBODY}|khách\s+hàng|thân\s+nhân|người\s+\w+(?:\s+\w+){{0,2}}|{_KIN}(?:\s+{_SOMEBODY})?|"
    rf"(?:{_PEOPLE}|bs|bsck\w*|ths|ktv|đd)(?:\s+\w+){{0,3}}|đọc\s+kết\s+quả|kính\s+gửi)\s*:\s*"
    rf"(?:(?:{_DEGREES}[.\s/]+)+)?",
    re.IGNORECASE,
)
# After a title a name has capitals, or begins with a family name.
_TITLE = re.compile(
    rf"(?<![\w])(?:(?:{_DEGREES}(?:[.\s/\-]*{_DEGREES})*|(?i:{_PEOPLE})(?:\s+(?:đọc|chỉ\s+định|điều\s+trị|thực\s+hiện)(?:\s+kết\s+quả)?)?)[.:\s]+"
    rf"|(?i:họ\s+(?:và\s+)?tên|tên\s+là|tên)(?:\s+(?i:{_SOMEBODY}))?\s*[:\-]?\s+"
    rf"|(?i:{_SOMEBODY}|cụ|bé|người\s+nhà|mr|mrs|ms|{_KIN})[.\s]+(?i:(?:nam|nữ|là|tên|tên\s+là|của)\s+)?)"
)
_SIGNED = re.compile(
    rf"(?<!\w)(?:(?i:{_PEOPLE})|(?i:người\s+\w+(?:\s+\w+){{0,2}})|(?i:bs|ktv))[^\n:.]{{0,30}}\n"
    rf"(?:[ \t]*\n|[ \t]*\([^)\n]{{2,40}}\)[ \t]*\n)*[ \t]*(?:{_DEGREES}[.\s/]+)*"
)
_RUN = re.compile(rf"{NAME_WORD}(?:(?:[ \t]{{1,3}}|-|[ \t]*\n[ \t]*){NAME_WORD}){{0,5}}")
_WORD = re.compile(NAME_WORD)
_INITIALS = re.compile(
    rf"(?:[{CAPITAL}][{SMALL}]?\.[ ]?){{1,4}}(?:{NAME_WORD}|[{CAPITAL}](?!\w))?\.?"
    rf"|{NAME_WORD}(?:[ ][{CAPITAL}]\.){{1,3}}(?:[ ]?{NAME_WORD})?"
)
_PATIENT = re.compile(_SOMEBODY, re.IGNORECASE)
_MIN_ABBREVIATION = 3
_SMALL_RUN = re.compile(rf"[{LETTER}'’]+(?:[ \t]+[{LETTER}'’]+)*")
# What may stand with a capital after "BN" and begins what is said of the patient; or ends a name under a label.
_NO_NAMES = frozenset(
    """bị biết chưa có còn đã đang đến đi điều được hiện không lên mới nhập nữ sau tại theo trong trước từ vào vẫn về
    với giới tuổi mã số sđt đt địa nghề chẩn ngày năm dân tên họ kết mô hình""".split()  # noqa: SIM905
)
_ENDS = frozenset("giới tuổi sinh mã số sđt đt địa nghề ngày năm dân nam nữ điện cccd cmnd bhyt đc".split())  # noqa: SIM905


def titled(text: str) -> Iterable[Change]:
    """Yield the names that stand after a label or a title."""
    for match in _LABEL.finditer(text):
        end = _capital_name(text, match.end()) or _any_name(text, match.end())
        if end > match.end():
            yield Change(match.end(), end, NAME, "name")
    for pattern in (_TITLE, _SIGNED):
        for match in pattern.finditer(text):
            patient = _PATIENT.search(match.group()) is not None
            end = _capital_name(text, match.end(), patient=patient) or small_name(text, match.end())
            if end > match.end():
                yield Change(match.end(), end, NAME, "name")


def _capital_name(text: str, start: int, *, patient: bool = False) -> int:
    """Return where a name in capitals (or initials) that starts at a place ends; 0 when none does."""
    initials = _INITIALS.match(text, start)
    letters = "" if initials is None else re.sub(r"[. ]", "", initials.group())
    if initials is not None and (len(letters) < _MIN_ABBREVIATION or not is_medical(letters)):
        return initials.end()
    match = _RUN.match(text, start)
    if match is None:
        return 0
    found: list[Word] = []
    for word in (Word(part.group(), part.start()) for part in _WORD.finditer(text, start, match.end())):
        if found and ("\n" in text[found[-1].end : word.start] and not _goes_on(found, word, text)):
            break
        found.append(word)
    known = words()
    size = min(len(found), MAX_WORDS + 1)
    first = found[0]
    surname = first.small in known.surnames or first.small in known.surnames_folded
    sure = surname and size > 1 and found[1].small in known.given
    lone = size == 1 and first.small in known.given and not patient
    if first.small in _NO_NAMES or (is_medical(" ".join(word.text for word in found)) and not (sure or lone)):
        return 0
    # "Bác sĩ chuyên khoa", "BN Chụp": words of reports only; "BS. Hoa" is none of them.
    likely = first.small in known.given and (size == 1 or any(word.small not in known.vocabulary for word in found))
    if not surname and first.small in known.vocabulary and not likely:
        return 0
    if size == 1 and _said(first, text):
        return 0
    while size > 1 and (
        _said(found[size - 1], text) or found[size - 1].small in _ENDS - known.given or _heading(found[size - 1])
    ):
        size -= 1
    return found[size - 1].end


def _heading(word: Word) -> bool:
    known = words()
    return word.small in known.vocabulary and word.small not in known.given and word.small not in known.surnames


def _goes_on(found: list[Word], word: Word, text: str) -> bool:
    known = words()
    if len(found) > 3 or _said(word, text) or text[word.end : word.end + 2].lstrip().startswith(":"):
        return False
    if (
        len(found) > 1
        and found[0].text != "Y"
        and found[-1].small not in ("thị", "văn")
        and found[0].small not in known.surnames
    ):
        return False
    return word.small in known.given or word.small not in known.vocabulary


def _said(word: Word, text: str) -> bool:
    """Say whether a capitalised word goes on as a sentence of a report: "Theo dõi", "Nam 60 tuổi"."""
    after = re.match(rf"[ \t]+([{SMALL}]+|\d)", text[word.end : word.end + 12])
    known = words()
    if after is None:
        return False
    following = after[1]
    if following.isdigit():
        return word.small in ("nam", "nữ")
    return (word.small, following) in known.follow or (_heading(word) and following in known.vocabulary)


def _any_name(text: str, start: int) -> int:
    """Return where a name in whatever letters ends after a label: before a word that begins another field."""
    known_end = small_name(text, start)
    if known_end > start:
        return known_end
    match = _SMALL_RUN.match(text, start)
    if match is None or match.group().split()[0].casefold() in _NO_NAMES or is_medical(match.group()):
        return start
    end = start
    known = words()
    parts = [(part.group().casefold(), start + part.end()) for part in re.finditer(r"\S+", match.group())][:MAX_WORDS]
    for word, place in parts:
        if word in _ENDS:
            break
        end = place
    taken = [word for word, place in parts if place <= end]
    # "người bệnh: đau ngực": words of reports only are no name.
    return start if all(word in known.vocabulary for word in taken) else end
