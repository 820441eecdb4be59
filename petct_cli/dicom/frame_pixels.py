"""Compressed frames of a multi-frame object: where each lies in the file, and its stored values (PS3.5 annex A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import DEFLATED, Instance, decoded_values, inflated_pixels, native_values

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
"""How a JPEG or JPEG-LS image, and a JPEG 2000 codestream, begin."""
Fragment = tuple[int, int]


class FrameStore:
    """The frames of one file, found once, read one at a time.

    Parameters
    ----------
    instance
        The multi-frame object.
    count
        Number of its frames.
    """

    def __init__(self, instance: Instance, count: int) -> None:
        self._instance = instance
        self._count = count

    def values(self, index: int) -> npt.NDArray[np.generic]:
        """Return the stored values of a frame, shape (rows, columns).

        Raises
        ------
        RecordError
            ``dicom_truncated``: the file ends before its frames do. ``dicom_undecodable``: the frames cannot be told
            apart, or do not decode. ``dicom_pixel_format``.
        """
        if self._instance.syntax == DEFLATED:
            size = len(self._pixels) // self._count
            return native_values(self._instance, self._pixels[index * size : (index + 1) * size])
        with self._instance.path.open("rb") as file:
            stream = b"".join(_read(file, self._frames[index], self._instance))
        return decoded_values(self._instance, stream)

    @cached_property
    def _frames(self) -> list[list[Fragment]]:
        with self._instance.path.open("rb") as file:
            file.seek(self._instance.pixel_offset)
            offsets, fragments = _walk(file, self._instance)
            starts = _starts(file, fragments) if not offsets and len(fragments) > self._count else []
        found = frames_of_fragments(fragments, offsets, starts, self._count)
        if found is None:
            raise RecordError("dicom_undecodable", f"{self._instance.path}: its frames cannot be told apart")
        return found

    @cached_property
    def _pixels(self) -> bytes:
        return inflated_pixels(self._instance)


def frames_of_fragments(
    fragments: Sequence[Fragment], offsets: Sequence[int], starts: Sequence[int], count: int
) -> list[list[Fragment]] | None:
    """Return the fragments of each of `count` frames; None where nothing says which is whose.

    Parameters
    ----------
    fragments
        (place of its value in the file, length) of each.
    offsets
        The Basic Offset Table: of each frame's first item, from the first item.
    starts
        Numbers of the fragments that begin like an image.

    Examples
    --------
    >>> frames_of_fragments([(8, 4), (20, 4), (32, 4)], [0, 24], [], 2)
    [[(8, 4), (20, 4)], [(32, 4)]]
    """
    if len(fragments) == count:
        return [[one] for one in fragments]
    if count == 1 and fragments:
        return [list(fragments)]
    firsts = list(starts)
    if offsets:
        places = {place - fragments[0][0]: number for number, (place, _) in enumerate(fragments)}
        firsts = [places[offset] for offset in offsets if offset in places]
    if len(firsts) != count or firsts[:1] != [0] or sorted(set(firsts)) != firsts:
        return None
    ends = [*firsts[1:], len(fragments)]
    return [list(fragments[first:end]) for first, end in zip(firsts, ends, strict=True)]


def _walk(file: BinaryIO, instance: Instance) -> tuple[list[int], list[Fragment]]:
    """Return the Basic Offset Table and the fragments of the encapsulated pixel data that `file` stands at."""
    offsets: list[int] | None = None
    fragments: list[Fragment] = []
    while True:
        head = file.read(8)
        if head[:4] == _SEQUENCE_END:
            return offsets or [], fragments
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 8 or file.tell() + length > instance.file_bytes:
            raise RecordError(
                "dicom_truncated", f"{instance.path}: the file ends before its pixels do", "copy the series again"
            )
        if head[:4] != _ITEM:
            raise RecordError("dicom_undecodable", f"{instance.path}: its compressed pixels are no sequence of items")
        if offsets is None:
            table = file.read(length)
            offsets = np.frombuffer(table[: length // 4 * 4], "<u4").tolist()
            continue
        fragments.append((file.tell(), length))
        file.seek(length, 1)


def _starts(file: BinaryIO, fragments: Sequence[Fragment]) -> list[int]:
    found = []
    for number, (place, _) in enumerate(fragments):
        file.seek(place)
        if file.read(4).startswith(_STARTS):
            found.append(number)
    return found


def _read(file: BinaryIO, fragments: Sequence[Fragment], instance: Instance) -> list[bytes]:
    pieces = []
    for place, length in fragments:
        file.seek(place)
        pieces.append(file.read(length))
        if len(pieces[-1]) < length:
            raise RecordError("dicom_truncated", f"{instance.path}: the file ends before its pixels do")
    return pieces
