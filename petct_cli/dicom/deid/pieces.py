"""What becomes of a run of bytes: stretches that stay where they are, and new bytes between them."""

from __future__ import annotations

from petct_cli.dicom.deid.syntax import Buffer

Piece = bytes | tuple[int, int]


class Pieces:
    """What a level becomes, neighbouring kept elements joined to one range."""

    def __init__(self) -> None:
        self.changed = False
        self._pieces: list[Piece] = []
        self._start = self._end = 0

    def keep(self, start: int, end: int) -> None:
        """Go on with the bytes as they are."""
        if start != self._end:
            self._flush()
            self._start = start
        self._end = end

    def put(self, chunk: bytes) -> int:
        """Go on with new bytes; return their place among the pieces, which means nothing where there are none."""
        self.changed = True
        self._flush()
        self._start = self._end = 0
        if chunk:
            self._pieces.append(chunk)
        return len(self._pieces) - 1

    def _flush(self) -> None:
        if self._end > self._start:
            self._pieces.append((self._start, self._end))

    def finished(self) -> list[Piece]:
        """Return all pieces."""
        self._flush()
        self._start = self._end = 0
        return self._pieces


def join(buffer: Buffer, pieces: list[Piece]) -> bytes:
    """Return pieces as one string of bytes."""
    return b"".join(piece if isinstance(piece, bytes) else buffer[piece[0] : piece[1]] for piece in pieces)
