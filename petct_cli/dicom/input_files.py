"""Input files read whole, once for their pixels and their hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.dicom.deid.files import read_bytes
from petct_cli.dicom.deid.syntax import Buffer


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

    def read(self, path: Path) -> Buffer:
        """Return all bytes of a file, and remember their hash.

        Raises
        ------
        RecordError
            ``input_unreadable``.
        """
        try:
            data = read_bytes(path)
        except OSError as error:
            raise RecordError("input_unreadable", f"{path}: {error.strerror}") from None
        if path not in self._digests:
            self._digests[path] = sha256_bytes(data)
        return data

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
