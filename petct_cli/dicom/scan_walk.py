"""The way through folders and archives: every file once, in an order that does not depend on the file system."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petct_cli.core.errors import InputError
from petct_cli.dicom.archive_members import ArchiveError, kind_of
from petct_cli.dicom.archives import DEEPEST, MARK, Unpacker
from petct_cli.dicom.heads import FIRST_BYTES, read_head
from petct_cli.dicom.read import SHORTEST, UnreadableDicomError
from petct_cli.dicom.scan_index import SHARED, ScanIndex

_VOLUMES = (b".nii.gz", b".npz")


@dataclass(frozen=True)
class _Archive:
    """An archive that is being walked: where it lies, and what was counted before it."""

    path: str
    folder: int
    nested: bool
    place: Path
    images: int
    damaged: int
    skipped: int


@dataclass(frozen=True)
class _Frame:
    """A folder on the way: its path on disk and as the user knows it, how many archives it lies in, what is left."""

    path: str
    shown: str
    number: int
    depth: int
    entries: Iterator[tuple[bytes, str]]
    archive: _Archive | None = None


class Walk:
    """Fills `index` with what lies below the given paths.

    Folders are walked by name; links are followed, circles are not, and a file of several names counts once. Folders
    may be nested as deep as the system's paths are long.

    Attributes
    ----------
    skipped
        Number of files that are not DICOM images.
    archives_left
        Number of archives that were not looked into, for want of an `unpacker`.
    """

    def __init__(self, index: ScanIndex, unpacker: Unpacker | None) -> None:
        self._index = index
        self._unpacker = unpacker
        if unpacker is not None:
            index.first_visit(os.stat(unpacker.root))  # it may lie below what is given
        self._level = self._folders = self._archives = 0
        self.skipped = 0
        self.archives_left = 0

    def go(self, given: Path) -> None:
        """Walk one given path.

        Raises
        ------
        InputError
            ``no_such_path``.
        """
        try:
            status = given.stat()
        except OSError:
            raise InputError("no_such_path", f"{given}: no such file or folder") from None
        path = str(given)
        if stat.S_ISDIR(status.st_mode):
            frame = self._enter(path, path, 0)
        else:
            parent = str(given.parent)
            number = self._index.folder(parent, parent)
            self._index.own(number, SHARED)  # one of its files does not bring the others
            frame = self._file(_Frame(parent, parent, number, 0, iter(())), os.fsencode(given.name))
        stack = [] if frame is None else [frame]
        while stack:
            entry = next(stack[-1].entries, None)
            if entry is None:
                self._leave(stack.pop())
                continue
            below = self._visit(stack[-1], *entry)
            if below is not None:
                stack.append(below)

    def _visit(self, frame: _Frame, name: bytes, kind: str) -> _Frame | None:
        """Take one entry of a folder; return it if it must be walked in turn."""
        if kind == "link":
            try:
                mode = os.stat(_below(frame.path, name)).st_mode
            except OSError:
                return None  # it leads nowhere
            kind = "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else ""
        if kind == "folder":
            return self._enter(_below(frame.path, name), _below(frame.shown, name), frame.depth)
        return self._file(frame, name) if kind == "file" else None

    def _enter(self, path: str, shown: str, depth: int, archive: _Archive | None = None) -> _Frame | None:
        self._folders += 1
        try:
            # What was unpacked has no links; its inode may have been another file's a moment ago.
            if depth == 0 and not self._index.first_visit(os.stat(path)):
                return None
            self._level += 1
            with os.scandir(os.fsencode(path)) as entries:
                listed = self._index.listed(self._level, ((entry.name, _kind(entry)) for entry in entries))
        except FileNotFoundError:
            return None  # it went away
        except OSError as error:
            self._index.add_fault("folder", self._folders, shown, "unreadable_path", error.strerror or "cannot be read")
            return None
        return _Frame(path, shown, self._index.folder(path, shown), depth, listed, archive)

    def _file(self, frame: _Frame, name: bytes) -> _Frame | None:
        path = _below(frame.path, name)
        try:
            file = open(path, "rb", buffering=0, opener=_open_waiting_for_nothing)  # noqa: SIM115  closed below
        except FileNotFoundError:
            return None
        except OSError:
            self._index.add_unreadable(frame.number, name)
            return None
        with file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or (frame.depth == 0 and not self._index.first_visit(status)):
                return None
            try:
                start = file.read(FIRST_BYTES)
                while len(start) < min(FIRST_BYTES, status.st_size) and (more := file.read(FIRST_BYTES - len(start))):
                    start += more
                head = read_head(path, start)
            except (OSError, UnreadableDicomError):
                self._index.add_unreadable(frame.number, name)
                return None
            if head is not None:
                self._index.add_image(frame.number, name, head)
                return None
            self.skipped += 1
            if len(start) < SHORTEST:
                self._index.add_stump(frame.number, name)
            return self._other(frame, name, file, start)

    def _other(self, frame: _Frame, name: bytes, file: io.FileIO, start: bytes) -> _Frame | None:
        """Look whether what is no DICOM is an archive of it. Volumes of other programs are packed alike, and none."""
        if name.lower().endswith(_VOLUMES):
            return None
        kind = kind_of(file, start, os.fsdecode(name))
        if kind is None:
            return None
        if self._unpacker is None:
            self.archives_left += 1
            return None
        self._archives += 1
        number, shown = self._archives, _below(frame.shown, name)
        images, damaged, skipped = self._index.images, self._index.damaged, self.skipped - 1
        try:
            if frame.depth >= DEEPEST:
                raise ArchiveError("archive_too_deep", f"archives are unpacked {DEEPEST} deep", "unpack it first")
            with open(file.fileno(), "rb", closefd=False) as buffered:
                place = self._unpacker.unpack(buffered, kind, shown)
        except ArchiveError as error:
            self._index.add_fault("archive", number, shown, error.code, str(error))
            self._index.own(frame.number, SHARED)
            return None
        if place is None:
            return None
        archive = _Archive(_below(frame.path, name), frame.number, frame.depth > 0, place, images, damaged, skipped)
        return self._enter(str(place), shown + MARK, frame.depth + 1, archive)

    def _leave(self, frame: _Frame) -> None:
        archive = frame.archive
        if archive is None or self._unpacker is None:
            return
        if (self._index.images, self._index.damaged) == (archive.images, archive.damaged):
            # A document, a program: one file that is none of ours, and room on the disk.
            self._unpacker.forget(archive.place)
            self.skipped = archive.skipped + 1
            return
        self.skipped -= 1
        self._index.own(archive.folder, SHARED)  # an archive is no file of the series beside it
        if archive.nested:
            os.unlink(archive.path)


def _below(folder: str, name: bytes) -> str:
    own = os.fsdecode(name)
    return own if folder == "." else folder + own if folder.endswith("/") else f"{folder}/{own}"


def _kind(entry: os.DirEntry[bytes]) -> str:
    try:
        if entry.is_symlink():
            return "link"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else ""
    except OSError:
        return "link"  # a closer look will tell


def _open_waiting_for_nothing(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
