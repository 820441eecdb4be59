"""De-identification of Vietnamese report text: what names a person goes, dates move, everything else keeps its bytes.

In this order: dates are moved by the patient's offset; the study's own identifiers are found by the hit rule; labels
(``Họ tên:``, ``Mã BN``, ``BS.`` ...) give away what follows them; family names with capitalised words after them are
names unless a medical phrase says otherwise. What looks like a name and is none of these is counted for review.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

MAX_AGE = 90
NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE = "[TÊN]", "[MÃ SỐ]", "[ĐIỆN THOẠI]", "[ĐỊA CHỈ]", "[NGÀY]", "[CƠ SỞ]"
_MARK_OF_KIND = {"name": NAME, "phone": PHONE, "addresse": ADDRESS, "date": DATE, "institution": PLACE}

_MARKS = frozenset({NAME, NUMBER, PHONE, ADDRESS, DATE, PLACE})

FindKnown = Callable[[str], Sequence[tuple[int, int, str]]]


class Change(NamedTuple):
    """One replaced stretch of text and why."""

    start: int
    end: int
    text: str
    kind: str


@dataclass(frozen=True)
class Cleaned:
    """Text without identifiers.

    Attributes
    ----------
    counts
        Replacements by kind.
    written
        Stretches of `text` that were written here: no leak, whatever they look like.
    doubtful
        (start, end) in `text` of capitalised words that a person should look at.
    """

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    written: tuple[tuple[int, int], ...] = ()
    doubtful: tuple[tuple[int, int], ...] = ()

    @property
    def unwritten(self) -> str:
        """`text` with what was written here blanked out: what a search for left identifiers has to read."""
        letters = list(self.text)
        for start, end in self.written:
            letters[start:end] = "\n" * (end - start)
        return "".join(letters)


def clean_text(text: str, find_known: FindKnown, days: int | None) -> Cleaned:
    """Take identifiers out of `text`.

    Parameters
    ----------
    find_known
        Finds the study's own values: (start, end, kind) with kinds such as name, id, phone, date.
    days
        The patient's day offset; None leaves dates as they are.

    Returns
    -------
    Cleaned
        The same text, byte for byte, where nothing had to change.
    """
    composed = unicodedata.normalize("NFC", text)
    changes: list[Change] = []
    for rule in (_dates(composed, days), _known(composed, find_known, days), _labels(composed), _names(composed)):
        _take(changes, rule)
    if not changes:
        return Cleaned(text, doubtful=_doubtful(text, ()))
    changes.sort()
    parts: list[str] = []
    written: list[tuple[int, int]] = []
    at = length = 0
    for change in changes:
        parts += [composed[at : change.start], change.text]
        length += change.start - at
        written.append((length, length + len(change.text)))
        length += len(change.text)
        at = change.end
    parts.append(composed[at:])
    new = "".join(parts)
    counts = Counter(change.kind for change in changes)
    return Cleaned(new, dict(sorted(counts.items())), tuple(written), _doubtful(new, written))


def without_marks(cleaned: Cleaned) -> str:
    """Return cleaned text with nothing where reports have a mark such as ``[TÊN]``: headers have no room for marks."""
    text = cleaned.text
    for start, end in reversed(cleaned.written):
        if text[start:end] in _MARKS:
            text = text[:start] + text[end:]
    return " ".join(text.split()) if cleaned.counts else text


def clean_sections(
    sections: Mapping[str, str], find_known: FindKnown, days: int | None
) -> tuple[dict[str, Cleaned], Counter[str]]:
    """Clean every section; return them by name and the replacements of all by kind."""
    cleaned = {name: clean_text(text, find_known, days) for name, text in sections.items()}
    total: Counter[str] = Counter()
    for section in cleaned.values():
        total.update(section.counts)
    return cleaned, total


def report_file(sections: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON of a clean report, in the layout of the ViMed-PET release and with nothing else."""
    titles = {
        "head_neck": "Đầu - cổ",
        "chest": "Lồng ngực",
        "abdomen_pelvis": "Ổ bụng - khung chậu",
        "musculoskeletal": "Hệ cơ - xương",
    }
    document: dict[str, Any] = {}
    for name, title in (("indication", "Chỉ định"), ("history", "Tiền sử"), ("impression", "Nhận định kết quả")):
        if name in sections:
            document[title] = sections[name]
    regions = {title: sections[name] for name, title in titles.items() if name in sections}
    if regions:
        document["Mô tả hình ảnh"] = regions
    elif "findings" in sections:
        document["Mô tả hình ảnh"] = sections["findings"]
    return document


