"""Plain reports: the fields of the head, titles, pages and columns, and the text that is left for its headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from petct_cli.report.deid_head import is_administrative
from petct_cli.report.headings import EITHER, FINDING_SECTIONS, FINDINGS, has_heading, named, table
from petct_cli.report.markup import without_markup
from petct_cli.report.normalise import bare

_HEAD_FIELD = re.compile(
    r"(?:^|(?<=[;,.|\t])|(?<=\s-)|(?<=\s{2}))[ \t]*(?P<label>[^\W\d][^\n:;,.|]{0,38}?)[ \t]*:[ \t]*"
)
_BODY = "Mô tả hình ảnh"
_TITLE = "Tiêu đề"
_UNCLEAR = "Dòng trước phần mô tả"
_BODY_SECTIONS = (FINDINGS, EITHER, "impression", *FINDING_SECTIONS)
_PAGE = re.compile(
    r"^\W*(?:(?:trang|page|tr\.)[ \t]*(?:số)?[ \t]*:?[ \t]*)?\d+[ \t]*(?:/|of|trên)[ \t]*\d+\W*$", re.IGNORECASE
)
_PAGE_ALONE = re.compile(r"^\W*(?:trang|page)[ \t]*(?:số)?[ \t]*:?[ \t]*\d+\W*$", re.IGNORECASE)
_GUTTER = re.compile(r"(?<=\S)[ ]{3,}(?=\S)")
_MIN_COLUMN_LINES = 4
_MIN_BOTH, _MAX_CROSSING = 0.4, 0.1


def text_document(text: str, margins: str = "") -> dict[str, Any]:
    r"""Return a plain report as a document: the fields of its head by label, and the rest as findings with headings.

    Page numbers and heads that each page repeats are left out, and two columns come one after the other. A title (a
    hospital, the name of the form) stands under ``Tiêu đề``, and what is neither title nor finding under a name that
    nobody knows, so that it counts as not understood.

    Parameters
    ----------
    margins
        Text of page headers and footers: only fields are read from it.

    >>> text_document("Họ tên: A B; Mã BN: 7\nNgày chụp: 3/1/2024\nLồng ngực: sạch")
    {'Họ tên': 'A B', 'Mã BN': '7', 'Ngày chụp': '3/1/2024', 'Mô tả hình ảnh': 'Lồng ngực: sạch'}
    """
    head: dict[str, str] = {}
    rest: list[str] = []
    titles: dict[str, list[str]] = {_TITLE: [], _UNCLEAR: []}
    lines = [line for line in _lines(text) if not _PAGE.match(line) and not _PAGE_ALONE.match(line)]
    repeated: set[str] = set()
    for number, line in enumerate(lines):
        section = _begins(line)
        if section == EITHER and next((_fields(after) for after in lines[number + 1 :] if after.strip()), None):
            # "KẾT QUẢ CHỤP PET/CT" above the name of the patient is a title.
            section = ""
        if section in _BODY_SECTIONS:
            body = [line for line in lines[number:] if _plain(line) not in repeated]
            rest += _in_one_column(body)
            break
        fields = _fields(line)
        if fields is not None:
            own = [f"{label}: {value}" for label, value in fields if named(label) and not is_administrative(label)]
            head = {label: value for label, value in fields if f"{label}: {value}" not in own} | head
            rest += own
            repeated.add(_plain(line))
        elif not section and (place := _place_of(line, after_text=bool(rest))):
            titles[place].append(line.strip())
            if place == _TITLE:
                repeated.add(_plain(line))
        else:
            rest.append(line)
    else:
        # No heading of findings: a title cannot be told from a finding.
        rest, titles = [*titles[_TITLE], *titles[_UNCLEAR], *rest], {}
    head = {label: value for line in margins.splitlines() for label, value in _fields(line) or ()} | head
    document: dict[str, Any] = {label: value for label, value in head.items() if value}
    document |= {place: "\n".join(found) for place, found in titles.items() if found}
    return {**document, _BODY: "\n".join(rest).strip()}


def _begins(line: str) -> str:
    """Return what the heading that a line begins with stands for; in two columns, that of either."""
    found = [has_heading(line), *map(has_heading, re.split(r"[ ]{3,}", line.strip()))]
    return next((section for section in found if section in _BODY_SECTIONS), found[0])


def _lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\n*\f\n*", "\n", without_markup(text.replace("\r\n", "\n"))).splitlines():
        yield line.rstrip().replace("\u00a0", " ").replace("\ufeff", "")


def _plain(line: str) -> str:
    return " ".join(line.split()).casefold()


def _fields(line: str) -> list[tuple[str, str]] | None:
    """Return the fields of a line of the head; None when it is none: the name of a section may stand among them."""
    found = list(_HEAD_FIELD.finditer(line))
    if not found or found[0].start("label") > len(line) - len(line.lstrip()):
        return None
    administrative = [is_administrative(match["label"]) for match in found]
    if not any(administrative) or not all(
        known or named(match["label"]) for known, match in zip(administrative, found, strict=True)
    ):
        return None
    return [
        (match["label"].strip(), line[match.end() : following.start() if following else len(line)].strip(" \t\r\n;,|-"))
        for match, following in zip(found, [*found[1:], None], strict=True)
    ]


@cache
def _words(kind: str, *, of_several: bool = False) -> re.Pattern[str]:
    words = [bare(word) for word in table()["lines"][kind]]
    return re.compile(rf"\b(?:{'|'.join(word for word in words if ' ' in word or not of_several)})\b")


def _place_of(line: str, *, after_text: bool) -> str:
    """Return where a line before the findings belongs: with the titles, with what is unclear, or nothing: the text.

    A title is in capitals, or stands above all text and has a word of titles; a finding has words of findings.
    """
    letters = [character for character in line if character.isalpha()]
    if not letters or ":" in line:
        return "" if letters or after_text else _TITLE
    words = bare(line)
    in_capitals = all(c.isupper() for c in letters)
    # In capitals a single syllable may be of a name ("NGUYỄN VĂN KHỐI").
    if _words("finding", of_several=in_capitals).search(words) and not (in_capitals and _words("title").search(words)):
        return ""
    if in_capitals:
        return _TITLE
    if after_text or line.rstrip().endswith("."):
        return ""
    return _TITLE if _words("title").search(words) else _UNCLEAR


def _in_one_column(lines: list[str]) -> Iterable[str]:
    """Return lines of two columns one column after the other, when the right one has headings of its own."""
    filled = [line for line in lines if line.strip()]
    gaps = [match.span() for line in filled if "   " in line for match in _GUTTER.finditer(line)]
    if len(filled) < _MIN_COLUMN_LINES or not gaps:
        return lines
    best: tuple[int, int] | None = None
    for at in sorted({end for _, end in gaps}):
        both = sum(
            line[:at].strip() != "" and line[at - 3 : at] == "   " and line[at : at + 1].strip() != ""
            for line in filled
        )
        crossing = sum(len(line) > at and line[at - 2 : at].strip() != "" for line in filled)
        right = [line[at:].strip() for line in filled if line[at:].strip()]
        if (
            both >= _MIN_BOTH * len(filled)
            and crossing <= _MAX_CROSSING * len(filled)
            and any(has_heading(text) in _BODY_SECTIONS for text in right)
            and (best is None or both > best[0])
        ):
            best = (both, at)
    if best is None:
        return lines
    at = best[1]
    left, right = [], []
    for line in lines:
        if len(line) > at and line[at - 2 : at].strip():
            left.append(line)
            continue
        left.append(line[:at].rstrip())
        right.append(line[at:].strip())
    return [*left, *right]
