"""The headings of reports: which section a name stands for, and one text divided by the headings in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
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

_NUMBERING = r"(?:[ \t\-*•+#\d.)(]|\b[IVX]{1,4}[.)/]|\b[A-Za-zĐđ][.)](?=[ \t])){0,12}+"
_WITH_COLON = re.compile(rf"(?:^|(?<=[.;\n])){_NUMBERING}([^\n.:;：]{{2,60}}?)[ \t*]*[:：][ \t*]*", re.MULTILINE)
_ALONE = re.compile(rf"^{_NUMBERING}([^\n.:;：]{{2,60}}?)[ \t*.]*$", re.MULTILINE)
_LEAD = re.compile(rf"[ \t]*{_NUMBERING}")
_DASH = re.compile(r"[ \t]+(?:[-–—]|=>?)[ \t]+(?=\S)")
_SIGNED_ON = re.compile(
    r"^[ \t]*(?:[^\n,.:]{2,30},[ \t]*)?(?i:ngày)[ \t]+[\d.…]+[ \t]+(?i:tháng)[ \t]+[\d.…]+[ \t]+(?i:năm)[ \t]+[\d.…]+"
    r"[ \t]*\.?$",
    re.MULTILINE,
)
_LONGEST = 60
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
def _around() -> tuple[re.Pattern[str], re.Pattern[str]]:
    before, after = (
        "|".join(sorted(map(bare, table()["around"][side]), key=len, reverse=True)) for side in ("before", "after")
    )
    return re.compile(rf"^(?:{before}) "), re.compile(rf" (?:{after})$")


def named(label: str) -> str:
    """Return what a heading stands for: of `SECTIONS`, `FINDINGS`, `EITHER` or `OTHER`, nothing when it is unknown.

    >>> named("II. KẾT LUẬN (Impression):"), named("Vùng Lồng ngực"), named("Mã BN")
    ('impression', 'chest', '')
    """
    names = _names()
    for text in (label, _IN_BRACKETS.sub(" ", label), re.split(r"\s*[/|]\s*", label)[0]):
        name = re.sub(r"^(?:(?:\d+|[ivx]+) )+(?=\S)", "", bare(text))
        for form in (bare(text), name, *(_around()[1].sub("", _around()[0].sub("", name)),)):
            if form in names:
                return names[form]
    return ""


def split_headings(text: str) -> list[tuple[str, str]]:
    """Divide one text by its headings; what stands before the first is ``findings``.

    A heading has a colon behind it (``Lồng ngực:``, also within a line), or stands on a line of its own, or in capitals
    before a dash. Parts that are no section have the prefix `OTHER` before what they are called.
    """
    cuts = list(_resolved(_cuts(text)))
    if not cuts:
        return [(FINDINGS, text.strip())] if text.strip() else []
    parts = [(FINDINGS, text[: cuts[0][0]].strip())]
    for (_, end, section), following in zip(cuts, [*cuts[1:], None], strict=True):
        parts.append((section, text[end : following[0] if following else len(text)].strip()))
    return [(section, part) for section, part in parts if part]


def has_heading(line: str) -> str:
    """Return what the heading that a line begins with stands for, nothing when it begins with none."""
    cuts = _cuts(line)
    return cuts[0][2] if cuts and not line[: cuts[0][0]].strip() else ""


def _cuts(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and meaning of each heading, in order."""
    found: dict[int, tuple[int, int, str]] = {}
    for pattern in (_WITH_COLON, _ALONE):
        for match in pattern.finditer(text):
            if pattern is _ALONE and not _stands_out(text, match):
                continue
            section = named(match[1])
            at_line = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
            if section == OTHER:
                section = f"{OTHER}{match[1].strip()}"
            # Within a line only names that nothing else is called by end what stands before them.
            if section and (at_line or not section.startswith((OTHER, EITHER))):
                found.setdefault(match.start(1), (match.start(), match.end(), section))
    for start, end, section in _before_dashes(text):
        found.setdefault(start, (start, end, section))
    for match in _SIGNED_ON.finditer(text):
        found.setdefault(match.start(), (match.start(), match.start(), f"{OTHER}Ngày ký"))
    cuts: list[tuple[int, int, str]] = []
    for _, cut in sorted(found.items()):
        if not cuts or cut[0] >= cuts[-1][1]:
            cuts.append(cut)
    return cuts


def _stands_out(text: str, match: re.Match[str]) -> bool:
    """Say whether a line of a name alone is a heading, and not the end of a wrapped line or an item of a list."""
    lead = text[match.start() : match.start(1)].strip()
    if match[1].isupper() or any(map(str.isalnum, lead)):
        return True
    return not lead.strip("*#") and match[1][:1].isupper() and not match[0].rstrip().endswith(".")


def _before_dashes(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the headings in capitals that end with a dash; there may be one within (``ĐẦU - CỔ - bình thường``)."""
    at = 0
    for line in text.split("\n"):
        lead = _LEAD.match(line)
        start = lead.end() if lead else 0
        for dash in reversed(list(_DASH.finditer(line, start, start + _LONGEST + 8))):
            label = line[start : dash.start()]
            section = named(label) if label.isupper() and len(label) <= _LONGEST else ""
            if section and section != OTHER:
                yield at + start, at + dash.end(), section
                break
        at += len(line) + 1


def _resolved(cuts: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Say of names that may mean either what they mean here, and leave out those that head no section here."""
    sections = [section for _, _, section in cuts]
    findings_before = within_impression = False
    for place, (start, end, section) in enumerate(cuts):
        if section == EITHER:
            is_findings = "impression" in sections[place + 1 :] or any(
                s in FINDING_SECTIONS for s in sections[place + 1 :]
            )
            section = FINDINGS if is_findings and not findings_before else "impression"
        if section in FINDING_SECTIONS and within_impression and findings_before:
            # "Kết luận: - Xương: di căn": the regions of an impression are its own.
            continue
        within_impression = section == "impression"
        findings_before = findings_before or section in (FINDINGS, *FINDING_SECTIONS)
        yield start, end, section