def _take(changes: list[Change], more: Iterable[Change]) -> None:
    """Add the changes that do not overlap an earlier one; two views of one name are joined."""
    for change in more:
        if change.end <= change.start:
            continue
        met = [other for other in changes if change.start < other.end and other.start < change.end]
        if not met:
            changes.append(change)
        elif change.kind == "name" and all(other.kind == "name" for other in met):
            start, end = min(o.start for o in (change, *met)), max(o.end for o in (change, *met))
            changes[:] = [other for other in changes if other not in met]
            changes.append(Change(start, end, NAME, "name"))


# Dates. A year is needed; day and month without one are moved only where the label says that they are a date.
_YEAR = r"(?P<y>(?:19|20)\d{2})"
_FULL_DATE = re.compile(
    r"(?<![\d/.,])(?:"
    rf"(?P<d>\d{{1,2}})(?P<s>[/.\-])(?P<m>\d{{1,2}})(?P=s){_YEAR}"
    r"|(?P<y2>(?:19|20)\d{2})(?P<s2>[/.\-])(?P<m2>\d{1,2})(?P=s2)(?P<d2>\d{1,2})"
    r"|(?P<d3>\d{1,2})\s+tháng\s+(?P<m3>\d{1,2})\s+năm\s+(?P<y3>(?:19|20)\d{2})"
    r")(?![\d/])",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(
    rf"(?<![\d/.,])(?:(?P<m>0?[1-9]|1[0-2])(?P<s>[/\-]){_YEAR}|tháng\s+(?P<m2>\d{{1,2}})\s*(?:năm\s+|[/\-])(?P<y2>(?:19|20)\d{{2}}))"
    r"(?![\d/])",
    re.IGNORECASE,
)
_BARE_YEAR = re.compile(rf"\bnăm\s+{_YEAR}(?!\d)", re.IGNORECASE)
_SHORT_DATE = re.compile(
    r"\bngày\s+(?P<d>\d{1,2})\s*[/.\-]\s*(?P<m>\d{1,2})(?:\s*[/.\-]\s*(?P<y>\d{2}))?(?![\d/])", re.IGNORECASE
)
_BIRTH = re.compile(
    r"\b(?:năm\s+sinh|sinh\s+năm|ngày\s+sinh|sinh\s+ngày|ns)\s*[:.]?\s*(?P<v>\d[\d/.\-]{2,8}\d)", re.IGNORECASE
)
_AGE = re.compile(r"(?:\btuổi\s*[:.]?\s*(?P<a>\d{2,3})|(?<!\d)(?P<b>\d{2,3})\s*(?:tuổi|T)\b)(?![\d/])", re.IGNORECASE)


def _dates(text: str, days: int | None) -> Iterable[Change]:
    for match in _BIRTH.finditer(text):
        yield Change(*match.span("v"), DATE, "birth")
    for match in _AGE.finditer(text):
        group = "a" if match.group("a") else "b"
        if int(match.group(group)) >= MAX_AGE:
            yield Change(*match.span(group), str(MAX_AGE), "age")
    if days is None:
        return
    for match in _FULL_DATE.finditer(text):
        yield _moved(
            match, ("d", "m", "y") if match["y"] else ("d2", "m2", "y2") if match["y2"] else ("d3", "m3", "y3"), days
        )
    for match in _MONTH_YEAR.finditer(text):
        yield _moved(match, ("", "m", "y") if match["y"] else ("", "m2", "y2"), days)
    for match in _BARE_YEAR.finditer(text):
        yield _moved(match, ("", "", "y"), days)
    for match in _SHORT_DATE.finditer(text):
        if match["y"]:
            yield _moved(match, ("d", "m", "y"), days, century=2000)
        else:
            yield Change(match.start("d"), match.end(), DATE, "date")


def _moved(match: re.Match[str], names: tuple[str, str, str], days: int, century: int = 0) -> Change:
    """Return the change that writes a date anew in the form and precision it had; an impossible one is taken out."""
    day, month, year = (match.group(name) if name else None for name in names)
    try:
        then = date(int(year or 0) + century, int(month or 1), int(day or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return Change(match.start(), match.end(), DATE, "date")
    new = match.group()
    pieces = []
    for name, value in zip(names, (then.day, then.month, then.year - century), strict=True):
        if name:
            start, end = match.span(name)
            pieces.append(
                (start - match.start(), end - match.start(), f"{value:0{end - start if end - start > 1 else 1}d}")
            )
    for start, end, digits in sorted(pieces, reverse=True):
        new = new[:start] + digits + new[end:]
    return Change(match.start(), match.end(), new, "date")


def _known(text: str, find_known: FindKnown, days: int | None) -> Iterable[Change]:
    for start, end, kind in find_known(text):
        if kind != "date" or days is not None:
            yield Change(start, end, _MARK_OF_KIND.get(kind, NUMBER), kind)


_CAPITAL = "A-ZÀÁẢÃẠĂẰẮẲẴẶÂẦẤẨẪẬÈÉẺẼẸÊỀẾỂỄỆÌÍỈĨỊÒÓỎÕỌÔỒỐỔỖỘƠỜỚỞỠỢÙÚỦŨỤƯỪỨỬỮỰỲÝỶỸỴĐ"
_SMALL = "a-zàáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ"
_NAME_WORD = rf"[{_CAPITAL}](?:[{_SMALL}]{{0,6}}|[{_CAPITAL}]{{1,6}})(?![{_CAPITAL}{_SMALL}\d/])"
_NAME_RUN = rf"{_NAME_WORD}(?:[ \t]+{_NAME_WORD}){{0,5}}"
_DEGREE = r"(?:BS|Bs|ThS|Ths|ThS|TS|PGS|GS|CK\s?I{1,2}|CK\s?[12]|BSCK\s?(?:I{1,2}|[12])|BSNT|KTV|ĐD|CN|DS|Dr|Prof)"
_VALUE = r"(?P<v>[^\n,;.:()]{2,60})"
_LABELS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, flags), mark, kind)
    for pattern, flags, mark, kind in (
        (
            r"\b(?:mã\s+(?:số\s+)?(?:BN|bệnh\s+nhân|người\s+bệnh|hồ\s+sơ|y\s+tế|bệnh\s+án)|"
            r"số\s+(?:phiếu|hồ\s+sơ|bệnh\s+án|lưu\s+trữ|vào\s+viện|CCCD|CMND|CMT|(?:thẻ\s+)?BHYT|BN)|CCCD|CMND|BHYT|PID|MRN|"
            r"accession(?:\s+number)?|ID)\s*(?:số)?\s*[:.#]?\s*(?P<v>(?=[\w\-./]*\d)[A-Z\d][\w\-/]{3,}(?:\.\d+)*)",
            re.I,
            NUMBER,
            "id",
        ),
        (
            rf"\b(?:họ\s+(?:và\s+)?tên|tên\s+(?:bệnh\s+nhân|bn|người\s+bệnh))\s*(?:BN)?\s*[:\-]?\s*{_VALUE}",
            re.I,
            NAME,
            "name",
        ),
        (rf"\b(?:bệnh\s+nhân|người\s+bệnh|BN|người\s+nhà)\s*:\s*{_VALUE}", re.I, NAME, "name"),
        (
            r"\b(?:địa\s+chỉ|đ/c|nơi\s+ở|thường\s+trú|quê\s+quán|chỗ\s+ở)\s*[:\-]\s*(?P<v>[^\n;.]{3,120})",
            re.I,
            ADDRESS,
            "address",
        ),
        (
            r"\b(?:SĐT|ĐT|số\s+điện\s+thoại|điện\s+thoại|tel|phone|hotline|zalo)\s*[:.]?\s*"
            r"(?P<v>\+?[\d(][\d .()\-]{6,16}\d)",
            re.I,
            PHONE,
            "phone",
        ),
        (r"(?<![\w.,/+])(?P<v>(?:\+84|0)\d{2,3}[ .\-]?\d{3}[ .\-]?\d{3,4})(?![\w/])", 0, PHONE, "phone"),
        (r"(?P<v>[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)", 0, PHONE, "email"),
        (
            rf"(?<![\w])(?:{_DEGREE}(?:[.\s/\-]*{_DEGREE})*|[Bb]ác\s+[Ss]ĩ|[Đđ]iều\s+dưỡng|[Kk]ỹ\s+thuật\s+viên)[.:\s]+(?P<v>{_NAME_RUN})",
            0,
            NAME,
            "name",
        ),
        (
            rf"(?<![\w])(?:[Ôô]ng|[Bb]à|[Aa]nh|[Cc]hị|[Cc]ô|[Cc]hú|[Bb]ệnh\s+nhân|BN|[Nn]gười\s+bệnh|Mr|Mrs|Ms)[.\s]+(?P<v>{_NAME_RUN})",
            0,
            NAME,
            "name",
        ),
    )
)


