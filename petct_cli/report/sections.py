"""The sections of a report, and its sentences.

parsed = parse_report(orjson.loads(file.read_bytes()))
parsed.sections["chest"], parsed.not_understood
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from petct_cli.report.normalise import bare

FINDING_SECTIONS = ("head_neck", "chest", "abdomen_pelvis", "musculoskeletal")
SECTIONS = (*FINDING_SECTIONS, "impression", "history", "indication")
FINDINGS = "findings"
"""Section of findings that are not divided by region."""


@dataclass(frozen=True)
class ParsedReport:
    """A report by section.

    Attributes
    ----------
    sections
        Text by section: of `SECTIONS`, and ``findings`` for findings that are not divided by region.
    not_understood
        What stands under keys that name no section (administrative data, for one), by key path joined with ``/``.
        It may hold identifiers.
    """

    sections: dict[str, str]
    not_understood: dict[str, Any] = field(default_factory=dict)


@cache
def _names() -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the section of each known key, and the keys of containers, all in `bare` form."""
    table = tomllib.loads(files("petct_cli.report").joinpath("data/sections.toml").read_text("utf-8"))
    sections = {bare(name): section for section, names in table["sections"].items() for name in names}
    sections |= {bare(section): section for section in SECTIONS}
    return sections, frozenset(bare(name) for name in table["containers"][FINDINGS])


def parse_report(obj: Mapping[str, Any]) -> ParsedReport:
    """Sort a report file into sections.

    Parameters
    ----------
    obj
        The JSON object of the file: sections at the top or under a findings key, in any spelling of
        ``data/sections.toml``; values are text, lists of text, or objects of either.

    Returns
    -------
    ParsedReport
        Sections in the order of `SECTIONS`; empty ones are left out.
    """
    found: dict[str, list[str]] = {}
    unknown: dict[str, Any] = {}
    _collect(obj, "", found, unknown)
    joined = {name: "\n".join(parts) for name, parts in found.items()}
    order = (*SECTIONS, FINDINGS)
    return ParsedReport({name: joined[name] for name in order if name in joined}, unknown)


def _collect(obj: Mapping[str, Any], path: str, found: dict[str, list[str]], unknown: dict[str, Any]) -> None:
    sections, containers = _names()
    for key, value in obj.items():
        name = bare(key)
        if name in sections:
            texts = [text for text in _texts(value) if text]
            if texts:
                found.setdefault(sections[name], []).extend(texts)
        elif name in containers:
            if isinstance(value, Mapping):
                _collect(value, f"{path}{key}/", found, unknown)
            else:
                for text in _texts(value):
                    for section, part in split_headings(text):
                        found.setdefault(section, []).append(part)
        else:
            unknown[f"{path}{key}"] = value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


_HEADING = re.compile(r"(?:^|(?<=[.;\n]))[ \t\-*•+\d.)]{0,12}+([^\n.:;]{3,40}?)[ \t]*:", re.MULTILINE)


def split_headings(text: str) -> list[tuple[str, str]]:
    """Divide one text by headings such as ``Lồng ngực:``; what stands before the first is ``findings``."""
    sections, containers = _names()
    marks = [(match, bare(match.group(1))) for match in _HEADING.finditer(text)]
    cuts = [(match, sections.get(name, FINDINGS)) for match, name in marks if name in sections or name in containers]
    if not cuts:
        return [(FINDINGS, text.strip())] if text.strip() else []
    parts = [(FINDINGS, text[: cuts[0][0].start()].strip())]
    for (match, section), following in zip(cuts, [*cuts[1:], None], strict=True):
        end = following[0].start() if following else len(text)
        parts.append((section, text[match.end() : end].strip()))
    return [(section, part) for section, part in parts if part]


# A full stop ends a sentence unless it stands between digits, after an abbreviation, or after an enumerating number;
# reports forget it before the next "Hình ảnh".
_BREAK = re.compile(
    r"(?<![.!?…])[.!?…]++(?:[\"”')\]]++)?(?=\s|$)|[\r\n]+"
    r"|(?<=[\w)])[ \t]+(?=Hình ảnh\b)|(?<=[^\W\d_])\.(?=[A-ZĐÀ-Ỵ][^\W\d_]*\s)"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:bs|ths|ts|pgs|gs|bscki|bsckii|cki|ckii|dr|mr|mrs|tp|vd|st|tr|no|approx|fig|vs|(?:[a-zđ]\.)+[a-zđ])$",
    re.IGNORECASE,
)
_ENUMERATION = re.compile(r"(?:^|[\r\n])\s*\d{1,2}$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the half-open character spans of the sentences of `text`, without surrounding white space."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BREAK.finditer(text):
        if match.group().startswith(".") and len(match.group()) == 1:
            before = text[max(start, match.start() - 24) : match.start()]
            if _ABBREVIATION.search(before) or _ENUMERATION.search(text[start : match.start()]):
                continue
        _add_span(text, start, match.end(), spans)
        start = match.end()
    _add_span(text, start, len(text), spans)
    return spans


def _add_span(text: str, start: int, end: int, spans: list[tuple[int, int]]) -> None:
    part = text[start:end]
    stripped = part.strip()
    if stripped and any(c.isalnum() for c in stripped):
        lead = len(part) - len(part.lstrip())
        spans.append((start + lead, start + lead + len(stripped)))
    elif stripped and spans:
        spans[-1] = (spans[-1][0], start + len(part.rstrip()))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text` with their punctuation.

    >>> split_sentences("Nốt 4.5 mm, SUVmax: 3,2. BS. Nam đã xem.")
    ['Nốt 4.5 mm, SUVmax: 3,2.', 'BS. Nam đã xem.']
    """
    return [text[start:end] for start, end in sentence_spans(text)]
