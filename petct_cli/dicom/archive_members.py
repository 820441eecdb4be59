"""What lies in an archive, one member after the other: zip, tar, and either of them (or one file) compressed.

Nothing here keeps a list of members: an export of a million files needs no more memory than one of ten.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import IO, Any, BinaryIO, cast

from petct_cli.core.errors import RecordError
from petct_cli.dicom.heads import may_be_dicom

START_BYTES = 512
"""How much of a file its kind shows in."""
_STARTS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("zip", re.compile(rb"PK(\x03\x04|\x05\x06)")),
    ("split zip", re.compile(rb"PK(\x07\x08|00PK)")),
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
    ("7z", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("rar", re.compile(rb"Rar!\x1a\x07")),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd")),
)
_COMPRESSED: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_READ = frozenset({"zip", "tar", *_COMPRESSED})
_NAMED_SO = re.compile(r"(?!\._).*\.(zip|t(ar|gz|bz2?|xz)|tar\.\w+|7z|rar|iso)", re.IGNORECASE | re.DOTALL)
_CHECKSUM = re.compile(rb"[ 0-7]{1,7}[ \0]")
_USTAR = slice(257, 262)
_ISO_9660 = (32769, b"CD001")


class ArchiveError(RecordError):
    """An archive cannot be used: damaged, encrypted, of a kind that petct does not read, too large for the disk."""


@dataclass(frozen=True)
class Member:
    """One regular file of an archive: its name as told, its size in bytes as told (None: not told), and its bytes.

    `data` can be read until the next member is asked for.
    """

    name: str
    size: int | None
    data: IO[bytes]


def archive_kind(start: bytes) -> str | None:
    r"""Return the kind of archive that a file with these first `START_BYTES` bytes is, None for all else.

    Examples
    --------
    >>> archive_kind(b"PK\x03\x04")
    'zip'
    """
    for kind, pattern in _STARTS:
        if pattern.match(start):
            return kind
    return "tar" if _is_tar_header(start[:START_BYTES]) else None


def kind_of(file: BinaryIO, start: bytes, name: str) -> str | None:
    """Return the kind of an open file that begins with `start`: `archive_kind`, ``disc image``, or by name ``unknown``.

    The name alone counts only against a file: one that is called an archive and is none may be what a copy left of it.
    """
    kind = archive_kind(start)
    if kind is None and len(start) >= START_BYTES:
        place, mark = _ISO_9660
        kind = "disc image" if os.pread(file.fileno(), len(mark), place) == mark else None
    return kind or ("unknown" if _NAMED_SO.fullmatch(name) else None)


def _is_tar_header(block: bytes) -> bool:
    if block[_USTAR] == b"ustar":
        return True
    if len(block) < START_BYTES or not _CHECKSUM.match(block[148:156]):
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


Fits = Callable[[int, int], None]
"""Called with the bytes and the number of members to come; raises what is to be raised when they do not fit."""


def members(file: BinaryIO, kind: str, name: str, fits: Fits) -> Iterator[Member] | None:
    """Return the members of the archive `file` in their order; None for something compressed that is none of ours.

    Parameters
    ----------
    name
        What a lone compressed file is called when it is unpacked.
    fits
        Asked before the first member of an archive that tells the size of all.

    Raises
    ------
    ArchiveError
        ``archive_unsupported``, ``archive_encrypted``, ``archive_damaged``. Modules below raise their own errors on
        damaged data, while members are read, too.
    """
    if kind == "unknown":
        raise ArchiveError("archive_damaged", "called an archive, and is none that petct knows", "copy it again")
    if kind not in _READ:
        raise ArchiveError("archive_unsupported", f"petct does not read {kind} archives", "unpack it first")
    if kind == "zip":
        return _zip_members(file, fits)
    stream = file if kind == "tar" else cast(BinaryIO, _COMPRESSED[kind](file))
    if kind == "tar":
        return _tar_members(stream)
    start = stream.read(START_BYTES)
    stream.seek(0)
    if _is_tar_header(start):
        return _tar_members(stream)
    if may_be_dicom(start) or archive_kind(start) is not None:
        return iter([Member(name, None, stream)])
    # Damage shows at the end of the data only, and may be what hides an archive.
    size = 0
    while chunk := stream.read(1 << 20):
        size += len(chunk)
        fits(size, 0)
    return None


class _StrictInfo(tarfile.TarInfo):
    """A tar header that is none is an error, and no quiet end of the archive."""

    _LONGEST_EXTENSION = 1 << 20

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _StrictInfo:
        try:
            info = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError:
            raise tarfile.ReadError("no header where one should stand") from None
        extension = info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE) or (
            info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        )
        if extension and info.size > cls._LONGEST_EXTENSION:
            raise tarfile.ReadError("a name or header beyond all measure")  # it would be read into memory
        return info


def _tar_members(stream: BinaryIO) -> Iterator[Member]:
    """Yield the regular files of a tar archive; links, devices and folders are not looked at."""
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", tarinfo=_StrictInfo) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            data = tar.extractfile(info) if info.isreg() else None
            if data is not None:
                yield Member(info.name, info.size, data)
        # What follows the end is padding, or a second archive that nobody would miss.
        rest = cast(BinaryIO, tar.fileobj)
        while chunk := rest.read(1 << 20):
            if chunk.strip(b"\0"):
                raise ArchiveError("archive_damaged", "more data follow the end of the tar archive")


_END = Struct("<4s4H2LH")
_END64_LOCATOR, _END64 = Struct("<4sLQL"), Struct("<4sQ2H2L4Q")
_ENTRY = Struct("<4s6H3L5H2L")
_LOCAL = Struct("<4s5H3L2H")
_ENCRYPTED, _UTF8 = 0x0001 | 0x0040 | 0x2000, 0x0800
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_UNIX = 3
_CHUNK = 3 << 16  # no entry is longer: its name, extra field and comment have 16-bit lengths


def _zip_members(file: BinaryIO, fits: Fits) -> Iterator[Member]:
    """Yield the regular files of a zip archive, after a look at all of its directory."""
    size = count = 0
    for entry in zip_directory(file):
        size, count = size + entry.file_size, count + 1
        if entry.flag_bits & _ENCRYPTED:
            raise ArchiveError("archive_encrypted", "the archive needs a password", "unpack it first")
        if entry.compress_type not in _METHODS:
            message = f"compression method {entry.compress_type} is not known here"
            raise ArchiveError("archive_unsupported", message, "unpack it first")
    fits(size, count)
    for entry in zip_directory(file):
        mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
        if not entry.filename.endswith("/") and stat.S_IFMT(mode) in (0, stat.S_IFREG):
            yield Member(entry.filename, entry.file_size, _zip_data(file, entry))


def _zip_data(file: BinaryIO, entry: zipfile.ZipInfo) -> IO[bytes]:
    file.seek(entry.header_offset)
    mark, *_, name_length, extra_length = _LOCAL.unpack(file.read(_LOCAL.size))
    if mark != b"PK\x03\x04":
        raise _damaged_zip()
    file.seek(name_length + extra_length, os.SEEK_CUR)
    return cast(IO[bytes], zipfile.ZipExtFile(file, "r", entry))


def zip_directory(file: BinaryIO) -> Iterator[zipfile.ZipInfo]:
    """Yield the entries of a zip's central directory, which `zipfile` would hold in memory all at once.

    Raises
    ------
    ArchiveError
        ``archive_damaged``, ``archive_unsupported``.
    """
    at, end, shift, count = _find_directory(file)
    data, offset, seen = b"", 0, 0
    while at < end or offset < len(data):
        if len(data) - offset < _CHUNK and at < end:
            file.seek(at)
            more = file.read(min(1 << 20, end - at))
            if not more:
                raise _damaged_zip()
            data, offset, at = data[offset:] + more, 0, at + len(more)
        entry, length = _entry(data, offset, shift)
        offset += length
        seen += 1
        yield entry
    if (seen - count) % (1 << 16):  # old programs let the number of entries run over
        raise _damaged_zip()


def _find_directory(file: BinaryIO) -> tuple[int, int, int, int]:
    """Return where the central directory starts and ends, what all offsets lack, and the number of entries."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - (1 << 16) - _END.size)
    file.seek(tail_at)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        raise _damaged_zip()
    _, disk, _, _, count, length, start, _ = _END.unpack_from(tail, found)
    end = tail_at + found
    if end >= _END64_LOCATOR.size:
        file.seek(end - _END64_LOCATOR.size)
        mark, disk64, at, _ = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
        if mark == b"PK\x06\x07":
            file.seek(end - _END64_LOCATOR.size - _END64.size)
            mark, *_, disk, _, _, count, length, start = _END64.unpack(file.read(_END64.size))
            if mark != b"PK\x06\x06" or disk64 or at > end:
                raise _damaged_zip()
            end -= _END64_LOCATOR.size + _END64.size
    if disk not in (0, 0xFFFF):
        raise ArchiveError("archive_unsupported", "the archive is one part of several", "unpack it first")
    first = end - length
    if first < start or first < 0:
        raise _damaged_zip()
    return first, end, first - start, count


