"""Rewriting one data set: rules applied at every depth, untouched elements left as the bytes they were.

Runs of untouched elements are copied as one slice. What becomes of a value is decided once per study: the slices of a
series repeat most of their header.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from petct_cli.dicom.deid.charset import decode_text, encode_text
from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.layouts import Repeats
from petct_cli.dicom.deid.pieces import Piece, Pieces, join
from petct_cli.dicom.deid.plans import CHARSET, CODED_VRS, is_graphics, plan_for
from petct_cli.dicom.deid.profile import Choice, Profile, SafePrivate, load_profile
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.deid.syntax import (
    IMPLICIT,
    ITEM,
    ITEM_END,
    MAX_DEPTH,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    DicomSyntaxError,
    Element,
    Syntax,
    encode_element,
    encode_head,
    parse,
    too_deep,
    whole_items,
)
from petct_cli.dicom.deid.values import cap_age, dummy, shift_dates
from petct_cli.dicom.deid.vrs import is_standard_uid, meant_vr

_LARGEST_REMEMBERED = 4096

Clean = Callable[[str], str]
Find = Callable[[str], object]


class Outcome(NamedTuple):
    """What an element becomes: None for as it is, else its new bytes (nothing when removed), and what it counts as."""

    chunk: bytes | None
    counts: tuple[tuple[str, int], ...]


_KEPT = Outcome(None, ())
_REMOVED = Outcome(b"", (("removed", 1),))
_FIRST_CREATOR, _LAST_CREATOR = 0x10, 0xFF
_FIRST_GRAPHICS_GROUP, _FIRST_OVERLAY_GROUP, _OVERLAY_TYPE = 0x5000, 0x6000, 0x0040
_NUMBERS = re.compile(rb"[0-9+\-.eE\\ \0]*")
_TIMES = re.compile(rb"[0-9:.\\ \0\-]*")


class _Decided(NamedTuple):
    """What became of one public element, and where its new bytes stand among the pieces of its level."""

    outcome: Outcome
    place: int


class _Rewritten(NamedTuple):
    """A data set that was rewritten, from which another one of its layout differs in some values.

    `decided` goes by the start of an element; private ones and graphics, which depend on others, are not in it.
    """

    sop_class: str
    inserts: dict[int, tuple[bytes, bytes]]
    level: _Level
    pieces: list[Piece]
    counts: Counter[str]


@dataclass
class _Level:
    """Where rewriting is: the bytes, how they are laid out, and the rules for objects of this class at this depth."""

    buffer: Buffer
    syntax: Syntax
    charset: bytes
    profile: Profile
    sop_class: str
    depth: int
    decided: dict[int, _Decided] = field(default_factory=dict)

    @property
    def top(self) -> bool:
        return self.depth == 0


@dataclass
class Rewriter:
    """Applies a profile to the objects of one study.

    Parameters
    ----------
    choice
        The profile and its options.
    key, patient
        What pseudonyms and the day offset derive from; `patient` is PatientID + IssuerOfPatientID or, without them, the
        StudyInstanceUID.
    patient_id
        The study's PatientID: where it stands again, at any depth, it gets the same pseudonym.
    clean
        Takes identifying text out of a descriptor.
    find
        Finds the study's own values in a text: what is true makes a technical element be cleaned, too.

    Attributes
    ----------
    counts
        How many elements were treated, by action.
    written
        (tag, value) of everything that petct itself wrote: dates, UIDs, pseudonyms. No leak, whatever it looks like.
    """

    key: Key
    choice: Choice | str
    patient: str
    patient_id: str
    clean: Clean
    find: Find
    manufacturer: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    written: set[tuple[int, bytes]] = field(default_factory=set)
    _memory: dict[tuple[Syntax, bytes, bool, str], dict[tuple[int, bytes, bytes], Outcome]] = field(
        default_factory=dict
    )
    _plans: dict[tuple[int, bytes, bool, str], str] = field(default_factory=dict)
    _uids: dict[bytes, bytes] = field(default_factory=dict)
    _repeats: Repeats[_Rewritten] = field(default_factory=Repeats)

    def __post_init__(self) -> None:
        keeps = load_profile(self.choice).has("retain_full_dates")
        self.days = 0 if keeps else self.key.day_offset(self.patient)
        self.pseudonym = self.key.patient(self.patient)

    def uid(self, uid: bytes) -> bytes:
        """Return the UID that replaces one value of a UI element; those of the standard itself stay."""
        new = self._uids.get(uid)
        if new is None:
            text = uid.decode("latin-1").strip(" \0")
            new = self._uids[uid] = (text if is_standard_uid(text) or not text else self.key.uid(text)).encode()
        return new

    def data_set(self, dicom: DicomBytes, sop_class: str, inserts: dict[int, tuple[bytes, bytes]]) -> list[Piece]:
        """Return a top-level data set as pieces: new bytes, or (start, end) ranges of its buffer that stay.

        Parameters
        ----------
        inserts
            (VR, value) by tag of the elements that are written whatever the input holds.
        """
        repeat = self._repeats.find(dicom.layout, dicom.buffer)
        if repeat is not None:
            pieces = self._like(*repeat, dicom.buffer, sop_class, inserts)
            if pieces is not None:
                return pieces
        profile = load_profile(self.choice, sop_class)
        level = _Level(dicom.buffer, dicom.syntax, b"", profile, sop_class, depth=0)
        before, self.counts = self.counts, Counter()
        try:
            pieces = self._all(level, dicom.elements, inserts)
        finally:
            counts, self.counts = self.counts, before
            self.counts.update(counts)
        self._repeats.remember(
            dicom.layout, dicom.buffer, _Rewritten(sop_class, inserts, replace(level, buffer=b""), pieces, counts)
        )
        return pieces

    def _all(self, level: _Level, elements: list[Element], inserts: dict[int, tuple[bytes, bytes]]) -> list[Piece]:
        pieces = Pieces()
        kept = [element for element in elements if element.tag not in inserts]
        at = 0
        for tag in sorted(inserts):
            start = at
            while at < len(kept) and kept[at].tag < tag:
                at += 1
            self._rewrite(level, kept[start:at], pieces)
            vr, value = inserts[tag]
            self.written.add((tag, value.rstrip(b" \0")))
            head = encode_head(tag, vr, len(value), level.syntax) + value if vr == b"SQ" else None
            pieces.put(head or encode_element(tag, vr, value, level.syntax))
        self._rewrite(level, kept[at:], pieces)
        return pieces.finished()

    def _like(
        self,
        first: _Rewritten,
        changed: list[Element],
        buffer: Buffer,
        sop_class: str,
        inserts: dict[int, tuple[bytes, bytes]],
    ) -> list[Piece] | None:
        """Return the pieces of a data set like one before it; None where they cannot be told from `changed` alone."""
        if first.sop_class != sop_class or first.inserts != inserts:
            return None
        level = replace(first.level, buffer=buffer)
        memory = self._memory_of(level)
        pieces = list(first.pieces)
        counts = first.counts.copy()
        for element in changed:
            if element.tag in inserts:
                continue
            decided = first.level.decided.get(element.start)
            if decided is None or element.tag <= CHARSET:
                return None
            old, new = decided.outcome, self._element(level, element, memory)
            if (old.chunk is None) != (new.chunk is None) or bool(old.chunk) != bool(new.chunk):
                return None
            if new.chunk:
                pieces[decided.place] = new.chunk
            if old.counts != new.counts:
                counts.subtract(dict(old.counts))
                counts.update(dict(new.counts))
        self.counts.update(counts)
        return pieces

    def _memory_of(self, level: _Level) -> dict[tuple[int, bytes, bytes], Outcome]:
        return self._memory.setdefault((level.syntax, level.charset, level.top, level.sop_class), {})

    def _rewrite(self, level: _Level, elements: list[Element], pieces: Pieces) -> None:
        """Append what becomes of `elements`, which follow each other on one level."""
        buffer = level.buffer
        for element in elements:
            if element.tag >= CHARSET:
                if element.tag == CHARSET:
                    level.charset = buffer[element.value : element.value_end]
                break
        memory = self._memory_of(level)
        private: list[Element] = []
        for element in elements:
            group = element.tag >> 16
            if private and private[0].tag >> 16 != group:
                self._private(level, private, pieces)
                private = []
            if group & 1:
                private.append(element)
                continue
            if group >= _FIRST_GRAPHICS_GROUP and self._is_unsafe_graphic(level, elements, element.tag):
                self.counts["graphics_removed"] += 1
                pieces.put(b"")
                continue
            outcome = self._element(level, element, memory)
            place = -1
            if outcome.chunk is None:
                pieces.keep(element.start, element.end)
            else:
                for name, number in outcome.counts:
                    self.counts[name] += number
                place = pieces.put(outcome.chunk)
            if group < _FIRST_GRAPHICS_GROUP:
                level.decided[element.start] = _Decided(outcome, place)
        if private:
            self._private(level, private, pieces)

    def _is_unsafe_graphic(self, level: _Level, elements: list[Element], tag: int) -> bool:
        """Say whether `tag` is of an overlay that may show text: only one that outlines a region (type R) may stay."""
        if not is_graphics(tag) or tag >> 16 < _FIRST_OVERLAY_GROUP:
            return False
        kind = next((e for e in elements if e.tag == tag & 0xFFFF0000 | _OVERLAY_TYPE), None)
        return kind is None or level.buffer[kind.value : kind.value_end].strip(b" \0") != b"R"

    def _element(self, level: _Level, element: Element, memory: dict[tuple[int, bytes, bytes], Outcome]) -> Outcome:
        """Decide on one public element."""
        tag, vr = element.tag, element.vr
        plan_key = (tag, vr, level.top, level.sop_class)
        plan = self._plans.get(plan_key)
        if plan is None:
            plan = self._plans[plan_key] = plan_for(tag, vr, level.profile, top=level.top)
        if plan == "keep":
            return _KEPT
        if plan == "drop":
            return _REMOVED
        # With its delimiter, which is part of what is decided on.
        raw = level.buffer[element.value : element.end]
        remembered = memory.get((tag, vr, raw))
        if remembered is None:
            if plan == "recurse":
                remembered = self._sequence(level, element)
            else:
                value = level.buffer[element.value : element.value_end]
                remembered = self._value(plan, tag, vr, value, level.charset, level.syntax)
            if len(raw) <= _LARGEST_REMEMBERED:
                memory[tag, vr, raw] = remembered
        return remembered

    def _value(self, plan: str, tag: int, vr: bytes, value: bytes, charset: bytes, syntax: Syntax) -> Outcome:
        """Return what becomes of a value; it says the same for the same value everywhere in a study."""
        bare = value.rstrip(b" \0")
        kind = meant_vr(tag, vr)
        name = plan
        new: bytes | None
        counts: tuple[tuple[str, int], ...] = ()
        if plan == "uid":
            new = b"\\".join(self.uid(part) for part in bare.split(b"\\")) if bare else None
            name = "uids_replaced"
        elif plan in ("date", "full_date"):
            new, unread = shift_dates(value, self.days)
            name, counts = "dates_shifted", (("dates_emptied", unread),) if unread else ()
        elif plan == "age":
            new, name = cap_age(value), "ages_capped"
        elif plan == "empty":
            new, name = b"", "emptied"
        elif plan == "dummy":
            # A sequence that must have a value keeps one empty item: what its codes name may be a person.
            new, name = encode_head(ITEM, b"", 0, syntax) if kind == b"SQ" else dummy(kind), "replaced"
        elif plan == "number":
            allowed = _TIMES if kind == b"TM" else _NUMBERS
            new, name = (None if allowed.fullmatch(value) else b""), "no_numbers_emptied"
        elif plan == "patient":
            new, name = self._other_patient(decode_text(bare, charset)).encode(), "replaced"
        elif plan == "clean" or self.find(decode_text(bare, charset)):
            new, name = self._cleaned(bare, charset, kind), "text_cleaned"
        else:
            return _KEPT
        if new is None:
            return _KEPT
        if plan not in ("clean", "technical", "empty", "number"):
            self.written.add((tag, new.rstrip(b" \0")))
        if new == bare:
            return _KEPT
        return Outcome(encode_element(tag, vr, new, syntax), ((name, 1), *counts))

    def _other_patient(self, value: str) -> str:
        """Return the pseudonym for a PatientID or PatientName inside a sequence."""
        text = unicodedata.normalize("NFC", value).strip(" \0")
        return self.pseudonym if text in ("", self.patient_id) else self.key.patient(text)

    def _cleaned(self, value: bytes, charset: bytes, vr: bytes) -> bytes | None:
        if not value:
            return None
        text = decode_text(value, charset)
        cleaned = self.clean(text)
        if cleaned == text:
            return None
        if vr in CODED_VRS:
            return b""
        return encode_text(cleaned, charset)

    def _sequence(self, level: _Level, element: Element) -> Outcome:
        """Rewrite the items of a sequence; as it is when nothing in it changes."""
        if level.depth >= MAX_DEPTH:
            raise too_deep()
        buffer = level.buffer
        inner = IMPLICIT if element.vr == b"UN" else level.syntax
        before = self.counts
        self.counts = Counter()
        body: list[bytes] = []
        changed = False
        try:
            for item in whole_items(buffer, element.value, element.value_end, inner):
                pieces = Pieces()
                below = _Level(buffer, inner, level.charset, level.profile, level.sop_class, level.depth + 1)
                self._rewrite(below, parse(buffer, item.value, item.value_end, inner), pieces)
                # The four bytes after a delimiter's tag are its length, nought, and a place to hide.
                changed |= pieces.changed or any(buffer[item.value_end + 4 : item.end])
                content = join(buffer, pieces.finished())
                body.append(encode_head(ITEM, b"", UNDEFINED if item.undefined else len(content), inner))
                body.append(content)
                if item.undefined:
                    body.append(encode_head(ITEM_END, b"", 0, inner))
        except DicomSyntaxError:
            # A sequence that cannot be read cannot be cleaned.
            self.counts = before
            return Outcome(b"", (("sequences_unreadable", 1),))
        counts, self.counts = self.counts, before
        changed |= any(buffer[element.value_end + 4 : element.end])
        if not changed:
            return _KEPT
        value = b"".join(body)
        length = UNDEFINED if element.undefined else len(value)
        if element.undefined:
            value += encode_head(SEQUENCE_END, b"", 0, inner)
        head = encode_head(element.tag, element.vr, length, level.syntax)
        return Outcome(head + value, tuple(sorted(counts.items())))

    def _private(self, level: _Level, elements: list[Element], pieces: Pieces) -> None:
        """Keep of one private group the safe elements and the creators they belong to; the rest goes."""
        buffer = level.buffer
        creators: dict[int, tuple[str, Element]] = {}
        kept: dict[int, list[bytes]] = {}
        for element in elements:
            number = element.tag & 0xFFFF
            if _FIRST_CREATOR <= number <= _LAST_CREATOR:
                name = buffer[element.value : element.value_end].decode("latin-1").strip(" \0")
                creators[number] = (name, element)
                continue
            rule = self._safe_rule(level.profile, element.tag, creators.get(number >> 8))
            chunk = self._safe_value(level, element, rule) if rule is not None else None
            if chunk is None:
                self.counts["private_removed"] += 1
                continue
            self.counts["private_kept"] += 1
            if number >> 8 not in creators:
                self.counts["private_kept_without_creator"] += 1
            kept.setdefault(number >> 8, []).append(chunk)
        for block in kept:
            if block in creators:
                creator = creators[block][1]
                pieces.put(buffer[creator.start : creator.end])
        for chunks in kept.values():
            pieces.put(b"".join(chunks))
        # What stays stands where it stood, yet counts as a change: the group was taken apart.
        pieces.changed = True

    def _safe_rule(self, profile: Profile, tag: int, creator: tuple[str, Element] | None) -> SafePrivate | None:
        for rule in profile.safe_private:
            if rule.group != tag >> 16 or tag & 0xFF not in rule.elements:
                continue
            if creator is not None and creator[0].casefold() == rule.creator.casefold():
                return rule
            if creator is None and rule.manufacturer in self.manufacturer.lower():
                return rule
        return None

    def _safe_value(self, level: _Level, element: Element, rule: SafePrivate) -> bytes | None:
        buffer, syntax = level.buffer, level.syntax
        value = buffer[element.value : element.value_end]
        if rule.content == "date":
            new, unread = shift_dates(value, self.days)
            if unread or not new:
                return None
            self.counts["dates_shifted"] += 1
            self.written.add((element.tag, new))
            padding = value[len(value.rstrip(b" \0")) :]
            return encode_element(element.tag, element.vr, new + padding, syntax)
        try:
            float(value.rstrip(b" \0"))
        except ValueError:
            # A binary number of a float VR is a number, too; anything else is no SUV factor.
            if element.vr not in (b"FL", b"FD"):
                return None
        return buffer[element.start : element.end]
