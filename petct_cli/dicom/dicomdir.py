"""A DICOMDIR, the table of contents of a CD: which of the files that it names are really there (PS3.3 F, PS3.10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from petct_cli.core.errors import InputError
from petct_cli.dicom.read import (
    DICOMDIR,
    NotDicomError,
    UnreadableDicomError,
    file_meta_uid,
    quiet_pydicom,
    read_header,
)
from petct_cli.dicom.values import items, texts

_RECORDS = "DirectoryRecordSequence"
_RECORDS_HEAD = b"\x04\x00\x20\x12SQ\0\0"  # a DICOMDIR is in Explicit VR Little Endian (PS3.10 8.6)
_UNDEFINED = 0xFFFFFFFF
_DELIMITER = b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class Contents:
    """The files that a DICOMDIR names, in its order: those that are there, and the number of those that are not."""

    files: tuple[Path, ...]
    missing: int


def is_dicomdir(path: Path) -> bool:
    """Say whether a file is a DICOMDIR, whatever its name."""
    try:
        with path.open("rb") as file, quiet_pydicom():
            header = read_header(file, 0x00020010)
    except (OSError, NotDicomError, UnreadableDicomError):
        return False
    return file_meta_uid(header, "MediaStorageSOPClassUID") == DICOMDIR


def contents(path: Path) -> Contents:
    """Return what a DICOMDIR names.

    File IDs are relative to its folder. CDs differ in how they show them, so upper and lower case count alike where the
    exact name is not there. What would lie outside of the folder counts as missing.

    Raises
    ------
    InputError
        ``dicomdir_damaged``.
    """
    try:
        with path.open("rb") as file, quiet_pydicom():
            if not _is_whole(file.read()):
                raise UnreadableDicomError
            header = read_header(file)
            named = [texts(item, "ReferencedFileID") for item in items(header, _RECORDS)]
    except Exception:  # pydicom reads sequences late, and raises whatever a damaged one makes it meet
        raise InputError("dicomdir_damaged", f"{path}: damaged DICOMDIR", "give its folder instead") from None
    listings: dict[Path, dict[str, str]] = {}
    found = [_find(path.parent, parts, listings) for parts in named if parts]
    there = dict.fromkeys(file for file in found if file is not None)
    return Contents(tuple(there), sum(file is None for file in found))


def _is_whole(data: bytes) -> bool:
    """Say whether the records are as long as they say: readers take a shorter list for a list."""
    start = data.find(_RECORDS_HEAD)
    if start < 0:
        return False
    value = start + len(_RECORDS_HEAD) + 4
    length = int.from_bytes(data[value - 4 : value], "little")
    if length == _UNDEFINED:
        return data.rstrip(b"\0").endswith(_DELIMITER)
    return value + length <= len(data)


def _find(folder: Path, parts: tuple[str, ...], listings: dict[Path, dict[str, str]]) -> Path | None:
    place = folder
    for number, part in enumerate(parts, start=1):
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            return None
        exact = place / part
        if not exact.exists():
            if place not in listings:
                try:
                    listings[place] = {name.name.upper(): name.name for name in sorted(place.iterdir(), reverse=True)}
                except OSError:
                    listings[place] = {}
            other = listings[place].get(part.upper())
            if other is None:
                return None
            exact = place / other
        place = exact
        if number == len(parts) and not place.is_file():
            return None
    return place
