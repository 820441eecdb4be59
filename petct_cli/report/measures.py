"""Sizes and SUVmax in the text of findings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from petct_cli.report.cues import Cue

Span = tuple[int, int]

_NUMBER = r"\d{1,3}(?!\d)(?:\s?[.,]\s?\d{1,2})?"
_TIMES = r"\s*[x×*]\s*"
_UNIT = r"\s*(?:mm|cm|milimet|centimet|mi li mét|xăng ti mét|xen ti mét)(?![\w³²])(?!\s*[3²³])"
_SIZE = re.compile(
    rf"(?<![\d.,])(?P<numbers>{_NUMBER}(?:\s*(?:mm|cm)?{_TIMES}{_NUMBER}){{0,2}})"
    rf"(?:\s*(?P<first>mm|cm)?\s*(?:-|–|đến|tới|to)\s*(?P<upto>{_NUMBER}))?(?P<unit>{_UNIT})?"
)
# A number that hangs on a letter is a code ("D12"), but for "d12 mm" and "kt12 mm".
_CODE = re.compile(r"(?:[^\W\d_]|_)$")
_OWN_LETTER = re.compile(r"\b(?:d|kt|đk|dk|cm|mm|x)$")
_SIZE_WORD = re.compile(r"(?:kích thước|kích thức|kt|đường kính|đk|size|measuring|diameter)\b[^\d.;()]{0,40}$")
_NO_UNIT = r"(?!\s*(?:mm|cm|x|%|giờ|phút|h\b))"
_SUV = re.compile(
    rf"\b(?:s\.?u\.?[vl]|svu|usv)\.?"
    rf"(?:[\s_-]*(?P<kind>max|amx|mxa|mã|mac|maximum|tối đa|cực đại|cao nhất|lbm|bw|mean|peak|avg|tb|trung bình|min))?"
    rf"(?:[\s/_-]*(?:lbm|bw|sul|max|\(?g/ml\)?))?"
    rf"(?P<of>\s+(?:(?:của|tại|ở|vùng|phần|bên|thì|of)\s[^\d.,;()]{{1,40}}?|hiện(?: tại| nay)?|nay|lần này"
    rf"|(?:sau|lúc)(?: tiêm)? \d{{1,3}} phút))?(?P<gap>[\s:;=~≈#(><≥≤]*)"
    rf"(?:(?:từ|là|đạt|khoảng|lên tới|lên đến|tới|đến|cao nhất|lớn nhất|đo được|lần lượt|bằng|tương ứng|trên|of|is"
    rf"|up to|các|ở mức|dao động|nhất|about|approximately)[\s:=~≈]*)*"
    rf"(?P<values>{_NUMBER}(?:\s*(?:-|–|đến|tới|và|,(?=\s+\d)|/|to|and)\s*(?:suv\s*max\s*)?{_NUMBER}{_NO_UNIT})*)"
)
_OTHER_SUV = frozenset(["mean", "avg", "tb", "trung bình", "min"])
_NOT_A_SIZE = re.compile(
    r"(?:\bcách\b[^\d;.]*|\bsâu\s*(?:khoảng)?|lát cắt|độ dày lát|tháng|năm|ngày|nhóm|\bsuv\w*|\bwithin\b|slice)"
    r"\s*(?:nhau|khoảng|da|~|≈|:|=|of)?\s*$"
)
_COMPARISON = re.compile(r"(?:>|<|≥|≤|\btrên|\bdưới|lớn hơn|nhỏ hơn|\bquá|không quá|chưa đến)\s*(?:khoảng\s*)?$")
_LENGTH = re.compile(r"\b(?:dài|đoạn|length)\b[^,;()\d]*$")
_CHANGE = re.compile(
    rf"\btừ\s+{_NUMBER}(?:\s*(?:mm|cm))?(?:{_TIMES}{_NUMBER})*(?:\s*(?:mm|cm))?\s*(?:xuống|lên|giảm|thành|còn|tăng|→|->|=>)(?:\s+còn)?"
)
_CHANGED = re.compile(rf"\s*(?:→|->|=>|xuống|lên)(?: còn)?\s*({_NUMBER})")
_CLAUSE_END = re.compile(r"[;()]|,(?!\d)")
_LIST_END = re.compile(r"[;)]")
_TIMES_SIGN = re.compile(r"[x×*]")
_CM_BELOW = 10.0
_ONE_BREATH = len(" và ")


@dataclass(frozen=True, slots=True)
class Size:
    """A statement of diameters in millimetres, as ordered in the text."""

    span: Span
    mm: tuple[float, ...]
    bound: bool
    length: bool


@dataclass(frozen=True, slots=True)
class Uptake:
    """A statement of SUVmax; a range or a list has several values."""

    span: Span
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured in a piece of text.

    Attributes
    ----------
    sizes_mm
        Diameters of the size statement, in millimetres, as ordered in the text.
    suv_max
        SUVmax, of a range the larger.
    measured
        Whether a size (not a bound such as "> 10 mm") or an SUVmax is given.
    """

    sizes_mm: tuple[float, ...] = ()
    suv_max: float | None = None
    measured: bool = False

    @property
    def size_mm(self) -> float | None:
        """Largest diameter in millimetres."""
        return max(self.sizes_mm, default=None)

    def __bool__(self) -> bool:
        return bool(self.sizes_mm) or self.suv_max is not None

    def same_kind(self, other: Measures) -> bool:
        """Whether both give a size or both give an SUVmax, so that they cannot be of one lesion."""
        return bool(self.sizes_mm and other.sizes_mm) or (self.suv_max is not None and other.suv_max is not None)


