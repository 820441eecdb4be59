"""Archives of DICOM, unpacked into a private folder in which the scan then walks as in any other.

A member is known by the archive and its place in it, ``export.zip!/CT/IM0001``: that is what records and private logs
say, because the folder is another one on every run and gone after it. Only regular files are made, below the archive's
own folder; links and devices are not. An archive that is not whole gives nothing: no one can say which of its studies
would lack a file.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, BinaryIO

from petct_cli.core.errors import OutputError, PetctError
from petct_cli.core.scratch import PREFIX
from petct_cli.dicom.archive_members import ArchiveError, Member, members

DEEPEST = 3
"""An archive in an archive in an archive is unpacked; one inside of that is not."""
MARK = "!"
_SHARE = 0.9
_CHUNK = 1 << 20
_CHECK_BYTES, _CHECK_MEMBERS = 16 << 20, 256
_LONGEST_NAME, _LONGEST_PLACE, _DEEPEST_PLACE = 255, 2048, 64  # bytes, bytes, folders
_SUFFIXES = re.compile(r"(?:\.tar)?\.(?:zip|tar|tgz|tbz2?|txz|gz|bz2|xz)$", re.IGNORECASE)


class Unpacker:
    """Unpacks archives below `root`, each into a folder named by the hash of its path as the user typed it.

    Parameters
    ----------
    root
        A private folder (`petct_cli.core.scratch.scratch_folder`).
    reserve
        Bytes of the disk that stay free; None: a tenth of what is free now.
    """

    def __init__(self, root: Path, reserve: int | None = None) -> None:
        self.root = root
        self._room = _Room(root, reserve)

    def unpack(self, file: BinaryIO, kind: str, shown: str) -> Path | None:
        """Unpack an open archive and return the folder; None for a compressed file that is none of ours.

        Raises
        ------
        ArchiveError
            ``archive_damaged``, ``archive_encrypted``, ``archive_unsupported``, ``archive_unreadable``, or
            ``archive_too_large`` before the disk is full. Nothing of the archive stays.
        OutputError
            The folder for temporary files cannot be written.
        """
        place = place_of(self.root, shown)
        try:
            file.seek(0)
            found = members(file, kind, place.name, self._room.require)
            if found is None:
                return None
            self._start(place, shown)
            self._write(found, place)
        except BaseException as error:
            self.forget(place)
            told = _explain(error, self.root)
            if told is error:
                raise
            raise told from None
        return place

    def forget(self, place: Path) -> None:
        """Remove what an archive was unpacked to."""
        shutil.rmtree(place.parent, ignore_errors=True)
        with suppress(OSError):
            _origin(place.parent).unlink()

    def _start(self, place: Path, shown: str) -> None:
        try:
            place.parent.mkdir(mode=0o700)
            place.mkdir(mode=0o700)
            _origin(place.parent).write_bytes(os.fsencode(shown))
        except OSError as error:
            raise OutputError("scratch_unwritable", f"no place for temporary files: {error.strerror}") from None

    def _write(self, found: Iterator[Member], place: Path) -> None:
        for number, member in enumerate(found):
            self._room.take(0, 1)
            if member.size is not None and member.size >= _CHECK_BYTES:
                self._room.require(member.size, 1)
            parts = safe_parts(member.name)
            try:
                descriptor = _create(place, parts)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                # A second member of that name: which of them is meant is not for us to say.
                descriptor = _create(place, (f"~{number}", *parts))
            with os.fdopen(descriptor, "wb", buffering=0) as target:
                self._copy(member, target)

    def _copy(self, member: Member, target: IO[bytes]) -> None:
        size = 0
        while chunk := member.data.read(_CHUNK):
            self._room.take(len(chunk))
            size += len(chunk)
            target.write(chunk)
        if member.size not in (None, size):
            raise ArchiveError("archive_damaged", "a member is shorter than the archive says", "copy it again")


def place_of(root: Path, shown: str) -> Path:
    """Return the folder for the members of an archive: its last part is the archive's name, which a report may bear."""
    stem = safe_parts(_SUFFIXES.sub("", os.path.basename(shown)).replace("/", "_"))
    return root.joinpath(_digest(shown), *(stem or ("_",)))


def locate(root: Path, shown: str) -> str:
    """Return where ``archive!/member`` lies below `root`; any other path as it is."""
    for mark in reversed(list(re.finditer(MARK + r"(?=/|$)", shown))):
        place = place_of(root, shown[: mark.start()])
        if place.is_dir():
            return str(place) + shown[mark.end() :]
    return shown


