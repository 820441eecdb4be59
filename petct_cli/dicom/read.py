"""One DICOM file: its header, and the stored values of its pixels.

Native (uncompressed) pixels are taken from the file as they lie; compressed ones go through `petct_cli.dicom.decode`.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import read_bytes
from petct_cli.dicom.deid.syntax import Buffer
from petct_cli.dicom.header import FileHeader, Header, HeaderReader, UndecidedError
from petct_cli.dicom.values import integer, text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pydicom.dataset import FileDataset
    from pydicom.tag import BaseTag

FileBytes = Buffer | memoryview
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DICOMDIR = "1.2.840.10008.1.3.10"
_IMPLICIT = "1.2.840.10008.1.2"
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_UNDEFINED_LENGTH = 0xFFFFFFFF
_PREAMBLE = 128
SHORTEST = _PREAMBLE + 4
"""No DICOM file has fewer bytes."""


class NotDicomError(ValueError):
    """The file is something else."""


class UnreadableDicomError(ValueError):
    """The file says that it is DICOM and cannot be read as such (cut short, damaged)."""


@dataclass(frozen=True)
class Instance:
    """One image file.

    Attributes
    ----------
    header
        Everything before the pixel data, for the accessors of `petct_cli.dicom.values`.
    pixel_offset, pixel_bytes
        Where the native pixel data lie in the file; `pixel_bytes` is None for compressed pixels and 0 when the file
        ends before them.
    modified_ns
        When the file had last been written to as its header was read; None where nobody looked.
    """

    path: Path
    header: Header | FileDataset
    syntax: str
    file_bytes: int
    pixel_offset: int
    pixel_bytes: int | None
    media_class: str = ""
    modified_ns: int | None = None

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return integer(self.header, "Rows") or 0, integer(self.header, "Columns") or 0

    def values(self) -> npt.NDArray[Any] | None:
        """Return the stored values where an instance reads them in a way of its own; None: as they lie in the file."""
        return None

    @property
    def is_image(self) -> bool:
        """Whether the file is an object of its own: no DICOMDIR, no stray bytes that happen to parse."""
        sop_class = text(self.header, "SOPClassUID") or self.media_class
        return sop_class not in ("", DICOMDIR)

    @cached_property
    def is_truncated(self) -> bool:
        """Whether the file ends before its native pixel data do, or before any pixel data begin."""
        if self.pixel_bytes is None or self.pixel_offset >= self.file_bytes:
            return self.pixel_offset >= self.file_bytes
        available = min(self.pixel_bytes, self.file_bytes - self.pixel_offset)
        return available < _expected_bytes(self)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning about malformed values: its warnings quote them, and they may name a patient."""
    from pydicom import config

    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = before


def looks_like_dicom(file: BinaryIO) -> bool:
    """Say from its first bytes whether `file` is DICOM: the ``DICM`` mark, or a bare data set of old software."""
    file.seek(0)
    start = file.read(_PREAMBLE + 4)
    file.seek(0)
    if start[_PREAMBLE:] == b"DICM":
        return True
    # Without the preamble a data set begins with (0002,00xx) or (0008,00xx), a plausible VR or a short length.
    return start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00" and len(start) > 16


def read_header(file: BinaryIO, last_tag: int | None = None) -> FileDataset:
    """Read the data set of an open file up to its pixel data, or up to and with `last_tag`.

    Raises
    ------
    NotDicomError, UnreadableDicomError
    """
    import pydicom
    from pydicom.filereader import read_partial

    if not looks_like_dicom(file):
        raise NotDicomError
    try:
        if last_tag is None:
            return pydicom.dcmread(file, stop_before_pixels=True, force=True)

        def past_last(tag: BaseTag, _vr: str | None, _length: int) -> bool:
            return int(tag) > last_tag

        return read_partial(file, stop_when=past_last, force=True)
    except Exception:  # pydicom raises whatever a damaged file makes it meet
        raise UnreadableDicomError from None


def file_meta_uid(header: FileDataset, keyword: str) -> str:
    """Return a UID of the File Meta Information, nothing when it is absent or damaged."""
    meta = getattr(header, "file_meta", None)
    return "" if meta is None else text(meta, keyword) or ""


