"""The headings of reports: which section a name stands for, and one text divided by the headings in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain, takewhile
from typing import Any

from petct_cli.report.normalise import bare

FINDING_SECTIONS = ("head_neck", "chest", "abdomen_pelvis", "musculoskeletal")
SECTIONS = (*FINDING_SECTIONS, "impression", "history", "indication")
FINDINGS = "findings"
"""Section of findings that are not divided by region."""
EITHER = "either"
"""What a name such as "Kết quả" stands for: findings where an impression stands beside, else the impression."""
OTHER = "other/"
"""Prefix of parts that are known to be no section: technique, signature."""
_ORGAN = "organ/"
"""Prefix of what a heading means by an organ that lies there: it stays in the text."""
_LABEL = "label"
"""A line's first words before a colon that name nothing known."""

_NUMBERING = r"(?:[ \t\-*•+#\d.)(]|\b[IVX]{1,4}[.)/]|\b[A-Za-zĐđ][.)](?=[ \t])){0,12}+"
# Forms lead to the colon with a row of points.
_COLON = r"[ \t*_]*(?:\.{3,}|…+)?[ \t*]*[:：][ \t*]*"
# What looks ahead for the colon saves trying every length of what has none.
_BEFORE_COLON = rf"(?=[^\n.:;：]*+(?:[:：]|\.{{3}}))([^\n\t.:;：]{{2,60}}?){_COLON}"
_START = re.compile(r"[.;\n\t|]")
_WITH_COLON = re.compile(rf"{_NUMBERING}{_BEFORE_COLON}")
_AFTER_COMMA = re.compile(rf",[ \t]*(?=[^\n.,:;：]*+(?:[:：]|\.{{3}}))([^\n\t.,:;：]{{2,60}}?){_COLON}")
_AT_ONCE = re.compile(_BEFORE_COLON)
_ALONE = re.compile(rf"^{_NUMBERING}([^\n.:;：]{{2,60}}?)[ \t*.]*$", re.MULTILINE)
_LEAD = re.compile(rf"[ \t]*{_NUMBERING}")
_DASH = re.compile(r"[ \t]+(?:[-–—→➔➜]|=>?|->)[ \t]+(?=\S)")
_WORD = re.compile(r"[^\W\d_]+")
_SQUARE = re.compile(r"\[([^\[\]\n]{2,60})\](?:[ \t]*[:：])?[ \t]*")
_SIGNED_ON = re.compile(
    r"^[ \t]*(?:[^\n,.:]{2,30},[ \t]*)?(?i:ngày)[ \t]+[\d.…]+[ \t]+(?i:tháng)[ \t]+[\d.…]+[ \t]+(?i:năm)[ \t]+[\d.…]+"
    r"[ \t]*\.?$",
    re.MULTILINE,
)
_LONGEST = 60
_IN_TWO_LANGUAGES = re.compile(r"\s*[/|]\s*")
_IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")


@cache
def table() -> Mapping[str, Any]:
    """Return ``data/sections.toml``."""
    return tomllib.loads(files("petct_cli.report").joinpath("data/sections.toml").read_text("utf-8"))


@cache
def _names() -> Mapping[str, str]:
    """Return what each known name stands for, by its `bare` form."""
    found = {bare(name): OTHER for name in table()["asides"]["names"]}
    found |= {bare(name): section for section, names in table()["sections"].items() for name in names}
    found |= {bare(section): section for section in SECTIONS}
    found |= {bare(name): EITHER for name in table()["containers"][EITHER]}
    found |= {bare(name): FINDINGS for name in table()["containers"][FINDINGS]}
    return found


@cache
def _organs() -> Mapping[str, str]:
    return {bare(name): region for region, names in table()["organs"].items() for name in names}


@cache
def _around() -> tuple[re.Pattern[str], re.Pattern[str]]:
    before, after = (
        "|".join(sorted(map(bare, table()["around"][side]), key=len, reverse=True)) for side in ("before", "after")
    )
    return re.compile(rf"^(?:{before}) "), re.compile(rf" (?:{after})$")