def shown_in(root: Path, text: str) -> str:
    """Return `text` with ``archive!/member`` in place of each path below `root`."""
    for digest in set(re.findall(re.escape(str(root)) + "/([0-9a-f]{16})/", text)):
        with suppress(OSError):
            shown = os.fsdecode(_origin(root / digest).read_bytes())
            text = text.replace(str(place_of(root, shown)), shown + MARK)
    return text


def origin_of(path: Path) -> Path:
    """Return ``archive!/member`` for a path that lies unpacked; any other as it is."""
    for folder in path.parents:
        if not folder.parent.name.startswith(PREFIX):
            continue
        with suppress(OSError, ValueError):
            shown = os.fsdecode(_origin(folder).read_bytes())
            return Path(shown + MARK) / path.relative_to(place_of(folder.parent, shown))
    return path


def safe_parts(name: str) -> tuple[str, ...]:
    r"""Return the parts of a member's name as parts of a path that leads nowhere but down.

    What is not UTF-8 is written out, because no record could hold it.

    Examples
    --------
    >>> safe_parts("../../etc//./passwd")
    ('etc', 'passwd')
    >>> safe_parts("NGUY\udcc5N/IM1")
    ('NGUY\\xc5N', 'IM1')
    """
    plain = name.replace("\0", "_").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    parts = tuple(_short(part) for part in plain.split("/") if part not in ("", ".", ".."))
    if len(parts) > _DEEPEST_PLACE or len("/".join(parts).encode()) > _LONGEST_PLACE:
        return ("~" + _digest("/".join(parts[:-1])), parts[-1])
    return parts


def _short(part: str) -> str:
    return part if len(part.encode()) <= _LONGEST_NAME else part[:50] + "~" + _digest(part)


def _digest(text: str) -> str:
    return sha256(os.fsencode(text)).hexdigest()[:16]


def _origin(folder: Path) -> Path:
    """Return the file that says which archive was unpacked to `folder`."""
    return folder.with_name(folder.name + ".origin")


def _create(place: Path, parts: tuple[str, ...]) -> int:
    """Make a new file below `place` and open it for writing."""
    target = place.joinpath(*(parts or ("_",)))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(target, flags, 0o600)
    except FileNotFoundError:
        folder = place  # never made anew: after the end of a run it must stay away
        for part in parts[:-1]:
            folder = folder / part
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        return os.open(target, flags, 0o600)


def _explain(error: BaseException, root: Path) -> BaseException:
    """Return what to tell of an error while unpacking: libraries raise what a damaged file makes them meet."""
    if isinstance(error, (PetctError, MemoryError)) or not isinstance(error, Exception):
        return error
    if not root.is_dir():
        # The run is being ended, and its folder was removed under a thread of it: the archive is not to blame.
        return OutputError("scratch_unwritable", "the folder for temporary files is gone")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return too_large()
    # Errors about the data come without a number.
    if isinstance(error, OSError) and error.errno is not None:
        return ArchiveError("archive_unreadable", f"the archive cannot be unpacked: {error.strerror}")
    return ArchiveError("archive_damaged", "the archive is damaged or cut short", "copy it again")


class _Room:
    """What may still be written below `folder`: nine tenths of what was free, as the file system counts it now."""

    def __init__(self, folder: Path, reserve: int | None) -> None:
        self._folder = folder
        status = os.statvfs(folder)
        self._reserve = int(status.f_bavail * status.f_frsize * (1 - _SHARE)) if reserve is None else reserve
        self._reserve_files = int(status.f_favail * (1 - _SHARE))
        self._bytes = self._files = 0

    def require(self, size: int, count: int) -> None:
        """Raise `ArchiveError` ``archive_too_large`` unless so many bytes and files have room."""
        status = os.statvfs(self._folder)
        free = status.f_bavail * status.f_frsize - self._reserve
        # File systems without a fixed number of files tell 0.
        if size > free or (status.f_files > 0 and status.f_favail - count < self._reserve_files):
            raise too_large()

    def take(self, size: int, count: int = 0) -> None:
        """Do the same for what comes in small pieces: the file system is asked now and then."""
        self._bytes, self._files = self._bytes + size, self._files + count
        if self._bytes >= _CHECK_BYTES or self._files >= _CHECK_MEMBERS:
            self.require(size, count)
            self._bytes = self._files = 0


def too_large() -> ArchiveError:
    """Return the fault of an archive for whose members the disk has no room."""
    message = "unpacked, it would not fit on the disk for temporary files"
    return ArchiveError("archive_too_large", message, "set TMPDIR to a larger disk, or unpack it and give the folder")
