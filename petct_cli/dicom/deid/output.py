"""One de-identified file: preamble, File Meta Information, the rewritten data set, and proof of what was written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.known import Known
from petct_cli.dicom.deid.pixels import UNTREATED, Treatment
from petct_cli.dicom.deid.profile import Profile, load_profile
from petct_cli.dicom.deid.rewrite import Rewriter, join
from petct_cli.dicom.deid.selection import has_clean_pixels, sop_class_of
from petct_cli.dicom.deid.syntax import (
    DEFLATED_LE,
    EXPLICIT,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT,
    IMPLICIT_LE,
    ITEM,
    PIXEL_TAGS,
    Buffer,
    DicomBytes,
    Element,
    Syntax,
    encode_element,
    encode_head,
    items,
    parse,
    read_dicom,
)

_SOP_INSTANCE = 0x00080018
_NUMERIC = frozenset({b"DS", b"IS", b"FL", b"FD", b"SS", b"SL", b"US", b"UL", b"SV", b"UV", b"AT"})
_SHORTEST_ID_AMONG_NUMBERS = 6
_COMPARED_AT_ONCE = 1 << 22
_PIXEL_DATA, _ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES = (
    0x7FE00010,
    0x00280010,
    0x00280011,
    0x00280002,
    0x00280100,
    0x00280008,
)
_NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE})
IMPLEMENTATION_VERSION = b"PETCT"


def write_deidentified(
    dicom: DicomBytes, target: Path, rewriter: Rewriter, age: str | None, treatment: Treatment = UNTREATED
) -> None:
    """Write `dicom` to `target` by the rules of `rewriter`.

    Parameters
    ----------
    age
        PatientAge derived from the birth date, for objects that have none.
    treatment
        What was done to the pixels of `dicom`.
    """
    sop_class = sop_class_of(dicom)
    profile = load_profile(rewriter.preset, sop_class)
    clean_pixels = profile.has("clean_pixel_data") and has_clean_pixels(dicom)
    inserts = _inserts(dicom, profile, rewriter, treatment, clean_pixels=clean_pixels, age=age)
    pieces = rewriter.data_set(dicom.buffer, dicom.elements, dicom.syntax, sop_class, inserts)
    head = bytes(128) + b"DICM" + _file_meta(dicom, profile, rewriter, sop_class)
    with open(target, "wb", buffering=0) as file:
        if dicom.transfer_syntax == DEFLATED_LE:
            file.write(head + _deflate(join(dicom.buffer, pieces)))
            return
        # Everything but large values goes out in one write; those are handed over as they lie in the input.
        small: list[bytes] = [head]
        for piece in pieces:
            if isinstance(piece, bytes):
                small.append(piece)
            elif piece[1] - piece[0] <= _COMPARED_AT_ONCE:
                small.append(dicom.buffer[piece[0] : piece[1]])
            else:
                _write_all(file, b"".join(small))
                small = []
                for start in range(piece[0], piece[1], _COMPARED_AT_ONCE):
                    _write_all(file, dicom.buffer[start : min(start + _COMPARED_AT_ONCE, piece[1])])
        _write_all(file, b"".join(small))


def _write_all(file: object, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]  # type: ignore[attr-defined]


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = compressor.compress(data) + compressor.flush()
    return packed + b"\0" * (len(packed) % 2)


def _inserts(
    dicom: DicomBytes,
    profile: Profile,
    rewriter: Rewriter,
    treatment: Treatment,
    *,
    clean_pixels: bool,
    age: str | None,
) -> dict[int, tuple[bytes, bytes]]:
    pseudonym = rewriter.pseudonym.encode()
    temporal = (
        b"UNMODIFIED"
        if profile.has("retain_full_dates")
        else b"MODIFIED"
        if profile.has("retain_modified_dates")
        else b"REMOVED"
    )
    inserts: dict[int, tuple[bytes, bytes]] = {
        0x00100010: (b"PN", pseudonym),
        0x00100020: (b"LO", pseudonym),
        0x00120062: (b"CS", b"YES"),
        0x00120063: (b"LO", f"PS3.15 Annex E {profile.edition}; petct profile {profile.name}".encode()),
        0x00120064: (b"SQ", _method_codes(profile, dicom.syntax, treatment, clean_pixels=clean_pixels)),
        0x00280303: (b"CS", temporal),
    }
    if clean_pixels:
        inserts[0x00280301] = (b"CS", b"NO")
    inserts |= treatment.inserts()
    if age is not None and profile.has("retain_patient_characteristics") and not dicom.text(0x00101010):
        inserts[0x00101010] = (b"AS", age.encode())
    return inserts


def _method_codes(profile: Profile, syntax: Syntax, treatment: Treatment, *, clean_pixels: bool) -> bytes:
    body = b""
    for code, meaning in sorted({*profile.codes(clean_pixels=clean_pixels), *treatment.codes()}):
        item = (
            encode_element(0x00080100, b"SH", code.encode(), syntax)
            + encode_element(0x00080102, b"SH", b"DCM", syntax)
            + encode_element(0x00080104, b"LO", meaning[:64].encode(), syntax)
        )
        body += encode_head(ITEM, b"", len(item), syntax) + item
    return body


def _file_meta(dicom: DicomBytes, profile: Profile, rewriter: Rewriter, sop_class: str) -> bytes:
    instance = (dicom.value(_SOP_INSTANCE) or dicom.meta_value(0x00020003)).rstrip(b" \0")
    new = rewriter.uid(instance) if not profile.has("retain_uids") else instance
    rewriter.written.add((0x00020003, new))
    fields = (
        (0x00020001, b"OB", b"\0\1"),
        (0x00020002, b"UI", _uid_or_nothing(sop_class)),
        (0x00020003, b"UI", new),
        (0x00020010, b"UI", _uid_or_nothing(dicom.transfer_syntax)),
        (0x00020012, b"UI", profile.implementation_uid.encode()),
        (0x00020013, b"SH", IMPLEMENTATION_VERSION),
    )
    body = b"".join(encode_element(tag, vr, value, EXPLICIT) for tag, vr, value in fields)
    return encode_element(0x00020000, b"UL", len(body).to_bytes(4, "little"), EXPLICIT) + body


def _uid_or_nothing(uid: str) -> bytes:
    """Return a class or syntax as bytes; what is no UID could be anything."""
    return uid.encode() if re.fullmatch(r"[\d.]{1,64}", uid, re.ASCII) else b""


@dataclass
class ResidualScan:
    """Searches written files for the study's own values. Each distinct value is looked at once.

    Parameters
    ----------
    written
        (tag, value) that petct itself wrote.
    proven
        Cleaned texts that were searched when they were made: a shifted date in them may be another date of the study.
    """

    known: Known
    written: set[tuple[int, bytes]]
    proven: set[str] = field(default_factory=set)
    _seen: set[tuple[int, bytes]] = field(default_factory=set)

    def check(self, source: DicomBytes, target: Path) -> DicomBytes:
        """Read a written file back, compare its pixels with those of `source`, search the rest and return it.

        Raises
        ------
        RecordError
            ``residual_identifier`` or ``pixels_changed``. Neither message names a value.
        """
        result = read_dicom(target)
        if any(result.head[:128]):
            raise RecordError("residual_identifier", "the preamble of a written file is not empty")
        if not _same_pixels(source, result):
            raise RecordError("pixels_changed", "pixel data differ after writing")
        for tag, vr, value, charset in (*_leaves(result), *_beyond_pixels(result)):
            bare = value.rstrip(b" \0")
            if not bare or (tag, value) in self._seen or (tag, bare) in self.written:
                continue
            self._seen.add((tag, value))
            kind = self._hit(bare, vr, charset)
            if kind is not None:
                raise RecordError(
                    "residual_identifier",
                    f"a value of kind {kind} of this patient is left in ({tag >> 16:04X},{tag & 0xFFFF:04X})",
                    "nothing was written for this study",
                )
        return result

    def _hit(self, value: bytes, vr: bytes, charset: bytes) -> str | None:
        for text in _readings(value, charset):
            if text in self.proven:
                return None
            for hit in self.known.find(text):
                among_numbers = vr in _NUMERIC and hit.kind == "id"
                if not among_numbers or hit.end - hit.start >= _SHORTEST_ID_AMONG_NUMBERS:
                    return hit.kind
        return None


def _readings(value: bytes, charset: bytes) -> Iterator[str]:
    """Yield the texts that bytes can be: in the object's character set, in others, in UTF-16 where there are NULs."""
    yield decode_text(value, charset)
    if b"\0" in value:
        yield value.decode("utf-16-le", "replace")
        yield value.decode("utf-16-be", "replace")
        yield value.decode("latin-1")
    elif not value.isascii():
        for encoding in ("utf-8", "latin-1", "cp1258", "gb18030"):
            yield value.decode(encoding, "replace")


