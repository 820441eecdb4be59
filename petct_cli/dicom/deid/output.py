"""One de-identified file: preamble, File Meta Information, the rewritten data set, and proof of what was written."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from petct_cli.core.errors import RecordError
from petct_cli.core.store import start_writing_back
from petct_cli.dicom.deid.beside_pixels import beside_pixels
from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.files import DEFLATED_LE, DicomBytes, read_dicom
from petct_cli.dicom.deid.known import Hit, Known
from petct_cli.dicom.deid.pieces import join
from petct_cli.dicom.deid.profile import Choice, Profile, load_profile
from petct_cli.dicom.deid.rewrite import Rewriter
from petct_cli.dicom.deid.selection import has_clean_pixels, sop_class_of
from petct_cli.dicom.deid.syntax import (
    EXPLICIT,
    IMPLICIT,
    ITEM,
    PIXEL_TAGS,
    Buffer,
    Element,
    Syntax,
    encode_element,
    encode_head,
    parse,
    whole_items,
)
from petct_cli.dicom.deid.treatment import UNTREATED, Treatment
from petct_cli.dicom.deid.unseen import Unseen

_SOP_INSTANCE, _CHARSET = 0x00080018, 0x00080005
_NUMERIC = frozenset({b"DS", b"IS", b"FL", b"FD", b"SS", b"SL", b"US", b"UL", b"SV", b"UV", b"AT"})
_SHORT_AMONG_NUMBERS = 6
# Among positions and sizes, fewer digits than this in a row mean nothing, and every slice has other ones.
_WRITTEN_NUMBERS = frozenset({b"DS", b"IS"})
_SIX_DIGITS = re.compile(rb"\d{6}|[^\d.+\-eE\\ ]")
_COMPARED_AT_ONCE = 1 << 22
_MAX_PARTS = 1000  # IOV_MAX is 1024
IMPLEMENTATION_VERSION = b"PETCT"


def write_deidentified(
    dicom: DicomBytes,
    target: Path,
    rewriter: Rewriter,
    age: str | None,
    missing_uids: Mapping[int, str] | None = None,
    treatment: Treatment = UNTREATED,
) -> None:
    """Write `dicom` to `target` by the rules of `rewriter`.

    Parameters
    ----------
    age
        PatientAge derived from the birth date, for objects that have none.
    missing_uids
        By tag, what the UIDs that the object must have and lacks are derived from.
    treatment
        What was done to the pixels of `dicom`.
    """
    sop_class = sop_class_of(dicom)
    profile = load_profile(rewriter.choice, sop_class)
    clean_pixels = profile.has("clean_pixel_data") and has_clean_pixels(dicom)
    inserts = _inserts(dicom, profile, rewriter, treatment, clean_pixels=clean_pixels, age=age)
    made = {tag: rewriter.key.uid(source).encode() for tag, source in (missing_uids or {}).items()}
    inserts |= {tag: (b"UI", uid) for tag, uid in made.items()}
    pieces = rewriter.data_set(dicom, sop_class, inserts)
    head = bytes(128) + b"DICM" + _file_meta(dicom, profile, rewriter, sop_class, made.get(_SOP_INSTANCE))
    if dicom.transfer_syntax == DEFLATED_LE:
        _write(target, [head, _deflate(join(dicom.buffer, pieces))])
        return
    # What stays is handed to the system as it lies in the input, never copied here.
    with memoryview(dicom.buffer) as view:
        kept = [piece if isinstance(piece, bytes) else view[piece[0] : piece[1]] for piece in pieces]
        try:
            _write(target, [head, *kept])
        finally:
            for part in kept:
                if isinstance(part, memoryview):
                    part.release()


def _write(target: Path, parts: list[bytes | memoryview]) -> None:
    """Write `parts` one after the other and let the disk start on them; `Store` waits for it once per study."""
    with open(target, "wb", buffering=0) as file:
        descriptor = file.fileno()
        left = [memoryview(part) for part in parts]
        while left:
            written = os.writev(descriptor, left[:_MAX_PARTS])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]
        start_writing_back(descriptor)


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
    codes = _method_codes(rewriter.choice, sop_class_of(dicom), dicom.syntax, treatment, clean_pixels=clean_pixels)
    inserts: dict[int, tuple[bytes, bytes]] = {
        0x00100010: (b"PN", pseudonym),
        0x00100020: (b"LO", pseudonym),
        0x00120062: (b"CS", b"YES"),
        0x00120063: (b"LO", f"PS3.15 Annex E {profile.edition}\\petct profile {profile.name}".encode()),
        0x00120064: (b"SQ", codes),
        0x00280303: (b"CS", temporal),
    }
    if clean_pixels:
        inserts[0x00280301] = (b"CS", b"NO")
    inserts |= treatment.inserts()
    if age is not None and profile.has("retain_patient_characteristics") and not dicom.text(0x00101010):
        inserts[0x00101010] = (b"AS", age.encode())
    return inserts


@lru_cache(maxsize=64)
def _method_codes(
    choice: Choice | str, sop_class: str, syntax: Syntax, treatment: Treatment, *, clean_pixels: bool
) -> bytes:
    profile = load_profile(choice, sop_class)
    body = b""
    for code, meaning in sorted({*profile.codes(clean_pixels=clean_pixels), *treatment.codes()}):
        item = (
            encode_element(0x00080100, b"SH", code.encode(), syntax)
            + encode_element(0x00080102, b"SH", b"DCM", syntax)
            + encode_element(0x00080104, b"LO", meaning[:64].encode(), syntax)
        )
        body += encode_head(ITEM, b"", len(item), syntax) + item
    return body


def _file_meta(
    dicom: DicomBytes, profile: Profile, rewriter: Rewriter, sop_class: str, made_instance: bytes | None
) -> bytes:
    instance = (dicom.value(_SOP_INSTANCE) or b"").rstrip(b" \0")
    new = made_instance or (rewriter.uid(instance) if not profile.has("retain_uids") else instance)
    fields = (
        (0x00020001, b"OB", b"\0\1"),
        (0x00020002, b"UI", _uid_or_nothing(sop_class)),
        (0x00020003, b"UI", new),
        (0x00020010, b"UI", _uid_or_nothing(dicom.transfer_syntax)),
        (0x00020012, b"UI", profile.implementation_uid.encode()),
        (0x00020013, b"SH", IMPLEMENTATION_VERSION),
    )
    rewriter.written.update((tag, value.rstrip(b"\0")) for tag, _, value in fields)
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
    _unseen: Unseen = field(default_factory=Unseen)

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
        for element in result.meta:
            self._search(element.tag, element.vr, result.head[element.value : element.value_end], b"")
        elements, charset = self._unseen.of(result)
        self._level(result.buffer, elements, result.syntax, charset)
        for tag, value in beside_pixels(result):
            self._search(tag, b"UN", value, b"")
        return result

    def _level(self, buffer: Buffer, elements: list[Element], syntax: Syntax, charset: bytes) -> None:
        """Search what is no pixels at every depth; a sequence that was seen before is not taken apart again."""
        for element in elements:
            if element.tag in PIXEL_TAGS:
                continue
            value = buffer[element.value : element.value_end]
            if element.vr == b"SQ" or (element.undefined and element.vr == b"UN"):
                if (element.tag, charset + value) in self._seen:
                    continue
                self._seen.add((element.tag, charset + value))
                inner = IMPLICIT if element.vr == b"UN" else syntax
                for item in whole_items(value, 0, len(value), inner):
                    self._level(value, parse(value, item.value, item.value_end, inner), inner, charset)
                continue
            if element.tag == _CHARSET:
                charset = value
            self._search(element.tag, element.vr, value, charset)

    def _search(self, tag: int, vr: bytes, value: bytes, charset: bytes) -> None:
        if (tag, value) in self._seen:
            return
        self._seen.add((tag, value))
        bare = value.rstrip(b" \0")
        if not bare or (tag, bare) in self.written or (vr in _WRITTEN_NUMBERS and not _SIX_DIGITS.search(bare)):
            return
        kind = self._hit(bare, vr, charset)
        if kind is not None:
            raise RecordError(
                "residual_identifier",
                f"a value of kind {kind} of this patient is left in ({tag >> 16:04X},{tag & 0xFFFF:04X})",
                "nothing was written for this study",
            )

    def _hit(self, value: bytes, vr: bytes, charset: bytes) -> str | None:
        for text in _readings(value, charset):
            if text in self.proven:
                return None
            for hit in self.known.find(text):
                if not self._is_by_chance(hit, vr):
                    return hit.kind
        return None

    def _is_by_chance(self, hit: Hit, vr: bytes) -> bool:
        """Say whether a hit among numbers means nothing: 110000 is a time of day, and a PatientID of some.

        A UID that is none of the study's was written here or is kept on request: a day in it is no leak.
        """
        if vr == b"TM":
            return hit.kind in ("id", "date", "birth")
        if vr == b"UI":
            return hit.kind == "uid" and not self.known.uids
        size = hit.end - hit.start
        return vr in _NUMERIC and (
            (hit.kind in ("date", "birth") and size <= _SHORT_AMONG_NUMBERS)
            or (hit.kind == "id" and size < _SHORT_AMONG_NUMBERS)
        )


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


def _same_pixels(source: DicomBytes, result: DicomBytes) -> bool:
    ours = [(e.value, e.value_end) for e in result.elements if e.tag in PIXEL_TAGS]
    theirs = [(e.value, e.value_end) for e in source.elements if e.tag in PIXEL_TAGS]
    if [end - start for start, end in ours] != [end - start for start, end in theirs]:
        return False
    return all(
        _same(result.buffer, a, source.buffer, b, end - a) for (a, end), (b, _) in zip(ours, theirs, strict=True)
    )


def _same(left: Buffer, a: int, right: Buffer, b: int, size: int) -> bool:
    """Compare two stretches of bytes without copying those of small files."""
    if isinstance(left, bytes):
        with memoryview(right) as view, view[b : b + size] as part:
            return left.startswith(part, a)
    return all(
        left[a + offset : a + min(offset + _COMPARED_AT_ONCE, size)]
        == right[b + offset : b + min(offset + _COMPARED_AT_ONCE, size)]
        for offset in range(0, size, _COMPARED_AT_ONCE)
    )