def read_instance(path: Path) -> Instance:
    """Read the header of the file at `path` and find its pixels.

    Raises
    ------
    NotDicomError, UnreadableDicomError
        See there; the message of neither holds a value of the file.
    """
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        size, written = status.st_size, status.st_mtime_ns
        quick = _quick_header(file, size)
        if quick is not None:
            found, start = quick
            offset, length = _pixels_at(start, found.stop, found.transfer_syntax, size)
            return Instance(path, found.header, found.transfer_syntax, size, offset, length, found.media_class, written)
    with path.open("rb") as file:
        header = read_header(file)
        media_class = file_meta_uid(header, "MediaStorageSOPClassUID")
        syntax = file_meta_uid(header, "TransferSyntaxUID") or _IMPLICIT
        if syntax == DEFLATED:
            return Instance(path, header, syntax, size, 0, None, media_class, written)
        at = file.tell()
        offset, length = _pixels_at(file.read(12), 0, syntax, size - at)
    return Instance(path, header, syntax, size, at + offset, length, media_class, written)


_READERS = threading.local()
_FIRST_BYTES = (1 << 13, 1 << 18, 1 << 23)


def _quick_header(file: FileIO, size: int) -> tuple[FileHeader, bytes] | None:
    """Read the header as raw bytes, with the first bytes of the file; None where that is for pydicom to do."""
    reader = getattr(_READERS, "reader", None)
    if reader is None:
        reader = _READERS.reader = HeaderReader()
    start = b""
    for most in _FIRST_BYTES:
        start += file.read(min(most, size) - len(start))
        try:
            found = reader.read(start, whole=len(start) == size)
        except UndecidedError:
            if len(start) == size:
                return None
            continue
        if len(start) < min(size, found.stop + 12):
            start += file.read(12)
        return found, start
    return None


def _pixels_at(data: bytes, at: int, syntax: str, size: int) -> tuple[int, int | None]:
    """Return (offset, byte length) of the value of the pixel data element that starts at `at`; None: fragments."""
    start = data[at : at + 12]
    if len(start) < 12 or start[:4] not in _PIXEL_DATA:
        return size, 0
    order = "big" if syntax == BIG_ENDIAN else "little"
    if start[4:6] in (b"OW", b"OB", b"UN"):
        length, at = int.from_bytes(start[8:12], order), at + 12  # type: ignore[arg-type]
    else:
        length, at = int.from_bytes(start[4:8], order), at + 8  # type: ignore[arg-type]
    return at, None if length == _UNDEFINED_LENGTH else length