@lru_cache(maxsize=4096)
def named(label: str) -> str:
    """Return what a heading stands for: of `SECTIONS`, `FINDINGS`, `EITHER` or `OTHER`, nothing when it is unknown.

    >>> named("II. KẾT LUẬN (Impression):"), named("Vùng Lồng ngực"), named("Mã BN")
    ('impression', 'chest', '')
    """
    names = _names()
    one, *others = _IN_TWO_LANGUAGES.split(label)
    forms = [label, _IN_BRACKETS.sub(" ", label)]
    # "Lồng ngực / Chest" is a name, "Lồng ngực/nốt" is none.
    forms += [one] if others and all(map(named, others)) else []
    for text in forms:
        name = re.sub(r"^(?:(?:\d+|[ivx]+) )+(?=\S)", "", bare(text))
        for form in (bare(text), name, *(_around()[1].sub("", _around()[0].sub("", name)),)):
            if form in names:
                return names[form]
    return ""


def split_headings(text: str) -> list[tuple[str, str]]:
    """Divide one text by its headings; what stands before the first is ``findings``.

    A heading has a colon behind it (``Lồng ngực:``, also within a line), or stands on a line of its own, in square
    brackets or in capitals before its text. Parts that are no section have the prefix `OTHER` before what they are
    called. A line about an organ of another region than what stands above it (``Gan: to``) is of that region, with its
    heading; a line about something else ends it.
    """
    cuts = list(_resolved(_cuts(text)))
    if not cuts:
        return [(FINDINGS, text.strip())] if text.strip() else []
    parts = [(FINDINGS, text[: cuts[0][0]].strip())]
    for (start, end, section), following in zip(cuts, [*cuts[1:], None], strict=True):
        part = text[end : following[0] if following else len(text)].strip()
        if start == end and section == FINDINGS:
            # What is outside of all regions is one text, however often lines about organs stand in between.
            place = max(place for place, (name, _) in enumerate(parts) if name == FINDINGS)
            parts[place] = (FINDINGS, f"{parts[place][1]}\n{part}".strip())
        else:
            parts.append((section, part))
    return [(section, part) for section, part in parts if part]


def has_heading(line: str) -> str:
    """Return what the heading that a line begins with stands for, nothing when it begins with none."""
    cuts = [cut for cut in _cuts(line) if cut[2] != _LABEL]
    section = cuts[0][2] if cuts and not _LEAD.sub("", line[: cuts[0][0]], 1).strip() else ""
    return FINDINGS if section.startswith(_ORGAN) else section


