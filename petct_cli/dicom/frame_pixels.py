"""Compressed frames of a multi-frame object: where each lies in the file, and its stored values (PS3.5 annex A.4)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import DEFLATED, Instance, read_instance, stored_values
from petct_cli.dicom.values import integer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
"""How a JPEG or JPEG-LS image, and a JPEG 2000 codestream, begin."""
_PIXEL_KEYWORDS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
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
            return self._single(self._inflated(index))
        with self._instance.path.open("rb") as file:
            return self._single(b"".join(_read(file, self._frames[index], self._instance)))

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

    def _inflated(self, index: int) -> bytes:
        size = len(self._pixels) // self._count
        return self._pixels[index * size : (index + 1) * size]

    @cached_property
    def _pixels(self) -> bytes:
        import pydicom

        try:
            raw = bytes(pydicom.dcmread(self._instance.path).PixelData)
        except Exception:  # zlib and pydicom each have their own words for a damaged stream
            message = f"{self._instance.path}: the deflated data set does not unpack"
            raise RecordError("dicom_undecodable", message) from None
        return raw

    def _single(self, encoded: bytes) -> npt.NDArray[np.generic]:
        """Decode by way of a single-frame file, so that frames go through what decodes every other image."""
        with tempfile.TemporaryDirectory(prefix="petct-frame-") as folder:
            path = Path(folder) / "frame"
            _as_single(self._instance, encoded).save_as(path, enforce_file_format=True)
            try:
                return stored_values(read_instance(path))
            except RecordError as error:
                raise RecordError(error.code, f"{self._instance.path}: a frame does not decode") from None


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


def _as_single(instance: Instance, encoded: bytes) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian

    is_plain = instance.syntax == DEFLATED
    single: Any = Dataset()
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_plain else instance.syntax
    single.file_meta.MediaStorageSOPClassUID = single.SOPClassUID = _SECONDARY_CAPTURE
    single.file_meta.MediaStorageSOPInstanceUID = single.SOPInstanceUID = "1.2"
    single.SamplesPerPixel, single.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword in _PIXEL_KEYWORDS:
        value = integer(instance.header, keyword)
        if value is not None:
            setattr(single, keyword, value)
    single.PixelData = encoded if is_plain else encapsulate([encoded])
    single["PixelData"].VR = "OB" if not is_plain else "OW"
    return single
