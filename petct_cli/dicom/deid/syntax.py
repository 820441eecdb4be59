"""Data elements as ranges of raw bytes: where each stands, without decoding its value (PS3.5 section 7)."""

from __future__ import annotations

import mmap
from struct import Struct
from typing import NamedTuple

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.vrs import KNOWN_VRS, LONG_VRS, vr_of

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_TAGS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})
MAX_DEPTH = 64

Buffer = bytes | mmap.mmap


class Element(NamedTuple):
    """One element: its tag, its VR, where it starts, where its value starts and where value and element end.

    For undefined lengths the value ends before, and the element after, the delimiter.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    value_end: int
    end: int
    undefined: bool


class Syntax(NamedTuple):
    """How elements are laid out in bytes."""

    explicit: bool
    little: bool


IMPLICIT = Syntax(explicit=False, little=True)
EXPLICIT = Syntax(explicit=True, little=True)
BIG = Syntax(explicit=True, little=False)


class DicomSyntaxError(RecordError):
    """The bytes do not follow PS3.5: truncated, or no DICOM at all."""


_EXPLICIT_HEAD = {True: Struct("<HH2sH"), False: Struct(">HH2sH")}
_IMPLICIT_HEAD = Struct("<HHL")
_ULONG = {True: Struct("<L"), False: Struct(">L")}


def parse(buffer: Buffer, position: int, end: int, syntax: Syntax, depth: int = 0) -> list[Element]:
    """Return the elements of one data set level between two offsets.

    Sequences are one element each; `items` goes into them.

    Raises
    ------
    DicomSyntaxError
        ``dicom_truncated`` when a value reaches beyond `end`.
    """
    elements: list[Element] = []
    append, new = elements.append, tuple.__new__  # half the time of calling Element
    explicit, little = syntax
    if not explicit:
        unpack = _IMPLICIT_HEAD.unpack_from
        while position + 8 <= end:
            group, number, length = unpack(buffer, position)
            tag = group << 16 | number
            value = position + 8
            if tag == length == 0 and _is_padding(buffer, position, end):
                return elements
            if length == UNDEFINED:
                element = _undefined(buffer, tag, b"SQ", position, value, end, syntax, depth)
            else:
                stop = value + length
                element = Element(tag, vr_of(tag), position, value, stop, stop, False)
                if stop > end:
                    raise _truncated()
            append(element)
            position = element.end
    else:
        unpack_explicit = _EXPLICIT_HEAD[little].unpack_from
        long_vrs = LONG_VRS
        while position + 8 <= end:
            group, number, vr, length = unpack_explicit(buffer, position)
            if vr in long_vrs or vr not in KNOWN_VRS:
                if vr == b"\0\0" and group == number == 0 and _is_padding(buffer, position, end):
                    return elements
                element = _element(buffer, position, end, syntax, depth)
                append(element)
                position = element.end
                continue
            value = position + 8
            stop = value + length
            if stop > end:
                raise _truncated()
            append(new(Element, (group << 16 | number, vr, position, value, stop, stop, False)))
            position = stop
    if position < end and any(buffer[position:end]):
        raise _truncated()
    return elements


def element_at(buffer: Buffer, position: int, end: int, syntax: Syntax) -> Element:
    """Return the element that starts at `position`.

    Raises
    ------
    DicomSyntaxError
        ``dicom_truncated`` when it reaches beyond `end`, ``dicom_damaged`` without a VR.
    """
    if syntax.explicit:
        return _element(buffer, position, end, syntax, 0)
    group, number, length = _IMPLICIT_HEAD.unpack_from(buffer, position)
    tag, value = group << 16 | number, position + 8
    if length == UNDEFINED:
        return _undefined(buffer, tag, b"SQ", position, value, end, syntax, 0)
    if value + length > end:
        raise _truncated()
    return Element(tag, vr_of(tag), position, value, value + length, value + length, False)


def _is_padding(buffer: Buffer, position: int, end: int) -> bool:
    """Say whether nothing but NULs follows: some archives fill files up to whole blocks."""
    return all(not any(buffer[at : min(at + _PADDING_CHUNK, end)]) for at in range(position, end, _PADDING_CHUNK))


_PADDING_CHUNK = 1 << 16


def _truncated() -> DicomSyntaxError:
    return DicomSyntaxError("dicom_truncated", "the file ends in the middle of an element")


def too_deep() -> RecordError:
    """Return the fault of sequences beyond `MAX_DEPTH`; no mere syntax error, which would only cost the sequence."""
    return RecordError("dicom_too_deep", "sequences are nested too deeply")


def _element(buffer: Buffer, position: int, end: int, syntax: Syntax, depth: int) -> Element:
    """Read one explicit element of any VR; an unknown VR is a long one (PS3.5 7.1.2), in damaged files a short one."""
    group, number, vr, length = _EXPLICIT_HEAD[syntax.little].unpack_from(buffer, position)
    tag = group << 16 | number
    if vr in LONG_VRS or (vr not in KNOWN_VRS and length == 0 and vr.isalpha()):
        if position + 12 > end:
            raise _truncated()
        (length,) = _ULONG[syntax.little].unpack_from(buffer, position + 8)
        value = position + 12
        if length == UNDEFINED:
            return _undefined(buffer, tag, vr, position, value, end, syntax, depth)
    elif vr in KNOWN_VRS:
        value = position + 8
    else:
        raise DicomSyntaxError("dicom_damaged", "an element without a VR")
    if value + length > end:
        raise _truncated()
    return Element(tag, vr, position, value, value + length, value + length, False)


def _undefined(
    buffer: Buffer, tag: int, vr: bytes, start: int, value: int, end: int, syntax: Syntax, depth: int
) -> Element:
    """Find the end of an element of undefined length: fragments, or items."""
    if depth > MAX_DEPTH:
        raise too_deep()
    if tag in PIXEL_TAGS or vr in (b"OB", b"OW"):
        stop = _skip_fragments(buffer, value, end, syntax)
    else:
        inner = IMPLICIT if vr == b"UN" else syntax
        stop = value
        for item in items(buffer, value, end, inner, depth):
            stop = item.end
        _expect(buffer, stop, end, inner, SEQUENCE_END)
    return Element(tag, vr, start, value, stop, stop + 8, True)


def _expect(buffer: Buffer, position: int, end: int, syntax: Syntax, wanted: int) -> None:
    if position + 8 > end or _item_head(buffer, position, syntax)[0] != wanted:
        raise _truncated()


def _item_head(buffer: Buffer, position: int, syntax: Syntax) -> tuple[int, int]:
    order = _ULONG[syntax.little]
    if syntax.little:
        group, number, length = _IMPLICIT_HEAD.unpack_from(buffer, position)
        return group << 16 | number, length
    return order.unpack_from(buffer, position)[0], order.unpack_from(buffer, position + 4)[0]


def _skip_fragments(buffer: Buffer, position: int, end: int, syntax: Syntax) -> int:
    while position + 8 <= end:
        tag, length = _item_head(buffer, position, syntax)
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM or position + 8 + length > end:
            break
        position += 8 + length
    raise _truncated()


def items(buffer: Buffer, position: int, end: int, syntax: Syntax, depth: int = 0) -> list[Element]:
    """Return the items of a sequence value between two offsets, as elements of tag (FFFE,E000)."""
    found: list[Element] = []
    while position + 8 <= end:
        tag, length = _item_head(buffer, position, syntax)
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise _truncated()
        value = position + 8
        if length == UNDEFINED:
            stop = _end_of_item(buffer, value, end, syntax, depth + 1)
            found.append(Element(ITEM, b"", position, value, stop, stop + 8, True))
            position = stop + 8
        else:
            stop = value + length
            if stop > end:
                raise _truncated()
            found.append(Element(ITEM, b"", position, value, stop, stop, False))
            position = stop
    return found


def whole_items(buffer: Buffer, position: int, end: int, syntax: Syntax) -> list[Element]:
    """Return the items of a sequence value that fill it to its last byte.

    Raises
    ------
    DicomSyntaxError
        ``dicom_damaged`` when bytes are left beside the items: nobody reads them, and anything can stand there.
    """
    found = items(buffer, position, end, syntax)
    if (found[-1].end if found else position) != end:
        raise DicomSyntaxError("dicom_damaged", "a sequence holds more than its items")
    return found


def _end_of_item(buffer: Buffer, position: int, end: int, syntax: Syntax, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise too_deep()
    while position + 8 <= end:
        if _item_head(buffer, position, syntax)[0] == ITEM_END:
            return position
        if syntax.explicit:
            position = _element(buffer, position, end, syntax, depth).end
            continue
        group, number, length = _IMPLICIT_HEAD.unpack_from(buffer, position)
        if length == UNDEFINED:
            tag = group << 16 | number
            position = _undefined(buffer, tag, b"SQ", position, position + 8, end, syntax, depth).end
        else:
            position += 8 + length
    raise _truncated()


def encode_element(tag: int, vr: bytes, value: bytes, syntax: Syntax) -> bytes:
    """Return one element as bytes, padded to even length as its VR wants."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB", b"UN") else b" "
    group, number = tag >> 16, tag & 0xFFFF
    if not syntax.explicit:
        return _IMPLICIT_HEAD.pack(group, number, len(value)) + value
    if vr in LONG_VRS or vr not in KNOWN_VRS:
        return _EXPLICIT_HEAD[syntax.little].pack(group, number, vr, 0) + _ULONG[syntax.little].pack(len(value)) + value
    if len(value) > 0xFFFF:
        raise RecordError("value_too_long", "a replaced value does not fit its element")
    return _EXPLICIT_HEAD[syntax.little].pack(group, number, vr, len(value)) + value


def encode_head(tag: int, vr: bytes, length: int, syntax: Syntax) -> bytes:
    """Return the head of a sequence element (or, for an empty `vr`, of an item) whose value follows."""
    group, number = tag >> 16, tag & 0xFFFF
    if syntax.explicit and vr:
        return _EXPLICIT_HEAD[syntax.little].pack(group, number, vr, 0) + _ULONG[syntax.little].pack(length)
    order = "<HHL" if syntax.little else ">HHL"
    return Struct(order).pack(group, number, length)