def _cuts(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and meaning of each heading, in order."""
    found: dict[int, tuple[int, int, str]] = {}
    ways = (_before_colons(text), _alone(text), _after_commas(text), _before_text(text))
    for at, cut in chain.from_iterable(ways):
        found.setdefault(at, cut)
    for match in _SIGNED_ON.finditer(text):
        found.setdefault(match.start(), (match.start(), match.start(), f"{OTHER}Ngày ký"))
    cuts: list[tuple[int, int, str]] = []
    for _, cut in sorted(found.items()):
        if not cuts or cut[0] >= cuts[-1][1]:
            cuts.append(cut)
    return cuts


_Cut = tuple[int, tuple[int, int, str]]
"""Where a heading's name begins, and from where to where it stands with what belongs to it, and its meaning."""


def _before_colons(text: str) -> Iterator[_Cut]:
    for match in _with_colon(text):
        at_line = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
        section = _meaning(match[1])
        # Within a line only names that nothing else is called by end what stands before them.
        if section and (at_line or not section.startswith((OTHER, EITHER))):
            yield match.start(1), (match.start(), _end(match), section)
        elif not section and (at_line or match[1][:1].isupper()):
            organ = _organs().get(bare(match[1]))
            if organ or at_line:
                yield match.start(1), (match.start(1), match.start(1), f"{_ORGAN}{organ}" if organ else _LABEL)
        following = _AT_ONCE.match(text, match.end()) if at_line else None
        if following and named(following[1]) in SECTIONS:
            # "MÔ TẢ: Đầu - cổ: ..."
            yield following.start(), (*following.span(), named(following[1]))


def _with_colon(text: str) -> Iterator[re.Match[str]]:
    """Yield what stands before a colon, from where a line, a sentence or a cell begins."""
    end = 0
    for start in chain((0,), (match.end() for match in _START.finditer(text))):
        match = _WITH_COLON.match(text, start) if start >= end else None
        if match:
            end = match.end()
            yield match


def _end(match: re.Match[str]) -> int:
    """Return where the text behind a heading begins: what stands in brackets within it may be part of it."""
    brackets = _IN_BRACKETS.search(match[1])
    if brackets is None:
        return match.end()
    said = brackets[0][1:-1]
    is_name = named(said) or bare(said) in map(bare, table()["around"]["after"]) or not any(map(str.isalnum, said))
    return match.end() if is_name else match.start(1) + brackets.start()


def _meaning(label: str) -> str:
    section = named(label)
    return f"{OTHER}{label.strip()}" if section == OTHER else section


def _alone(text: str) -> Iterator[_Cut]:
    for match in _ALONE.finditer(text):
        section = _meaning(match[1]) if _stands_out(text, match) else ""
        if section:
            yield match.start(1), (match.start(), _end(match), section)


def _after_commas(text: str) -> Iterator[_Cut]:
    for match in _AFTER_COMMA.finditer(text):
        if match[1][:1].isupper() and named(match[1]) in (*FINDING_SECTIONS, "impression"):
            yield match.start(1), (match.start(1), match.end(), named(match[1]))


def _stands_out(text: str, match: re.Match[str]) -> bool:
    """Say whether a line of a name alone is a heading, and not the end of a wrapped line or an item of a list."""
    lead = text[match.start() : match.start(1)].strip()
    if match[1].isupper() or any(map(str.isalnum, lead)):
        return True
    return not lead.strip("*#") and match[1][:1].isupper() and not match[0].rstrip().endswith(".")


def _before_text(text: str) -> Iterator[_Cut]:
    """Yield the headings that stand before their text on a line, without a colon.

    They are in square brackets, in capitals before a dash (there may be one within: ``ĐẦU - CỔ - bình thường``), or in
    capitals before other letters (``LỒNG NGỰC sáng``; two words at least, as one may be part of what is said). In small
    letters before a dash they count where several lines have them: ``Ổ bụng - khung chậu bình thường`` has none.
    """
    at = 0
    weak: list[tuple[int, int, str]] = []
    for line in text.split("\n"):
        lead = _LEAD.match(line)
        start = lead.end() if lead else 0
        for label, end in _labels(line, start):
            section = named(label)
            if section and section != OTHER:
                is_weak = not (label.isupper() or line[start] == "[")
                if not is_weak:
                    yield at + start, (at + start, at + end, section)
                elif section in SECTIONS and not _goes_on(label, line[end:]):
                    weak.append((at + start, at + end, section))
                break
        at += len(line) + 1
    if len({section for _, _, section in weak}) > 1:
        yield from ((cut[0], cut) for cut in weak)


def _labels(line: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield what may be a heading without a colon, and where its text begins; the longest first."""
    square = _SQUARE.match(line, start)
    if square:
        yield square[1], square.end()
    for dash in reversed(list(_DASH.finditer(line, start, start + _LONGEST + 8))):
        label = line[start : dash.start()]
        if label[:1].isupper() and len(label) <= _LONGEST:
            yield label, dash.end()
    words = list(_WORD.finditer(line, start, start + _LONGEST))
    capitals = list(takewhile(lambda word: word[0].isupper(), words))
    if 1 < len(capitals) < len(words) and not line[start : capitals[0].start()].strip():
        yield line[start : capitals[-1].end()], capitals[-1].end()


def _goes_on(label: str, text: str) -> bool:
    """Say whether the name of a region goes on behind a dash."""
    words = bare(text[:_LONGEST]).split()
    return any(named(f"{label} {' '.join(words[:count])}") in FINDING_SECTIONS for count in range(1, 4))


def _resolved(cuts: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Say of names that may mean either what they mean here, and leave out those that head no section here."""
    meanings = [section.removeprefix(_ORGAN) for _, _, section in cuts]
    findings_before = within_impression = False
    current, by_organ = FINDINGS, False
    for place, (start, end, section) in enumerate(cuts):
        if section == EITHER:
            is_findings = "impression" in meanings[place + 1 :] or any(
                s in FINDING_SECTIONS for s in meanings[place + 1 :]
            )
            section = FINDINGS if is_findings and not findings_before else "impression"
        if section == _LABEL or section.startswith(_ORGAN):
            # What stands within an impression or a history is its own, and under a region what lies there.
            region = FINDINGS if section == _LABEL else section.removeprefix(_ORGAN)
            if current in ("impression", "history", region) or (section == _LABEL and not by_organ):
                continue
            by_organ = section != _LABEL
            section = region
        elif section in FINDING_SECTIONS and within_impression and findings_before:
            # "Kết luận: - Xương: di căn": the regions of an impression are its own.
            continue
        else:
            by_organ = False
        within_impression = section == "impression"
        findings_before = findings_before or section in (FINDINGS, *FINDING_SECTIONS)
        current = section
        yield start, end, section