def _number(text: str) -> float:
    return float("".join(text.split()).replace(",", "."))


def find_uptakes(text: str, yardstick: Cue | None = None) -> list[Uptake]:
    """Return the statements of SUVmax (or of an SUV of no stated kind) in `text`; SUVmean is none."""
    found: list[Uptake] = []
    for match in _SUV.finditer(text):
        of_background = yardstick is not None and (
            yardstick.search(match["of"] or "") or yardstick.search(text[max(0, match.start() - 24) : match.start()])
        )
        if match["kind"] in _OTHER_SUV or of_background:
            continue
        later = _CHANGED.match(text, match.end())
        values = tuple(_number(value) for value in re.findall(_NUMBER, later[1] if later else match["values"]))
        found.append(Uptake(match.span(), values))
    return found


def find_sizes(text: str) -> list[Size]:
    """Return the statements of size in `text` (canonical form or at least lowercase).

    Sizes need a unit, or the word for size before them; "2,5 x 1,2 cm" is 25 and 12 mm. Distances ("cách 12 mm") and
    volumes ("cm3") are left out.
    """
    taken = [match.span() for match in _SUV.finditer(text)] if "s" in text else []
    found: list[Size] = []
    for match in _SIZE.finditer(text):
        start, end = match.span("numbers")
        if any(first < end and start < last for first, last in taken):
            continue
        before = text[max(0, start - 60) : start]
        if _CODE.search(before) and not _OWN_LETTER.search(before):
            continue
        unit = match["unit"] or ""
        if not unit and not _SIZE_WORD.search(before):
            continue
        if _NOT_A_SIZE.search(before) or _CHANGED.match(text, match.end()):
            continue
        written = match["numbers"]
        parts = _TIMES_SIGN.split(written)
        numbers = [_number(part.rstrip("cm \t")) for part in parts]
        if not unit and "mm" not in written and "cm" not in written:
            cm = max(numbers) < _CM_BELOW and ("," in written or "." in written)
        else:
            cm = unit.strip()[:1] in ("c", "x")
        factor = 10.0 if cm else 1.0
        # "1,2 cm x 8 mm" gives each number its own unit.
        own = [10.0 if "cm" in part else 1.0 if "mm" in part else factor for part in parts]
        if match["upto"]:
            if match["first"]:
                own[-1] = 10.0 if match["first"] == "cm" else 1.0
            numbers, own = [*numbers, _number(match["upto"])], [*own, factor]
        found.append(
            Size(
                (start, match.end()),
                tuple(round(number * scale, 3) for number, scale in zip(numbers, own, strict=True)),
                _COMPARISON.search(before) is not None,
                _LENGTH.search(before) is not None,
            )
        )
    return found


def earlier_spans(text: str, earlier: Cue, today: Cue) -> list[Span]:
    """Return the ranges of `text` that tell what was measured on another day."""
    spans = [match.span() for match in _CHANGE.finditer(text)]
    for match in earlier.finditer(text):
        # "(trước: 18 mm, SUVmax 9; nay: 7 mm)"
        listed = text[match.end() :].lstrip()[:1] in (":", "=")
        stop = (_LIST_END if listed else _CLAUSE_END).search(text, match.end())
        end = stop.start() if stop else len(text)
        now = today.search(text, match.end(), end)
        spans.append((match.start(), now.start() if now else end))
    return spans


def measures_of(sizes: list[Size], uptakes: list[Uptake]) -> Measures:
    """Return the measures of one lesion: the first size that is no length of a segment, the first SUVmax.

    Of sizes told in one breath ("28 x 18 mm và 34 x 30 mm") it is the largest.
    """
    size = next((one for one in sizes if not one.length), sizes[0] if sizes else None)
    for one, other in pairwise(sizes):
        if one is size and 1 < other.span[0] - one.span[1] <= _ONE_BREATH and max(other.mm) > max(one.mm):
            size = other
    suv_max = max(uptakes[0].values) if uptakes else None
    return Measures(size.mm if size else (), suv_max, suv_max is not None or (size is not None and not size.bound))


def find_measures(text: str) -> Measures:
    """Return the size and the SUVmax that `text` states first."""
    return measures_of(find_sizes(text), find_uptakes(text))