def _entry(data: bytes, offset: int, shift: int) -> tuple[zipfile.ZipInfo, int]:
    if len(data) - offset < _ENTRY.size:
        raise _damaged_zip()
    (
        mark, made_by, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, _, _,
        attributes, header,
    ) = _ENTRY.unpack_from(data, offset)  # fmt: skip
    name_at = offset + _ENTRY.size
    total = _ENTRY.size + name_length + extra_length + comment_length
    if mark != b"PK\x01\x02" or offset + total > len(data):
        raise _damaged_zip()
    raw = data[name_at : name_at + name_length]
    extra = data[name_at + name_length : name_at + name_length + extra_length]
    size, packed, header = _zip64_sizes(extra, size, packed, header)
    # Many programs write UTF-8 and forget to say so; what is none is meant as the PC's oldest code page.
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else raw.decode("cp437")
    if made_by >> 8 != _UNIX:
        name = name.replace("\\", "/")
    entry = zipfile.ZipInfo(name or "_")
    entry.compress_type, entry.flag_bits, entry.CRC = method, flags, crc
    entry.compress_size, entry.file_size, entry.header_offset = packed, size, header + shift
    entry.create_system, entry.external_attr = made_by >> 8, attributes
    return entry, total


def _zip64_sizes(extra: bytes, *told: int) -> tuple[int, int, int]:
    """Return size, packed size and header offset, from the zip64 field where they are too large for their own."""
    values = list(told)
    at = 0
    while at + 4 <= len(extra):
        field = int.from_bytes(extra[at : at + 2], "little")
        length = int.from_bytes(extra[at + 2 : at + 4], "little")
        if field == 1:
            wide = extra[at + 4 : at + 4 + length]
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF:
                    if len(wide) < 8:
                        raise _damaged_zip()
                    values[index], wide = int.from_bytes(wide[:8], "little"), wide[8:]
        at += 4 + length
    size, packed, header = values
    return size, packed, header


def _damaged_zip() -> ArchiveError:
    return ArchiveError("archive_damaged", "the archive is damaged or cut short", "copy it again")