def _leaves(dicom: DicomBytes) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yield (tag, VR, value, character set) of every element that is no sequence and no pixels, at every depth."""
    for element in dicom.meta:
        yield element.tag, element.vr, dicom.head[element.value : element.value_end], b""
    yield from _level(dicom.buffer, dicom.elements, dicom.syntax, b"")


def _level(
    buffer: Buffer, elements: list[Element], syntax: Syntax, charset: bytes
) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    for element in elements:
        if element.tag in PIXEL_TAGS:
            continue
        if element.vr == b"SQ" or (element.undefined and element.vr == b"UN"):
            inner = IMPLICIT if element.vr == b"UN" else syntax
            for item in items(buffer, element.value, element.value_end, inner):
                yield from _level(buffer, parse(buffer, item.value, item.value_end, inner), inner, charset)
            continue
        value = buffer[element.value : element.value_end]
        if element.tag == 0x00080005:
            charset = value
        yield element.tag, element.vr, value, charset


def _beyond_pixels(dicom: DicomBytes) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yield what a native PixelData holds beyond its pixels: nobody sees it, and it is copied like them."""
    if dicom.transfer_syntax not in _NATIVE:
        return
    order: Literal["little", "big"] = "little" if dicom.syntax.little else "big"
    bits = 1
    for tag in (_ROWS, _COLUMNS, _SAMPLES, _BITS):
        bits *= int.from_bytes(dicom.value(tag) or b"\1\0", order)
    frames = dicom.text(_FRAMES)
    size = -(-bits * (int(frames) if frames.isdecimal() else 1) // 8)
    for element in dicom.elements:
        if element.tag == _PIXEL_DATA and element.value + size < element.value_end and size:
            yield element.tag, b"UN", dicom.buffer[element.value + size : element.value_end], b""


def _same_pixels(source: DicomBytes, result: DicomBytes) -> bool:
    ours = [(e.value, e.value_end) for e in result.elements if e.tag in PIXEL_TAGS]
    theirs = [(e.value, e.value_end) for e in source.elements if e.tag in PIXEL_TAGS]
    if [end - start for start, end in ours] != [end - start for start, end in theirs]:
        return False
    for (a, end), (b, _) in zip(ours, theirs, strict=True):
        for offset in range(0, end - a, _COMPARED_AT_ONCE):
            size = min(_COMPARED_AT_ONCE, end - a - offset)
            if result.buffer[a + offset : a + offset + size] != source.buffer[b + offset : b + offset + size]:
                return False
    return True
