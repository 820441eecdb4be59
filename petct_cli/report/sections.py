"""The sections of a report, and its sentences.

parsed = parse_report(orjson.loads(file.read_bytes()))
parsed.sections["chest"], parsed.not_understood
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from petct_cli.report.deid_head import is_administrative
from petct_cli.report.headings import (
    EITHER,
    FINDING_SECTIONS,
    FINDINGS,
    OTHER,
    SECTIONS,
    named,
    split_headings,
    table,
)
from petct_cli.report.language import ENGLISH, VIETNAMESE, language_of
from petct_cli.report.markup import without_markup
from petct_cli.report.normalise import bare

__all__ = [
    "FINDINGS",
    "FINDING_SECTIONS",
    "SECTIONS",
    "TRANSLATION",
    "ParsedReport",
    "is_part",
    "parse_report",
    "section_named",
    "sentence_spans",
    "split_headings",
    "split_sentences",
]

TRANSLATION = "_en"
"""Suffix of keys that hold English."""


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
    lang
        Language of `sections`: ``vi``, or ``en`` when no part is Vietnamese.
    translations
        Sections in the other language, by language, where the report has both.
    """

    sections: dict[str, str]
    not_understood: dict[str, Any] = field(default_factory=dict)
    lang: str = VIETNAMESE
    translations: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def unknown(self) -> int:
        """How many keys hold text and are neither sections nor anything that petct knows to leave out.

        A number in the place of a section's text is one of them.
        """
        return sum(
            isinstance(value, int | float)
            if section_named(path.rpartition("/")[2])
            else any(any(map(str.isalnum, text)) for text in _texts(value))
            and not named(path.rpartition("/")[2])
            and not any(is_administrative(part) or bare(part) in _known() for part in path.split("/"))
            for path, value in self.not_understood.items()
        )


@dataclass(frozen=True)
class _Part:
    """A piece of text, its section, and its language where its key tells it."""

    section: str
    text: str
    lang: str = ""


@cache
def _languages() -> tuple[tuple[str, str], ...]:
    return tuple((bare(name), lang) for lang in (ENGLISH, VIETNAMESE) for name in table()["languages"][lang])


@cache
def _known() -> frozenset[str]:
    """Return names of keys that are neither sections nor administrative, but known."""
    return frozenset(
        map(bare, (*table()["languages"]["key"], *table()["languages"]["whole"], "hành chính", "tiêu đề", "metadata"))
    )


def section_named(label: str) -> str:
    """Return which section a key names, `FINDINGS` for a container of findings, nothing for none."""
    name = named(_spoken(label)[0])
    return "impression" if name == EITHER else "" if name == OTHER else name


def is_part(label: str) -> bool:
    """Say whether a key belongs to the report itself: a section in any language, a translation, or its language."""
    base, lang = _spoken(label)
    return bool(section_named(label)) or bool(lang and _is_whole(base)) or bare(label) in _lang_keys()


@cache
def _lang_keys() -> frozenset[str]:
    return frozenset(map(bare, table()["languages"]["key"]))


@lru_cache(maxsize=4096)
def _spoken(label: str) -> tuple[str, str]:
    """Return a key without the language that it ends with, and the language."""
    name = bare(label)
    for ending, lang in _languages():
        if name == ending or name.endswith(f" {ending}"):
            return name[: -len(ending)].strip(), lang
    return label, ""


def _is_whole(base: str) -> bool:
    return not base or bare(base) in {bare(name) for name in table()["languages"]["whole"]}


def parse_report(obj: Mapping[str, Any]) -> ParsedReport:
    """Sort a report file into sections.

    Parameters
    ----------
    obj
        The JSON object of the file: sections at the top or under a findings key, in any spelling of
        ``data/sections.toml``; values are text, lists of text, or objects of either. A key may end with a language
        (``Findings (EN)``, ``report_en``); ``lang`` tells that of all that tell none.

    Returns
    -------
    ParsedReport
        Sections in the order of `SECTIONS`; empty ones are left out. Text in the other language is a translation where
        the same part (findings, impression, history, indication) is there in Vietnamese.
    """
    parts: list[_Part] = []
    unknown: dict[str, Any] = {}
    _collect(obj, "", "", parts, unknown)
    told = next((v for k, v in obj.items() if bare(str(k)) in _lang_keys() and isinstance(v, str)), "")
    main, spoken = _main_language(parts, told.strip().lower()[:2])
    in_main = {_group(part.section) for part, lang in spoken if lang == main}
    sections: list[tuple[str, str]] = []
    others: dict[str, list[tuple[str, str]]] = {}
    for part, lang in spoken:
        apart = lang != main and (part.lang or _group(part.section) in in_main)
        (others.setdefault(lang, []) if apart else sections).append((part.section, part.text))
    translations = {lang: _joined(found) for lang, found in sorted(others.items())}
    return ParsedReport(_joined(sections), unknown, main, translations)


