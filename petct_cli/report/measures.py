"""Sizes and SUVmax in Vietnamese report text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"\d{1,3}(?:\s?[.,]\s?\d{1,2})?"
_TIMES = r"\s*[x×*]\s*"
_UNIT = r"\s*(?:mm|cm)(?![\w³²])(?!\s*[3²³])"
_SIZE = re.compile(
    rf"(?P<prefix>(?:kích thước|kt|đường kính|đk|dài|dày)[^\d.;()]{{0,40}}?)?"
    rf"(?<![\w.,])(?P<numbers>{_NUMBER}(?:\s*(?:mm|cm)?{_TIMES}{_NUMBER}){{0,2}})"
    rf"(?:\s*(?:-|–|đến)\s*(?P<upto>{_NUMBER}))?(?P<unit>{_UNIT})?"
)
_SUV = re.compile(
    rf"\bsuv(?:\s*-?\s*(?P<kind>max|mean|peak|tb|trung bình))?(?:\s*-?\s*(?:lbm|bw|sul))?[\s:;=~≈(]*"
    rf"(?:(?:từ|là|đạt|khoảng|lên tới|lên đến|tới|cao nhất|lớn nhất|đo được|lần lượt)[\s:=]*)*"
    rf"(?P<low>{_NUMBER})(?:\s*(?:-|–|đến|tới|và)\s*(?P<high>{_NUMBER}))?"
)
_NOT_A_SIZE = re.compile(r"(?:cách|lát cắt|độ dày lát|tháng|năm|ngày|nhóm)\s*(?:nhau|khoảng|da|[^\d.,;]{0,18})?\s*$")
_COMPARISON = re.compile(r"(?:>|<|≥|≤|trên|dưới|lớn hơn|nhỏ hơn|quá)\s*$")


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured in a piece of text.

    Attributes
    ----------
    sizes_mm
        Diameters of the first size statement, in millimetres, as ordered in the text.
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
    return float(re.sub(r"\s", "", text).replace(",", "."))


def find_measures(text: str) -> Measures:
    """Return the first size and the first SUVmax in `text` (canonical form or at least lowercase).

    Sizes need a unit, or the word for size before them; "2,5 x 1,2 cm" is 25 and 12 mm. Distances ("cách 12 mm"),
    volumes ("cm3") and SUVmean are left out.
    """
    suv_max = None
    taken: list[tuple[int, int]] = []
    for match in _SUV.finditer(text):
        taken.append(match.span())
        if match["kind"] in (None, "max", "peak") and suv_max is None:
            suv_max = max(_number(match["low"]), _number(match["high"] or match["low"]))
    sizes: tuple[float, ...] = ()
    bound = False
    for match in _SIZE.finditer(text):
        if any(start < match.end("numbers") and match.start("numbers") < end for start, end in taken):
            continue
        if match["unit"] is None and (match["prefix"] is None or "kích thước" not in match["prefix"]):
            continue
        before = text[max(0, match.start() - 24) : match.start("numbers")]
        if _NOT_A_SIZE.search(before):
            continue
        bound = _COMPARISON.search(before) is not None
        factor = 10.0 if match["unit"] and "cm" in match["unit"] else 1.0
        parts = re.split(r"[x×*]", match["numbers"])
        # "1,2 cm x 8 mm" gives each number its own unit.
        own = [10.0 if "cm" in part else 1.0 if "mm" in part else factor for part in parts]
        numbers = [_number(re.sub(r"[^\d.,]", "", part)) for part in parts]
        if match["upto"]:
            numbers, own = [*numbers, _number(match["upto"])], [*own, factor]
        sizes = tuple(round(number * scale, 3) for number, scale in zip(numbers, own, strict=True))
        break
    return Measures(sizes, suv_max, suv_max is not None or (bool(sizes) and not bound))
