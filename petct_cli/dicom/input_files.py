"""Input files read whole, once for their pixels and their hash."""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.dicom.deid.files import LARGEST_READ
from petct_cli.dicom.read import FileBytes


@dataclass(frozen=True)
class InputFiles:
    """The files of one study.

    Attributes
    ----------
    threads
        How many threads may read and decode at a time. What comes out does not depend on it.
    """

    threads: int = 1
    _digests: dict[Path, str] = field(default_factory=dict)
    _rooms: threading.local = field(default_factory=threading.local)

    def read(self, path: Path) -> FileBytes:
        """Return all bytes of a file, and remember their hash.

        They lie in memory that the next file of the same thread will use: make something of them before.

        Raises
        ------
        RecordError
            ``input_unreadable``.
        """
        try:
            data = self._read(path)
        except OSError as error:
            raise RecordError("input_unreadable", f"{path}: {error.strerror}") from None
        if path not in self._digests:
            self._digests[path] = sha256_bytes(data)
        return data

    def _read(self, path: Path) -> FileBytes:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_READ:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            room: mmap.mmap | None = getattr(self._rooms, "room", None)
            if room is None or len(room) < size:
                # New memory for each file would cost as much as reading it: every page of it is a fault. This one
                # begins at a page, which is copied to fastest.
                room = self._rooms.room = mmap.mmap(-1, size + size // 8 + 1)
            view, filled = memoryview(room)[:size], 0
            while filled < size and (count := file.readinto(view[filled:])):
                filled += count
            return view[:filled]

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, which is read unless it was before.

        Raises
        ------
        RecordError
            ``input_unreadable``.
        """
        if path not in self._digests:
            self.read(path)
        return self._digests[path]
