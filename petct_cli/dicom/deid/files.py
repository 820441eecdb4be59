"""DICOM files as they lie on disk: File Meta Information, data set, and where the elements of both stand (PS3.10)."""

from __future__ import annotations

import mmap
import os
import unicodedata
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from struct import error as struct_error

from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.layouts import Layout, Layouts, first_by_tag
from petct_cli.dicom.deid.syntax import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    Buffer,
    DicomSyntaxError,
    Element,
    Syntax,
    element_at,
    parse,
)
from petct_cli.dicom.deid.vrs import KNOWN_VRS

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
LARGEST_READ = 1 << 24
"""Reading a slice whole costs a third of mapping it: every page of a map is a fault."""


@dataclass(frozen=True)
class DicomBytes:
    """One file as found on disk.

    Attributes
    ----------
    buffer
        The bytes that `elements` point into: the file itself, or its inflated form.
    meta
        Elements of group 0002, which point into `head`.
    body
        Offset of the first element of the data set in `buffer`.
    layout
        The layout that `buffer` has in common with other files, where it is recognised.
    """

    head: bytes
    meta: list[Element]
    buffer: Buffer
    body: int
    syntax: Syntax
    transfer_syntax: str
    elements: list[Element]
    layout: Layout | None = field(default=None, compare=False, repr=False)

    def meta_value(self, tag: int) -> bytes:
        """Return the raw value of a File Meta element, or nothing."""
        return next((self.head[e.value : e.value_end] for e in self.meta if e.tag == tag), b"")

    @cached_property
    def _by_tag(self) -> dict[int, Element]:
        return first_by_tag(self.elements) if self.layout is None else self.layout.by_tag

    def value(self, tag: int) -> bytes | None:
        """Return the raw value of a top-level element, or None when it is not there."""
        element = self._by_tag.get(tag)
        return None if element is None else self.buffer[element.value : element.value_end]

    def text(self, tag: int) -> str:
        """Return a top-level value of the default repertoire as text without padding."""
        return (self.value(tag) or b"").decode("latin-1").strip(" \0")

    def decoded(self, tag: int) -> str:
        """Return a top-level value as text of the object's own character set, composed (NFC), without padding."""
        text = decode_text((self.value(tag) or b"").strip(b" \0"), self.value(0x00080005) or b"")
        return unicodedata.normalize("NFC", text)

    def number(self, tag: int, default: int) -> int:
        """Return a top-level value of VR US, `default` when it is not there."""
        value = self.value(tag)
        return int.from_bytes(value[:2], "little" if self.syntax.little else "big") if value else default


def read_bytes(path: str | Path) -> Buffer:
    """Return the bytes of a file; one beyond `LARGEST_READ` is mapped, so that a long multi-frame object is not loaded.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > LARGEST_READ:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return file.read()


def read_dicom(path: str | Path) -> DicomBytes:
    """Read where the elements of a file stand.

    Raises
    ------
    DicomSyntaxError
        ``not_dicom``, ``dicom_damaged`` or ``dicom_truncated``.
    OSError
        The file cannot be read.
    """
    return parse_dicom(read_bytes(path))


def parse_dicom(data: Buffer) -> DicomBytes:
    """Do the work of `read_dicom` on bytes."""
    meta: list[Element] = []
    body = 0
    transfer_syntax = ""
    try:
        if data[128:132] == b"DICM":
            meta, body = _file_meta(data)
        elif not _may_be_bare(data):
            raise DicomSyntaxError("not_dicom", "not a DICOM file")
    except (struct_error, IndexError):
        raise DicomSyntaxError("dicom_truncated", "the file ends inside its File Meta Information") from None
    head = data[:body]
    for element in meta:
        if element.tag == 0x00020010:
            transfer_syntax = head[element.value : element.value_end].decode("latin-1").strip(" \0")
    syntax = _SYNTAXES.get(transfer_syntax, EXPLICIT)
    if not transfer_syntax:
        syntax = EXPLICIT if data[body + 4 : body + 6] in KNOWN_VRS else IMPLICIT
        transfer_syntax = EXPLICIT_LE if syntax.explicit else IMPLICIT_LE
    buffer, start = data, body
    if transfer_syntax == DEFLATED_LE:
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            buffer, start = inflater.decompress(data[body:]), 0
        except zlib.error:
            raise DicomSyntaxError("dicom_damaged", "the deflated data set is damaged") from None
        if not inflater.eof:
            raise DicomSyntaxError("dicom_truncated", "the file ends inside its deflated data set")
    elements, layout = _elements_of(buffer, start, syntax, has_meta=bool(meta))
    return DicomBytes(head, meta, buffer, start, syntax, transfer_syntax, elements, layout)


def _elements_of(buffer: Buffer, start: int, syntax: Syntax, *, has_meta: bool) -> tuple[list[Element], Layout | None]:
    """Return the elements of a data set and its layout, where that is one to be recognised."""
    if not isinstance(buffer, bytes):
        return parse(buffer, start, len(buffer), syntax), None
    layout = _LAYOUTS.find(buffer, start, syntax)
    if layout is not None:
        return layout.elements, layout
    try:
        elements = parse(buffer, start, len(buffer), syntax)
    except DicomSyntaxError as error:
        if has_meta or error.code != "dicom_damaged":
            raise
        # Without File Meta it only looked like DICOM.
        raise DicomSyntaxError("not_dicom", "not a DICOM file") from None
    return elements, _LAYOUTS.remember(buffer, start, syntax, elements)


_LAYOUTS = Layouts()


_SYNTAXES = {IMPLICIT_LE: IMPLICIT, EXPLICIT_BE: BIG}


def _may_be_bare(data: Buffer) -> bool:
    """Say whether a file without preamble looks like a data set that starts in group 0008."""
    if len(data) < 12 or data[0:2] != b"\x08\x00":
        return False
    return data[4:6] in KNOWN_VRS or int.from_bytes(data[4:8], "little") <= len(data)


def _file_meta(data: Buffer) -> tuple[list[Element], int]:
    meta: list[Element] = []
    position = 132
    while position + 8 <= len(data) and data[position : position + 2] == b"\x02\x00":
        element = element_at(data, position, len(data), EXPLICIT)
        meta.append(element)
        position = element.end
    return meta, position
