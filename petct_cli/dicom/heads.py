"""The head of a DICOM file, as far as grouping needs it: Study and Series Instance UID and what comes before them.

Most files are read straight from their first bytes. What these do not settle (deflated or big-endian data sets, no File
Meta Information, a VR that is not the dictionary's, letters beyond ASCII, damage) is left to pydicom.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from struct import error as struct_error
from typing import Any, NamedTuple

from petct_cli.dicom.deid.syntax import EXPLICIT, DicomSyntaxError, Syntax, element_at
from petct_cli.dicom.deid.vrs import KNOWN_VRS, LONG_VRS
from petct_cli.dicom.header import UndecidedError, syntax_of
from petct_cli.dicom.read import (
    DICOMDIR,
    SHORTEST,
    NotDicomError,
    UnreadableDicomError,
    file_meta_uid,
    looks_like_dicom,
    quiet_pydicom,
    read_header,
)
from petct_cli.dicom.values import number, text, to_date, to_number

LAST_TAG = 0x0020000E
"""Series Instance UID: everything that grouping needs comes before it."""
FIRST_BYTES = 1 << 13
_MOST_BYTES = 1 << 18
_MODALITIES_BY_CLASS = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.128": "PT"}
# Tag -> keyword and VR, both the dictionary's.
_WANTED: dict[int, tuple[str, bytes]] = {
    0x00080016: ("SOPClassUID", b"UI"),
    0x00080020: ("StudyDate", b"DA"),
    0x00080060: ("Modality", b"CS"),
    0x00100020: ("PatientID", b"LO"),
    0x00100040: ("PatientSex", b"CS"),
    0x00101010: ("PatientAge", b"AS"),
    0x00101020: ("PatientSize", b"DS"),
    0x00101030: ("PatientWeight", b"DS"),
    0x0020000D: ("StudyInstanceUID", b"UI"),
    0x0020000E: ("SeriesInstanceUID", b"UI"),
}
_EXPLICIT_HEAD, _IMPLICIT_HEAD = Struct("<HH2sH"), Struct("<HHL")


@dataclass(frozen=True, slots=True)
class Head:
    """What one DICOM file says about where it belongs; None where it says nothing.

    Attributes
    ----------
    instance_uid
        Told only where there is no `study_uid`: nobody else asks for it.
    facts
        The record's fields about the patient, as far as this file knows them.
    """

    study_uid: str | None
    series_uid: str | None
    instance_uid: str | None
    modality: str
    facts: tuple[tuple[str, Any], ...]


def read_head(path: str | os.PathLike[str], start: bytes | None = None) -> Head | None:
    """Return what the file at `path` says about where it belongs; None for files that are not DICOM, and a DICOMDIR.

    Parameters
    ----------
    start
        The first `FIRST_BYTES` bytes, if the caller has read them.

    Raises
    ------
    UnreadableDicomError
        DICOM that is damaged or ends before it says which SOP class it is, and what the system cannot read.
    """
    try:
        if start is None:
            start = _first_bytes(path, FIRST_BYTES)
        if not may_be_dicom(start):
            return None
        for size in (FIRST_BYTES, _MOST_BYTES):
            if size > FIRST_BYTES:
                start = _first_bytes(path, size)
            whole = len(start) < size
            try:
                return quick_head(start, whole=whole)
            except UndecidedError:
                if whole:
                    break
        return slow_head(path)
    except OSError:
        raise UnreadableDicomError from None


def may_be_dicom(start: bytes) -> bool:
    """Say from its first bytes whether a file may be DICOM (`looks_like_dicom`)."""
    return start[SHORTEST - 4 : SHORTEST] == b"DICM" or start[:2] in (b"\x02\x00", b"\x08\x00")


def _first_bytes(path: str | os.PathLike[str], size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(size)


def quick_head(start: bytes, *, whole: bool) -> Head | None:
    """Do the work of `read_head` on the first bytes of a file, which may be the `whole` of it.

    Raises
    ------
    UndecidedError
        Not every question has a plain answer in these bytes.
    """
    layout = next((one for one in _LAYOUTS if one.between(start) == one.bytes_between), None)
    if layout is None:
        try:
            layout = _layout_of(start, whole=whole)
        except (struct_error, IndexError, DicomSyntaxError):
            raise UndecidedError from None
        if layout.end < len(start):
            _LAYOUTS.insert(0, layout)
            del _LAYOUTS[_MOST_LAYOUTS:]
    elif layout is not _LAYOUTS[0]:
        _LAYOUTS.remove(layout)
        _LAYOUTS.insert(0, layout)
    found = {one.name: _plain(start[one.place], one.own_vr, one.vr) for one in layout.wanted}
    if found.get("MediaStorageSOPClassUID") == DICOMDIR:
        return None
    return _head(found)


_GROUP_2, _GROUP_8_TO_SERIES = range(0x00020000, 0x00030000), range(0x00080000, LAST_TAG + 1)
_META: dict[int, tuple[str, bytes]] = {
    0x00020002: ("MediaStorageSOPClassUID", b"UI"),
    0x00020010: ("TransferSyntaxUID", b"UI"),
}


class _Place(NamedTuple):
    """Where a wanted value stands, its dictionary's VR and the file's."""

    name: str
    own_vr: bytes
    vr: bytes
    place: slice


class _Layout(NamedTuple):
    """How the head of a file lay, and others of its series lie: bytes between values, and where the wanted stand."""

    between: Callable[[bytes], Any]
    bytes_between: Any
    wanted: list[_Place]
    end: int


_MOST_LAYOUTS = 8
_LAYOUTS: list[_Layout] = []


def _layout_of(start: bytes, *, whole: bool) -> _Layout:
    if start[SHORTEST - 4 : SHORTEST] != b"DICM":
        raise UndecidedError
    fixed = [slice(SHORTEST - 4, SHORTEST)]
    wanted: list[_Place] = []
    body = _walk(start, SHORTEST, EXPLICIT, _META, _GROUP_2, fixed, wanted, whole=False)
    named = next((one for one in wanted if one.name == "TransferSyntaxUID"), None)
    if named is None:
        raise UndecidedError
    syntax = syntax_of(_plain(start[named.place], named.own_vr, named.vr), start[body + 4 : body + 6])
    fixed.append(named.place)
    end = _walk(start, body, syntax, _WANTED, _GROUP_8_TO_SERIES, fixed, wanted, whole=whole)
    fixed.append(slice(end, end + 4))
    between = itemgetter(*fixed)
    return _Layout(between, between(start), wanted, end)


def _walk(
    data: bytes,
    position: int,
    syntax: Syntax,
    wanted: dict[int, tuple[str, bytes]],
    tags: range,
    fixed: list[slice],
    found: list[_Place],
    *,
    whole: bool,
) -> int:
    """Add the places of the wanted values among `tags`, which must ascend, and of what tells where each element stands.

    Returns
    -------
    int
        Where the first element beyond `tags` starts.
    """
    before, last, end, explicit = tags.start - 1, tags.stop - 1, len(data), syntax.explicit
    unpack = (_EXPLICIT_HEAD if explicit else _IMPLICIT_HEAD).unpack_from
    while True:
        if position == end and whole:
            return position
        start, vr = position, b""
        if explicit:
            group, element, vr, length = unpack(data, position)
        else:
            group, element, length = unpack(data, position)
        tag = group << 16 | element
        if tag > last:
            return start
        if tag <= before or (explicit and vr not in KNOWN_VRS):
            raise UndecidedError
        before = tag
        if vr in LONG_VRS or (not explicit and length == 0xFFFFFFFF):
            long = element_at(data, start, end, syntax)
            position = long.end
            if tag in wanted:
                raise UndecidedError
            # Where one of undefined length ends, what is in it tells.
            fixed.append(slice(start, position if long.undefined else long.value))
            continue
        position += 8 + length
        if position > end:
            raise UndecidedError
        fixed.append(slice(start, start + 8))
        if tag in wanted:
            name, own_vr = wanted[tag]
            found.append(_Place(name, own_vr, vr or own_vr, slice(start + 8, position)))


@lru_cache(maxsize=1024)
def _plain(value: bytes, own_vr: bytes, vr: bytes) -> str:
    """Return a value on whose text all character sets agree."""
    cleaned = value.strip(b" \0")
    if vr != own_vr or b"\\" in cleaned or not (cleaned.isascii() and cleaned.decode("ascii").isprintable()):
        raise UndecidedError
    plain = cleaned.decode("ascii")
    if own_vr == b"DS" and plain and to_number(plain) is None:
        raise UndecidedError
    return plain


def _head(found: dict[str, str]) -> Head:
    get = found.get
    sop_class, study_uid = get("SOPClassUID"), get("StudyInstanceUID")
    if not sop_class or not study_uid:
        raise UndecidedError
    return Head(
        study_uid,
        get("SeriesInstanceUID") or None,
        None,
        get("Modality") or _MODALITIES_BY_CLASS.get(sop_class, "unknown"),
        _facts(
            get("PatientID"),
            get("StudyDate"),
            get("PatientSex"),
            get("PatientAge"),
            to_number(get("PatientSize")),
            to_number(get("PatientWeight")),
        ),
    )


@quiet_pydicom()
def slow_head(path: str | os.PathLike[str]) -> Head | None:
    """Do the work of `read_head` with pydicom."""
    try:
        with open(path, "rb") as file:
            if not looks_like_dicom(file):
                return None
            head = read_header(file, LAST_TAG)
    except NotDicomError:
        return None
    except OSError:
        raise UnreadableDicomError from None
    if file_meta_uid(head, "MediaStorageSOPClassUID") == DICOMDIR:
        return None
    sop_class = text(head, "SOPClassUID")
    if sop_class is None:
        meta = getattr(head, "file_meta", None)
        if meta is not None and len(meta) > 0:
            raise UnreadableDicomError
        return None
    study_uid = text(head, "StudyInstanceUID")
    return Head(
        study_uid,
        text(head, "SeriesInstanceUID"),
        text(head, "SOPInstanceUID") if study_uid is None else None,
        text(head, "Modality") or _MODALITIES_BY_CLASS.get(sop_class, "unknown"),
        _facts(
            *(text(head, name) for name in ("PatientID", "StudyDate", "PatientSex", "PatientAge")),
            *(number(head, name) for name in ("PatientSize", "PatientWeight")),
        ),
    )


@lru_cache(maxsize=256)
def _facts(
    patient: str | None, date: str | None, sex: str | None, age: str | None, height: float | None, weight: float | None
) -> tuple[tuple[str, Any], ...]:
    facts: list[tuple[str, Any]] = []
    if patient:
        facts.append(("patient", hashlib.sha256(patient.encode()).hexdigest()[:16]))
    day = to_date(date)
    if day is not None:
        facts += [("study_date", day.isoformat()), ("dates", "full")]
    told = {"sex": sex, "age": age, "height_m": height, "weight_kg": weight}
    return (*facts, *((name, value) for name, value in told.items() if value))
