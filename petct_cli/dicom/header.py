"""A DICOM header that stays raw: values are decoded when they are asked for, by tag.

Reading a header of 80 elements this way costs a fraction of building 80 objects, and a series has hundreds of headers
of which a few values each are looked at. What is odd (big endian, deflated, no File Meta Information, elements out of
order, a VR that the standard does not know, damage) is left to pydicom; `petct_cli.dicom.values` reads both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from struct import Struct, unpack
from struct import error as struct_error
from typing import Any, NamedTuple

from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.syntax import (
    EXPLICIT,
    IMPLICIT,
    PIXEL_TAGS,
    SEQUENCE_END,
    Buffer,
    DicomSyntaxError,
    Element,
    Syntax,
    element_at,
    items,
    parse,
)
from petct_cli.dicom.deid.vrs import KNOWN_VRS, LONG_VRS, vr_of

_PREAMBLE = 132
_PIXELS_BEGIN = frozenset(Struct("<HH").pack(tag >> 16, tag & 0xFFFF) for tag in PIXEL_TAGS)
_IMPLICIT_LE, _EXPLICIT_LE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
# JPEG family and RLE, deflated frames: each compressed syntax has an explicit little-endian data set (PS3.5 A.4).
_COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.")
_TRANSFER_SYNTAX, _MEDIA_CLASS, _CHARSET = 0x00020010, 0x00020002, 0x00080005
_SIGN = 0x00280103
# What the dictionary calls "US or SS": the sign of the pixels decides (PS3.5 annex A.1).
_SIGNED_AS_PIXELS = frozenset(range(0x00280106, 0x00280112)) | {0x00280120, 0x00280121}
_LONG_TEXT = frozenset({b"LT", b"ST", b"UT", b"UR"})
_BINARY = {b"US": "H", b"SS": "h", b"UL": "L", b"SL": "l", b"FL": "f", b"FD": "d", b"UV": "Q", b"SV": "q"}
_OPAQUE = frozenset({b"SQ", b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"AT"})
_EXPLICIT_HEAD, _IMPLICIT_HEAD = Struct("<HH2sH"), Struct("<HHL")
_MOST_LAYOUTS = 12


class UndecidedError(ValueError):
    """These bytes do not settle it: there are too few, or what they say is odd."""


class Table(dict[int, Element]):
    """Where the elements of a data set stand, by tag; headers that lie alike share it."""

    def __init__(self, elements: Iterable[Element]) -> None:
        super().__init__((element.tag, element) for element in elements)
        self._groups: dict[int, list[int]] = {}

    def private(self, group: int) -> list[int]:
        """Return the tags of a group, ascending."""
        if group not in self._groups:
            self._groups[group] = sorted(tag for tag in self if tag >> 16 == group)
        return self._groups[group]


class Header:
    """One data set, or one item of a sequence in it, as raw bytes with a table of where each element stands."""

    __slots__ = ("_charset", "_data", "_explicit", "_table")

    def __init__(self, data: bytes, table: Table, *, explicit: bool, charset: bytes = b"") -> None:
        self._data = data
        self._table = table
        self._explicit = explicit
        own = table.get(_CHARSET)
        self._charset = charset if own is None else data[own.value : own.value_end]

    def tags(self) -> Iterable[int]:
        """Return the tags of all elements."""
        return self._table.keys()

    def is_start_of(self, data: Buffer | memoryview) -> bool:
        """Say whether a file begins with these bytes."""
        return data[: len(self._data)] == self._data

    def raw(self, tag: int) -> bytes | None:
        """Return the bytes of a value; None when the element is absent."""
        element = self._table.get(tag)
        return None if element is None else self._data[element.value : element.value_end]

    def strings(self, tag: int) -> tuple[str, ...]:
        """Return every value of an element as stripped text, empty ones too; nothing for sequences and bulk data."""
        element = self._table.get(tag)
        if element is None:
            return ()
        vr = element.vr if element.vr != b"UN" else vr_of(tag)
        if vr == b"US" and tag in _SIGNED_AS_PIXELS and not self._explicit and self.raw(_SIGN) == b"\1\0":
            vr = b"SS"
        return _strings(vr, self._data[element.value : element.value_end], self._charset)

    def items(self, tag: int) -> list[Header]:
        """Return the items of a sequence; none when it is absent, empty or damaged."""
        element = self._table.get(tag)
        if element is None or (element.vr != b"SQ" and vr_of(tag) != b"SQ"):
            return []
        raw = self._data[element.value : element.value_end]
        explicit = self._explicit
        if element.vr == b"UN":  # PS3.5 6.2.2 note 2: what was unknown on the way is implicit inside
            explicit = not element.undefined and raw[12:14] in KNOWN_VRS
        return list(_items(raw, explicit, self._charset))

    def private(self, group: int, element: int) -> list[tuple[str, str]]:
        """Return (creator, text) of every private element with this low byte, block by block."""
        found = []
        for tag in self._table.private(group):
            low = tag & 0xFFFF
            if low >= 0x1000 and low & 0xFF == element:
                creator = " ".join(self.strings(group << 16 | low >> 8)[:1])
                found.append((creator, self._private_text(tag, creator)))
        return found

    def _private_text(self, tag: int, creator: str) -> str:
        element = self._table[tag]
        vr, raw = element.vr, self._data[element.value : element.value_end]
        if vr == b"UN":
            vr = _private_vr(tag, creator)
        return next(iter(_strings(vr, raw, self._charset)), "") if vr in _BINARY else raw.decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class LayeredHeader:
    """The header of one frame of a multi-frame object: `own` values by keyword, else the first layer that has one.

    A None in `own` hides what the layers say.
    """

    layers: tuple[Any, ...]
    own: dict[str, Any]


@lru_cache(maxsize=64)
def _items(raw: bytes, explicit: bool, charset: bytes) -> tuple[Header, ...]:
    syntax = EXPLICIT if explicit else IMPLICIT
    try:
        found = items(raw, 0, len(raw), syntax)
        tables = [Table(parse(raw, one.value, one.value_end, syntax)) for one in found]
    except (DicomSyntaxError, struct_error, IndexError):
        return ()
    return tuple(Header(raw, table, explicit=explicit, charset=charset) for table in tables)


@lru_cache(maxsize=256)
def _private_vr(tag: int, creator: str) -> bytes:
    from pydicom.datadict import private_dictionary_VR

    try:
        return str(private_dictionary_VR(tag, creator)).encode()[:2]
    except KeyError:
        return b"UN"


@lru_cache(maxsize=4096)
def _strings(vr: bytes, raw: bytes, charset: bytes) -> tuple[str, ...]:
    if vr in _OPAQUE:
        return ()
    code = _BINARY.get(vr)
    if code is not None:
        return tuple(map(str, _unpacked(code, raw)))
    text = decode_text(raw, charset) if not raw.isascii() or b"\x1b" in raw else raw.decode("ascii")
    if vr in _LONG_TEXT or "\\" not in text:
        return (text.strip(" \0"),)
    return tuple(part.strip(" \0") for part in text.split("\\"))


def _unpacked(code: str, raw: bytes) -> tuple[Any, ...]:
    size = Struct("<" + code).size
    count = len(raw) // size
    return unpack(f"<{count}{code}", raw[: count * size])


class _Layout(NamedTuple):
    """One arrangement of a header: the bytes between its values, and what they were read as."""

    stop: int
    head: bytes
    between: Callable[[bytes], Any]
    bytes_between: Any
    table: Table
    undefined: tuple[tuple[Element, bytes], ...]
    syntax: Syntax
    transfer_syntax: str


class FileHeader(NamedTuple):
    """What stands before the pixel data of a file, and at which offset these begin.

    Attributes
    ----------
    media_class
        Media Storage SOP Class UID (0002,0002), nothing when it is absent.
    """

    header: Header
    transfer_syntax: str
    media_class: str
    stop: int


class HeaderReader:
    """Reads headers from the first bytes of files, and knows again those that lie like one before."""

    def __init__(self) -> None:
        self._layouts: list[_Layout] = []

    def read(self, data: bytes, *, whole: bool) -> FileHeader:
        """Return the header in `data`, the first bytes of a file or the `whole` of it.

        Raises
        ------
        UndecidedError
        """
        for place, layout in enumerate(self._layouts):
            if data[layout.stop : layout.stop + 8] == layout.head and layout.between(data) == layout.bytes_between:
                if not _same_sequences(data, layout):
                    continue
                if place:
                    self._layouts.insert(0, self._layouts.pop(place))
                return _file_header(data, layout)
        try:
            layout = _layout_of(data, whole=whole)
        except (DicomSyntaxError, struct_error, IndexError):
            raise UndecidedError from None
        if layout.head:  # an object without pixels says nothing about where its end is
            self._layouts.insert(0, layout)
            del self._layouts[_MOST_LAYOUTS:]
        return _file_header(data, layout)


def _file_header(data: bytes, layout: _Layout) -> FileHeader:
    table = layout.table
    kept = data[: layout.stop]
    media = table.get(_MEDIA_CLASS)
    media_class = "" if media is None else kept[media.value : media.value_end].decode("latin-1").strip(" \0")
    header = Header(kept, table, explicit=layout.syntax.explicit)
    return FileHeader(header, layout.transfer_syntax, media_class, layout.stop)


def _same_sequences(data: bytes, layout: _Layout) -> bool:
    """Say whether sequences of undefined length end where they did: their items tell, unless they are the same."""
    try:
        return all(
            data[e.value : e.end] == raw or element_at(data, e.start, len(data), _syntax_at(e, layout)) == e
            for e, raw in layout.undefined
        )
    except (DicomSyntaxError, struct_error, IndexError):
        return False


def _syntax_at(element: Element, layout: _Layout) -> Syntax:
    return EXPLICIT if element.tag >> 16 == 2 else layout.syntax


def _layout_of(data: bytes, *, whole: bool) -> _Layout:
    if data[_PREAMBLE - 4 : _PREAMBLE] != b"DICM":
        raise UndecidedError
    meta, body = _elements(data, _PREAMBLE, EXPLICIT, range(0x00020000, 0x00030000), whole=whole)
    named = next((element for element in meta if element.tag == _TRANSFER_SYNTAX), None)
    if named is None:
        raise UndecidedError
    transfer_syntax = data[named.value : named.value_end].decode("latin-1").strip(" \0")
    syntax = syntax_of(transfer_syntax, data[body + 4 : body + 6])
    elements, stop = _elements(data, body, syntax, range(0x00030000, min(PIXEL_TAGS)), whole=whole)
    if stop < len(data) and data[stop : stop + 4] not in _PIXELS_BEGIN:
        raise UndecidedError  # a damaged tag, or one out of order
    everything = [*meta, *elements]
    ranges = [slice(element.start, element.value) for element in everything]
    ranges += [slice(element.value_end, element.end) for element in everything if element.undefined]
    ranges.append(slice(named.value, named.value_end))
    between = itemgetter(*ranges)
    undefined = tuple((e, data[e.value : e.end]) for e in everything if e.undefined)
    head = data[stop : stop + 8]
    return _Layout(stop, head, between, between(data), Table(everything), undefined, syntax, transfer_syntax)


def syntax_of(transfer_syntax: str, vr: bytes) -> Syntax:
    """Return how a data set is laid out.

    Parameters
    ----------
    vr
        What stands where its first element has its VR, if it has any.

    Raises
    ------
    UndecidedError
        Neither implicit nor explicit little endian, or not what the first element shows: some files lie about it.
    """
    if transfer_syntax == _IMPLICIT_LE:
        syntax = IMPLICIT
    elif transfer_syntax == _EXPLICIT_LE or transfer_syntax.startswith(_COMPRESSED):
        syntax = EXPLICIT
    else:
        raise UndecidedError
    if (vr in KNOWN_VRS) != syntax.explicit:
        raise UndecidedError
    return syntax


def _elements(data: bytes, position: int, syntax: Syntax, tags: range, *, whole: bool) -> tuple[list[Element], int]:
    """Return the elements among `tags`, which must ascend, and where the first one beyond them starts."""
    found: list[Element] = []
    before, last, end, explicit = tags.start - 1, tags.stop - 1, len(data), syntax.explicit
    unpack_head = (_EXPLICIT_HEAD if explicit else _IMPLICIT_HEAD).unpack_from
    while True:
        if position == end and whole:
            return found, position
        vr = b""
        if explicit:
            group, number, vr, length = unpack_head(data, position)
        else:
            group, number, length = unpack_head(data, position)
        tag = group << 16 | number
        if tag > last:
            return found, position
        if tag <= before or tag == SEQUENCE_END or (explicit and vr not in KNOWN_VRS):
            raise UndecidedError
        before = tag
        if vr in LONG_VRS or (not explicit and length == 0xFFFFFFFF):
            element = element_at(data, position, end, syntax)
        else:
            stop = position + 8 + length
            if stop > end:
                raise UndecidedError
            element = Element(tag, vr or vr_of(tag), position, position + 8, stop, stop, False)
        found.append(element)
        position = element.end
