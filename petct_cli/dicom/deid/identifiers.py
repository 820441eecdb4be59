"""A study's own identifying values, collected from its headers at every depth before they go."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date

from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.profile import Profile
from petct_cli.dicom.deid.syntax import (
    IMPLICIT,
    MAX_DEPTH,
    Buffer,
    DicomSyntaxError,
    Element,
    Syntax,
    items,
    parse,
    too_deep,
)
from petct_cli.dicom.deid.unseen import Unseen
from petct_cli.dicom.deid.vrs import TEXT_VRS, is_standard_uid, meant_vr

_DATE = re.compile(r"(?<!\d)(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_DAY_FIRST = re.compile(r"(?<!\d)(\d{1,2})[.\-/](\d{1,2})[.\-/](\d{4})(?!\d)")
_CHARSET, _BIRTH_DATE = 0x00080005, 0x00100030
_SECTIONS = ("ids", "procedure_ids", "phones", "addresses", "institutions", "departments", "ae_titles", "makers")


@dataclass
class Identifiers:
    """Values by kind. They stay in memory: no record, message or log shows them.

    `births` are dates that are taken out of texts where others are moved: a moved one still tells who is over 89.
    `makers` (makers and models) and `kept` (other values that the profile keeps as they are: station names) are no
    identifiers: an institution or AE title that is named in one of the first, or is one of the second, is none either.
    """

    names: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    institutions: set[str] = field(default_factory=set)
    departments: set[str] = field(default_factory=set)
    ae_titles: set[str] = field(default_factory=set)
    makers: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    dates: set[date] = field(default_factory=set)
    births: set[date] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)


@dataclass
class Collector:
    """Walks headers and adds to `found`; values seen before cost one look-up."""

    profile: Profile
    found: Identifiers = field(default_factory=Identifiers)
    _seen: set[tuple[int, bytes, bytes]] = field(default_factory=set)
    _kinds: dict[tuple[int, bytes], str] = field(default_factory=dict)
    _unseen: Unseen = field(default_factory=Unseen)

    def __post_init__(self) -> None:
        self._tags = {tag: name for name in _SECTIONS for tag in self.profile.tags("identifying", name)}

    def add(self, dicom: DicomBytes) -> None:
        """Collect from one file, its File Meta included."""
        self._level(dicom.head, dicom.meta, Syntax(explicit=True, little=True), b"")
        elements, charset = self._unseen.of(dicom)
        self._level(dicom.buffer, elements, dicom.syntax, charset)

    def _kind(self, tag: int, vr: bytes) -> str:  # noqa: PLR0911  one line per rule
        """Return which set a value belongs to; ``items`` for sequences, nothing for values of no interest."""
        known = meant_vr(tag, vr)
        if known == b"SQ":
            return "items"
        if known == b"PN":
            return "names"
        if self.profile.top.get(tag) == "K" and self._tags.get(tag) != "makers":
            return "kept" if known in TEXT_VRS else ""
        if tag in self._tags:
            return self._tags[tag]
        if known in (b"DA", b"DT"):
            if tag == _BIRTH_DATE:
                return "births"
            return "" if self.profile.has("retain_full_dates") else "dates"
        if known == b"UI" and tag not in self.profile.class_uids and not self.profile.has("retain_uids"):
            return "uids"
        return ""

    def _level(self, buffer: Buffer, elements: list[Element], syntax: Syntax, charset: bytes, depth: int = 0) -> None:
        kinds, seen = self._kinds, self._seen
        for element in elements:
            tag, vr = element.tag, element.vr
            kind = kinds.get((tag, vr))
            if kind is None:
                kind = kinds[tag, vr] = self._kind(tag, vr)
            if tag == _CHARSET:
                charset = buffer[element.value : element.value_end]
            if not kind or (kind == "kept" and depth):
                continue
            value = buffer[element.value : element.value_end]
            if (tag, charset, value) in seen:
                continue
            seen.add((tag, charset, value))
            if kind == "items":
                self._items(buffer, element, syntax, charset, depth + 1)
            else:
                self._value(kind, value, charset)

    def _items(self, buffer: Buffer, element: Element, syntax: Syntax, charset: bytes, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise too_deep()
        inner = IMPLICIT if element.vr == b"UN" else syntax
        try:
            # Not only of sequences in order: what a damaged one says of the patient is looked for, too.
            for item in items(buffer, element.value, element.value_end, inner):
                self._level(buffer, parse(buffer, item.value, item.value_end, inner), inner, charset, depth)
        except DicomSyntaxError:
            return

    def _value(self, kind: str, value: bytes, charset: bytes) -> None:
        for part in decode_text(value.rstrip(b" \0"), charset).split("\\"):
            text = part.strip(" \0")
            if not text:
                continue
            if kind in ("dates", "births"):
                self._date(text, getattr(self.found, kind))
            elif kind == "procedure_ids":
                # Without a digit it is the procedure's code ("PETCT"), not a number of the patient.
                if any(character.isdigit() for character in text):
                    self.found.ids.add(text)
            elif kind == "names":
                # Alphabetic, ideographic and phonetic form (PS3.5 6.2.1) are names of their own.
                self.found.names.update(group.strip("^ ") for group in text.split("=") if group.strip("^ "))
            elif kind != "uids" or not is_standard_uid(text):
                getattr(self.found, kind).add(text)

    def _date(self, text: str, days: set[date]) -> None:
        # A date in another form than DICOM's, or a range of two, is emptied; elsewhere it must be known.
        found = [match.groups() for match in _DATE.finditer(text)]
        found += [match.groups()[::-1] for match in _DAY_FIRST.finditer(text)]
        for year, month, day in found:
            with suppress(ValueError):
                days.add(date(int(year), int(month), int(day)))