def _main_language(parts: list[_Part], told: str) -> tuple[str, list[tuple[_Part, str]]]:
    """Return the report's own language, and each part with its language."""
    guessed = [part.lang or language_of(part.text) for part in parts]
    free = [lang for part, lang in zip(parts, guessed, strict=True) if not part.lang]
    if told in (VIETNAMESE, ENGLISH):
        main = told
    elif free:
        main = ENGLISH if ENGLISH in free and VIETNAMESE not in free else VIETNAMESE
    else:
        main = ENGLISH if set(guessed) == {ENGLISH} else VIETNAMESE
    return main, [(part, lang or main) for part, lang in zip(parts, guessed, strict=True)]


def _group(section: str) -> str:
    return FINDINGS if section in FINDING_SECTIONS else section


def _joined(parts: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for section, text in parts:
        found.setdefault(section, []).append(text)
    return {name: "\n".join(found[name]) for name in (*SECTIONS, FINDINGS) if name in found}


def _collect(obj: Mapping[str, Any], path: str, lang: str, parts: list[_Part], unknown: dict[str, Any]) -> None:
    keys = {key: _spoken(str(key)) for key in obj}
    meanings = {key: named(base) for key, (base, _) in keys.items()}
    has_impression = "impression" in meanings.values()
    has_findings = any(meaning in (FINDINGS, *FINDING_SECTIONS) for meaning in meanings.values())
    for key, value in obj.items():
        base, own = keys[key]
        own, meaning = own or lang, meanings[key]
        if meaning == EITHER:
            findings = isinstance(value, Mapping) or (has_impression and not has_findings)
            meaning = FINDINGS if findings else "impression"
        if meaning in (*SECTIONS, FINDINGS) and isinstance(value, int | float):
            _set_aside(unknown, f"{path}{key}", value)
        elif meaning in SECTIONS:
            parts += [_Part(meaning, text, own) for text in _texts(value) if text]
        elif meaning == FINDINGS or (keys[key][1] and _is_whole(base)):
            if isinstance(value, Mapping):
                _collect(value, f"{path}{key}/", own, parts, unknown)
                continue
            for text in _texts(value):
                for section, part in split_headings(text):
                    if section.startswith(OTHER):
                        _set_aside(unknown, f"{path}{key}/{section.removeprefix(OTHER).replace('/', ' ')}", part)
                    else:
                        parts.append(_Part(section, part, own))
        else:
            _set_aside(unknown, f"{path}{key}", value)


def _set_aside(unknown: dict[str, Any], path: str, value: Any) -> None:
    if path not in unknown:
        unknown[path] = value
    elif isinstance(unknown[path], str) and isinstance(value, str):
        unknown[path] += f"\n{value}"
    else:
        unknown[path] = [unknown[path], value]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield without_markup(value).strip()
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


# A full stop ends a sentence unless it stands between digits, after an abbreviation, or after an enumerating number;
# reports forget it before the next "Hình ảnh".
# Each branch begins with a mark of its own and looks back from there: that is searched much faster.
_BREAK = re.compile(
    r"[.!?…](?<![.!?…][.!?…])[.!?…]*+(?:[\"”')\]]++)?(?=\s|$)|[\r\n]+"
    r"|[ \t](?<=[\w)][ \t])[ \t]*+(?=Hình ảnh\b)|\.(?<=[^\W\d_]\.)(?=[A-ZĐÀ-Ỵ][^\W\d_]*\s)"
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
    if stripped and (stripped[0].isalnum() or any(c.isalnum() for c in stripped)):
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