def _labels(text: str) -> Iterable[Change]:
    for pattern, mark, kind in _LABELS:
        for match in pattern.finditer(text):
            start, end = match.span("v")
            value = text[start:end].rstrip()
            if kind != "name" or not _is_medical(value):
                yield Change(start, start + len(value), mark, kind)


@cache
def _word_lists() -> tuple[dict[str, bool], frozenset[str], frozenset[str], frozenset[tuple[str, str]]]:
    """Return family names (True: also a word), those that are safe without marks, medical phrases, harmless pairs."""
    folder = files("petct_cli.report") / "data"
    surnames: dict[str, bool] = {}
    for line in (folder / "surnames_vi.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            surnames[line.rstrip(" !").casefold()] = line.endswith("!")
    allowed, pairs = set(), set()
    for line in (folder / "medical_allow_vi.txt").read_text("utf-8").splitlines():
        if line.startswith("~"):
            left, right = line[1:].split()
            pairs.add((left, right))
        elif line and not line.startswith("#"):
            allowed.add(_fold(line))
    plain = frozenset(_fold(name) for name, is_word in surnames.items() if not is_word)
    return surnames, plain, frozenset(allowed), frozenset(pairs)


def harmless_pairs() -> frozenset[tuple[str, str]]:
    """Return folded pairs of words that are medical terms when written small, although a name could hold them."""
    return _word_lists()[3]


def _fold(text: str) -> str:
    parts = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(part for part in parts if not unicodedata.combining(part)).casefold()


def _is_medical(words: str) -> bool:
    """Say whether a run of capitalised words begins with a medical phrase."""
    allowed = _word_lists()[2]
    tokens = _fold(words).split()
    return any(" ".join(tokens[:size]) in allowed for size in range(min(4, len(tokens)), 0, -1))


_RUN = re.compile(rf"(?<![\w/]){_NAME_WORD}(?:[ \t]+{_NAME_WORD}){{1,5}}")


def _names(text: str) -> Iterable[Change]:
    surnames, plain, _, _ = _word_lists()
    for match in _RUN.finditer(text):
        words = [(found.group(), found.start()) for found in re.finditer(r"\S+", match.group())]
        for index, (word, offset) in enumerate(words[:-1]):
            following = len(words) - index - 1
            folded = word.casefold()
            is_word = surnames.get(folded)
            # In capitals a heading looks like a name ("HỒ SƠ"): a name that is also a word then needs two more.
            known = is_word is not None and following >= (2 if is_word and match.group().isupper() else 1)
            if not known and word.isascii():
                known = folded in plain and following >= 1
            run = match.group()[offset:]
            if known and not _is_medical(run):
                # At most five words: a family name, its middle names and a given name.
                last = words[min(index + 4, len(words) - 1)]
                yield Change(match.start() + offset, match.start() + last[1] + len(last[0]), NAME, "name")
                break


_CAPITALISED_PAIR = re.compile(rf"(?<=[{_SMALL},] )[{_CAPITAL}][{_SMALL}]{{1,6}} [{_CAPITAL}][{_SMALL}]{{1,6}}\b")


def _doubtful(text: str, written: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    spans = (match.span() for match in _CAPITALISED_PAIR.finditer(text) if not _is_medical(match.group()))
    return tuple(span for span in spans if all(span[1] <= start or span[0] >= end for start, end in written))


# What the fields of a report's head hold, by words of their labels (folded).
_HEAD_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("phones", re.compile(r"\b(dien thoai|sdt|dt|phone|tel)\b")),
    ("addresses", re.compile(r"\b(dia chi|address|que quan|thuong tru)\b")),
    ("dates", re.compile(r"\b(ngay|date)\b")),
    ("institutions", re.compile(r"\b(noi chup|benh vien|khoa|don vi|hospital|institution)\b")),
    ("ids", re.compile(r"\b(ma|so|cccd|cmnd|bhyt|id|accession|patient|study)\b")),
    ("names", re.compile(r"\b(ho ten|ho va ten|ten|bac si|bs|ktv|nguoi|name|physician|doctor)\b")),
)
_HEAD_TITLE = re.compile(rf"^(?:{_DEGREE}[.\s/]*)+|^(?:bác sĩ|ông|bà)\s+", re.IGNORECASE)


def administrative_values(head: Mapping[str, Any]) -> dict[str, set[Any]]:
    """Sort what a report's head says of the patient by kind: names, ids, phones, addresses, institutions, dates.

    Parameters
    ----------
    head
        The parts of a report that are no section, by label.
    """
    found: dict[str, set[Any]] = {}
    for label, value in _flat(head):
        folded = re.sub(r"[^\w]+", " ", _fold(label.rpartition("/")[2] or label))
        for kind, words in _HEAD_KINDS:
            if not words.search(folded):
                continue
            if kind == "dates":
                days = {day for match in _FULL_DATE.finditer(value) if (day := _day_of(match)) is not None}
                found.setdefault("dates", set()).update(days)
            else:
                text = _HEAD_TITLE.sub("", value.strip()).strip() if kind == "names" else value.strip()
                # "Không rõ" under a name's label is no name: a name has capitals throughout.
                if kind != "names" or not any(word[:1].islower() for word in text.split()):
                    found.setdefault(kind, set()).add(text)
            break
    return found


def _flat(head: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for label, value in head.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{label}/")
        elif isinstance(value, list | tuple):
            for item in value:
                yield from _flat({label: item}, prefix)
        elif isinstance(value, str | int) and not isinstance(value, bool):
            yield f"{prefix}{label}", str(value)


def _day_of(match: re.Match[str]) -> date | None:
    for day, month, year in (("d", "m", "y"), ("d2", "m2", "y2"), ("d3", "m3", "y3")):
        if match[year]:
            try:
                return date(int(match[year]), int(match[month]), int(match[day]))
            except ValueError:
                return None
    return None