def _expected_bytes(instance: Instance) -> int:
    rows, columns = instance.shape
    frames = integer(instance.header, "NumberOfFrames") or 1
    samples = integer(instance.header, "SamplesPerPixel") or 1
    return rows * columns * frames * samples * ((integer(instance.header, "BitsAllocated") or 16) // 8)


def stored_values(instance: Instance, data: FileBytes | None = None) -> npt.NDArray[Any]:
    """Return the stored values of a single-frame greyscale image, shape (rows, columns); they may not be writable.

    16-bit images come as int16 or uint16 (by Pixel Representation), 8-bit ones as int8 or uint8; bits beyond Bits
    Stored (overlays in old files) are masked off and the sign bit extended (PS3.5 section 8.1.1).

    Parameters
    ----------
    data
        All bytes of the file, if the caller has read them.

    Raises
    ------
    RecordError
        ``dicom_truncated``: the file ends before its pixels do. ``dicom_undecodable``: compressed pixels that do not
        decode. ``dicom_pixel_format``: colour, several frames, or a width other than 8 or 16 bits.
        ``input_changed``: the file is another than when its header was read.
    """
    header = instance.header
    if (integer(header, "SamplesPerPixel") or 1) != 1 or (integer(header, "NumberOfFrames") or 1) != 1:
        raise RecordError("dicom_pixel_format", f"{instance.path}: not a single greyscale image")
    if instance.is_truncated:
        raise RecordError(
            "dicom_truncated", f"{instance.path}: the file ends before its pixels do", "copy the series again"
        )
    values = _values(instance, data)
    _require_unchanged(instance)
    return values


def _require_unchanged(instance: Instance) -> None:
    """Refuse values that were read after somebody wrote to the file: its header may belong to others."""
    if instance.modified_ns is None:
        return
    try:
        status = os.stat(instance.path)
    except OSError as error:
        raise RecordError("input_unreadable", f"{instance.path}: {error.strerror}") from None
    if (status.st_mtime_ns, status.st_size) != (instance.modified_ns, instance.file_bytes):
        raise _changed(instance)


def _changed(instance: Instance) -> RecordError:
    return RecordError("input_changed", f"{instance.path}: the file changed while it was read", "convert it again")


def _values(instance: Instance, data: FileBytes | None) -> npt.NDArray[Any]:
    import numpy as np

    own = instance.values()
    if own is not None:
        return own
    if instance.syntax == DEFLATED:
        return _inflated(instance)
    header = instance.header
    data = read_bytes(instance.path) if data is None else data
    if len(data) != instance.file_bytes or (isinstance(header, Header) and not header.is_start_of(data)):
        raise _changed(instance)
    dtype = _native_dtype(instance)
    if instance.pixel_bytes is None:
        return _decoded(instance, data, dtype)
    rows, columns = instance.shape
    values = np.frombuffer(data, dtype, rows * columns, instance.pixel_offset)
    return _mask_unused_bits(values.reshape(rows, columns), instance)


def _native_dtype(instance: Instance) -> np.dtype[Any]:
    import numpy as np

    width = integer(instance.header, "BitsAllocated")
    if width not in (8, 16):
        raise RecordError("dicom_pixel_format", f"{instance.path}: Bits Allocated is neither 8 nor 16")
    signed = integer(instance.header, "PixelRepresentation") == 1
    order = ">" if instance.syntax == BIG_ENDIAN else "<"
    return np.dtype(f"{order}{'i' if signed else 'u'}{width // 8}")


def _mask_unused_bits(values: npt.NDArray[Any], instance: Instance) -> npt.NDArray[Any]:
    import numpy as np

    width = values.dtype.itemsize * 8
    bits = integer(instance.header, "BitsStored") or width
    high_bit = integer(instance.header, "HighBit")
    above = width - 1 - (high_bit if high_bit is not None else bits - 1)
    if bits >= width or above < 0:
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if above == width - bits and not _has_more_bits(values, bits):
        return values
    # Shifting up drops what lies above the high bit; shifting back down extends the sign of signed types.
    shifted: npt.NDArray[Any] = np.left_shift(values, above)
    return shifted >> (width - bits)


def _has_more_bits(values: npt.NDArray[Any], bits: int) -> bool:
    if values.dtype.kind == "u":
        return bool(int(values.max()) >> bits)
    return int(values.max()) >= 1 << (bits - 1) or int(values.min()) < -(1 << (bits - 1))


def _inflated(instance: Instance) -> npt.NDArray[Any]:
    return native_values(instance, inflated_pixels(instance))


def inflated_pixels(instance: Instance) -> bytes:
    """Return the pixel data of a file whose data set is deflated.

    Raises
    ------
    RecordError
        ``dicom_undecodable``.
    """
    import pydicom

    try:
        return bytes(pydicom.dcmread(instance.path).PixelData)
    except Exception:  # zlib and pydicom each have their own words for a damaged stream
        raise RecordError("dicom_undecodable", f"{instance.path}: the deflated data set does not unpack") from None


def _decoded(instance: Instance, data: FileBytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    from petct_cli.dicom.decode import UndecodableError, fragments

    try:
        stream = b"".join(fragments(data, instance.pixel_offset)[1:])
    except UndecodableError:
        raise _undecodable(instance) from None
    return decoded_values(instance, stream, dtype)


def decoded_values(instance: Instance, stream: bytes, dtype: np.dtype[Any] | None = None) -> npt.NDArray[Any]:
    """Return the stored values of one compressed frame, shape (rows, columns), as the header describes them.

    Raises
    ------
    RecordError
        ``dicom_undecodable``, ``dicom_pixel_format``.
    """
    from petct_cli.dicom.decode import RAW_WORDS, FrameForm, UndecodableError, decode_frame

    dtype = _native_dtype(instance) if dtype is None else dtype
    rows, columns = instance.shape
    allocated = dtype.itemsize * 8
    stored = integer(instance.header, "BitsStored") or allocated
    form = FrameForm(rows, columns, allocated, min(stored, allocated), dtype.kind == "i")
    try:
        values = decode_frame(stream, instance.syntax, form)
    except UndecodableError:
        raise _undecodable(instance) from None
    return _mask_unused_bits(values, instance) if instance.syntax in RAW_WORDS else values


def native_values(instance: Instance, raw: bytes) -> npt.NDArray[Any]:
    """Return the stored values of one frame that is not compressed, shape (rows, columns).

    Raises
    ------
    RecordError
        ``dicom_truncated``, ``dicom_pixel_format``.
    """
    import numpy as np

    rows, columns = instance.shape
    dtype = _native_dtype(instance)
    if len(raw) < rows * columns * dtype.itemsize:
        raise RecordError("dicom_truncated", f"{instance.path}: the file ends before its pixels do")
    return _mask_unused_bits(np.frombuffer(raw, dtype, rows * columns).reshape(rows, columns), instance)


def _undecodable(instance: Instance) -> RecordError:
    return RecordError("dicom_undecodable", f"{instance.path}: the compressed pixels do not decode")
