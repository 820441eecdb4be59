"""Levels that are written as codes: vertebrae, lymph node groups, liver and lung segments, ribs.

Vertebrae are C1-C7, T1-T12, L1-L5, S1-S5; nodes of the neck IA-VI (Robbins), thoracic stations 1-14 with R or L
(IASLC); liver segments I-VIII (Couinaud), lung segments S1-S10; ribs 1-12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from petct_cli.report.cues import Cue
from petct_cli.report.vocabulary import Vocabulary

Span = tuple[int, int]

_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_SPINE = {"c": "cervical_spine", "t": "thoracic_spine", "l": "lumbar_spine", "s": "sacrum"}
_VERTEBRAE = [
    f"{letter}{number}" for letter, last in (("c", 7), ("t", 12), ("l", 5), ("s", 5)) for number in range(1, last + 1)
]
_RANGE = re.compile(r"\s*(?:-|–|đến|tới|to)\s*")
_NEXT = re.compile(r"\s*(?:,|và|;|/|&|\+|and|hoặc)\s*(?:và\s+)?")
_NECK_MAX, _HILAR_FROM, _STATION_MAX = 6, 10, 14
# Where nodes are numbered by station rather than by level of the neck.
_CHEST = frozenset(["mediastinum", "lung", "lung_hilum", "trachea", "bronchus", "oesophagus", "aortic_arch"])
_BELLY = frozenset(["stomach", "colon", "abdomen", "retroperitoneum", "pancreas", "liver"])


@dataclass(frozen=True, slots=True)
class Coded:
    """A run of codes of one organ.

    Attributes
    ----------
    organ
        None for a segment, which may be of the liver or of a lung.
    side
        That the code itself tells (4R).
    """

    span: Span
    organ: str | None
    level: str
    side: str | None = None


def find_levels(text: str, words: Vocabulary, organs: set[str], nodes: bool) -> list[Coded]:
    """Return the levels in `text`, given the organs that it names and whether it speaks of lymph nodes."""
    found = [*_vertebrae(text, words, organs), *_segments(text, words, organs), *_ribs(text, words)]
    if nodes or words.levels["group"].search(text):
        found += _groups(text, words, organs, nodes)
    found.sort(key=lambda one: (one.span[0], -one.span[1]))
    kept: list[Coded] = []
    for one in found:
        if not kept or one.span[0] >= kept[-1].span[1] or one.span == kept[-1].span:
            kept.append(one)
    return kept


def _number(code: str) -> int:
    return _ROMAN.index(code) + 1 if code in _ROMAN else int(code)


def _vertebrae(text: str, words: Vocabulary, organs: set[str]) -> Iterator[Coded]:
    named = words.levels["vertebra_number"].search(text)
    if named:
        letter = {"cổ": "c", "thắt lưng": "l", "cervical": "c", "lumbar": "l"}.get(named[1], "t")
        code = f"{letter}{_number(named[2])}"
        if code in _VERTEBRAE:
            yield Coded(named.span(), _SPINE[letter], code.upper())
    matches = list(words.levels["vertebra"].finditer(text))
    if not matches or not words.levels["vertebra_context"].search(text):
        return
    codes: list[tuple[str, Span]] = []
    for match in matches:
        letter = "t" if match[1] == "d" else match[1]
        code = f"{letter}{int(match[2])}"
        if code not in _VERTEBRAE or (letter == "s" and organs & {"lung", "liver"}):
            continue
        if codes and _RANGE.fullmatch(text, codes[-1][1][1], match.start()):
            first, last = _VERTEBRAE.index(codes[-1][0]), _VERTEBRAE.index(code)
            codes += [(between, match.span()) for between in _VERTEBRAE[first + 1 : last]]
        codes.append((code, match.span()))
        yield_plain = _PLAIN_NUMBERS.match(text, match.end())
        if yield_plain:
            for number in re.findall(r"\d{1,2}", yield_plain.group()):
                if f"{letter}{number}" in _VERTEBRAE:
                    codes.append((f"{letter}{number}", yield_plain.span()))
    for letter, organ in _SPINE.items():
        own = [(code, span) for code, span in codes if code[0] == letter]
        if own:
            level = ",".join(dict.fromkeys(code.upper() for code, _ in own))
            yield Coded((min(span[0] for _, span in own), min(span[1] for _, span in own)), organ, level)


# "L3, 4" and "D5-6"; not "L3, 12 mm".
_PLAIN_NUMBERS = re.compile(r"(?:\s*[,/-]\s*\d{1,2}(?![\d.,]*\s*(?:mm|cm|x|×|\d))\b)+")


def _listed(text: str, start: int, item: Cue, lead: Cue | None) -> tuple[list[str], int]:
    """Read "II, III và nhóm IV" or "2-4" from `start`; return the codes and where they end."""
    codes: list[str] = []
    end = start
    while match := item.match(text, start):
        code = re.sub(r"\s", "", match.group())
        if codes and code[0].isdigit() and not codes[0][0].isdigit():
            break  # "tầng I, 3 hạch"
        if codes and _RANGE.fullmatch(text, end, start):
            codes += _between(codes[-1], code)
        codes.append(code)
        end = match.end()
        joint = _RANGE.match(text, end) or _NEXT.match(text, end)
        if joint is None or joint.end() == end:
            break
        start = joint.end()
        again = lead.match(text, start) if lead is not None else None
        start = again.end() if again else start
    return codes, end


def _between(first: str, last: str) -> list[str]:
    try:
        low, high = _number(first), _number(last)
    except ValueError:
        return []
    roman = first in _ROMAN
    return [_ROMAN[number - 1] if roman else str(number) for number in range(low + 1, high)]


def _segments(text: str, words: Vocabulary, organs: set[str]) -> Iterator[Coded]:
    for lead in words.levels["segment"].finditer(text):
        codes, end = _listed(text, lead.end(), words.levels["segment_number"], words.levels["segment"])
        if codes:
            yield Coded((lead.start(), end), None, ",".join(codes))
    if organs & {"lung", "liver"}:
        for match in words.levels["lone_segment"].finditer(text):
            yield Coded(match.span(), None, match.group())


def segment_name(level: str, organ: str) -> str:
    """Return segments as the liver ("VII") or the lung ("S6") has them, each once.

    >>> segment_name("s7,viii", "liver"), segment_name("iii", "lung")
    ('VII,VIII', 'S3')
    """
    names = []
    for code in level.split(","):
        match = re.fullmatch(r"s?(?:(\d+)|([ivx]+))([ab]?)", code)
        if match is None:
            return level.upper()
        number = int(match[1]) if match[1] else _number(match[2])
        if organ == "liver":
            names.append(f"{_ROMAN[number - 1].upper() if number <= len(_ROMAN) else number}{match[3]}")
        else:
            names.append(f"S{number}{match[3]}")
    return ",".join(dict.fromkeys(names))


def _ribs(text: str, words: Vocabulary) -> Iterator[Coded]:
    for lead in words.levels["rib"].finditer(text):
        codes, end = _listed(text, lead.end(), words.levels["rib_number"], words.levels["rib"])
        if codes:
            yield Coded((lead.start(), end), "rib", ",".join(dict.fromkeys(str(_number(code)) for code in codes)))


def _groups(text: str, words: Vocabulary, organs: set[str], nodes: bool) -> Iterator[Coded]:
    item, group = words.levels["level"], words.levels["group"]
    taken: list[Span] = []
    for lead in group.finditer(text):
        if any(start <= lead.start() < end for start, end in taken):
            continue
        codes, end = _listed(text, lead.end(), item, group)
        if codes:
            taken.append((lead.start(), end))
            yield from _by_organ((lead.start(), end), codes, organs)
    if not nodes:
        return
    alone = [*words.levels["lone_level"].finditer(text), *(words.levels["next_level"].finditer(text) if taken else ())]
    for match in alone:
        if all(match.end() <= start or end <= match.start() for start, end in taken):
            yield from _by_organ(match.span(), [match.group()], organs)


def _by_organ(span: Span, codes: list[str], organs: set[str]) -> Iterator[Coded]:
    neck: list[str] = []
    stations: dict[tuple[str, str | None], list[str]] = {}
    stationed = any(re.fullmatch(r"\d+[rl]|[7-9]|1\d", code) for code in codes)
    for code in codes:
        match = re.fullmatch(r"(?:(\d+)|([ivx]+))([a-z]?)", code)
        if match is None:
            continue
        number = int(match[1]) if match[1] else _number(match[2])
        letter = match[3]
        chest = (
            stationed
            or letter in ("r", "l", "p")
            or number > _NECK_MAX
            or (match[1] and organs & _CHEST and "neck" not in organs)
        )
        if not chest and not (match[1] and organs & _BELLY):
            neck.append(f"{_ROMAN[number - 1].upper()}{letter.upper()}")
            continue
        organ = "abdomen" if organs & _BELLY and not organs & _CHEST else "mediastinum"
        if organ == "mediastinum" and _HILAR_FROM <= number <= _STATION_MAX:
            organ = "lung_hilum"
        side = {"r": "right", "l": "left", "p": "right"}.get(letter)
        name = f"{number}{'R' if letter == 'p' else letter.upper()}"
        stations.setdefault((organ, side), []).append(name)
    if neck:
        # The axilla has levels, too (Berg).
        yield Coded(
            span, "axilla" if "axilla" in organs and "neck" not in organs else "neck", ",".join(dict.fromkeys(neck))
        )
    for (organ, side), names in stations.items():
        yield Coded(span, organ, ",".join(dict.fromkeys(names)), side)


def with_side(level: str, organ: str, side: str | None) -> str:
    """Return stations with the side that is said elsewhere ("nhóm 4 bên phải" is 4R).

    >>> with_side("4", "mediastinum", "right"), with_side("7", "mediastinum", "right")
    ('4R', '7')
    """
    if organ not in ("mediastinum", "lung_hilum") or side not in ("left", "right"):
        return level
    sided = {"2", "4", "10", "11", "12", "13", "14"}
    return ",".join(code + side[0].upper() if code in sided else code for code in level.split(","))
