"""Compressed pixels of one frame to stored values, bit-exact (PS3.5 section 8.2 and annex A.4).

JPEG in all its processes is decoded by libjpeg-turbo, JPEG-LS by CharLS, JPEG 2000 and HTJ2K by OpenJPEG, JPEG XL by
libjxl, all inside imagecodecs, which lets other threads run meanwhile; RLE is undone here. These libraries patch over
some damage in silence, so what a stream says of itself is held against the header, and its end is looked for.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.dicom.deid.syntax import ITEM, SEQUENCE_END, Buffer

RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
RAW_WORDS = frozenset({RLE, DEFLATED_FRAMES})
"""Syntaxes whose decoded values are words of Bits Allocated, with whatever stands beyond Bits Stored."""
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
_JPEG = ("50", "51", "52", "53", "54", "55", "56", "57", "58", "59", "60", "61", "62", "63", "64", "65", "66", "70")
_JPEG_LS = ("80", "81")
_JPEG_2000 = ("90", "91", "92", "93", "201", "202", "203")
_JPEG_XL = ("110", "111", "112")
_LOSSLESS = frozenset({"57", "58", "65", "66", "70", "80", "90", "92", "110", "201", "202"})
# Within coded data FF stands for itself only before 00; RSTn may stand between, any other marker ends it.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _END = 0xDA, 0xD9


class UndecodableError(ValueError):
    """The stream is damaged, or is not what the header says of it."""


@dataclass(frozen=True)
class FrameForm:
    """What a header says of one greyscale frame (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")


def fragments(data: Buffer | memoryview, position: int) -> list[memoryview]:
    """Return the items of encapsulated pixel data that start at `position`, the Basic Offset Table first.

    Raises
    ------
    UndecodableError
        The file ends before its Sequence Delimitation Item.
    """
    view = memoryview(data)
    found: list[memoryview] = []
    while position + 8 <= len(view):
        group, element, length = (int.from_bytes(view[position + a : position + b], "little") for a, b in _ITEM_HEAD)
        tag, position = group << 16 | element, position + 8
        if tag == SEQUENCE_END:
            return found
        if tag != ITEM or position + length > len(view):
            break
        found.append(view[position : position + length])
        position += length
    raise UndecodableError("fragments")


_ITEM_HEAD = ((0, 2), (2, 4), (4, 8))


def decode_frame(stream: bytes, syntax: str, form: FrameForm) -> npt.NDArray[Any]:
    """Return the stored values of one frame, shape (rows, columns), of `form.dtype`.

    Bits beyond Bits Stored are gone, except of `RAW_WORDS` and where a lossy stream overshot.

    Parameters
    ----------
    stream
        The fragments of the frame, joined.

    Raises
    ------
    UndecodableError
        A damaged or unknown stream, or one of another size, depth or number of samples than `form`.
    """
    decoder = _decoder_of(syntax)
    try:
        values, precision, sign_is_kept = decoder(stream, form)
    except UndecodableError:
        raise
    except Exception:  # each library has its own words for a damaged stream
        raise UndecodableError("stream") from None
    if values.shape != (form.rows, form.columns) or values.dtype.kind not in "iu" or precision > form.allocated:
        raise UndecodableError("another form than the header's")
    if syntax in RAW_WORDS:
        return values.view(form.dtype)
    if sign_is_kept:
        return _of_type(values, form.dtype)
    lossless = syntax.removeprefix(_JPEG_FAMILY) in _LOSSLESS
    return _as_stored(values, precision, form, bits=min(precision, form.stored) if lossless else precision)


Decoded = tuple[npt.NDArray[Any], int, bool]
"""Values, bits of precision, and whether negative values are already negative."""


def _decoder_of(syntax: str) -> Callable[[bytes, FrameForm], Decoded]:
    if syntax == RLE:
        return _rle
    if syntax == DEFLATED_FRAMES:
        return _deflated
    kind = syntax.removeprefix(_JPEG_FAMILY) if syntax.startswith(_JPEG_FAMILY) else ""
    for kinds, decoder in ((_JPEG, _jpeg), (_JPEG_LS, _jpeg_ls), (_JPEG_2000, _jpeg_2000), (_JPEG_XL, _jpeg_xl)):
        if kind in kinds:
            return decoder
    raise UndecodableError("transfer syntax")


def _of_type(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    limits = np.iinfo(dtype)
    if int(values.min()) < limits.min or int(values.max()) > limits.max:
        raise UndecodableError("values beyond the header's")
    return values.astype(dtype, copy=False)


def _as_stored(values: npt.NDArray[Any], precision: int, form: FrameForm, *, bits: int) -> npt.NDArray[Any]:
    """Give values of `precision` bits, of which `bits` count, the sign that the header says they have."""
    words = values.astype(f"u{form.allocated // 8}", copy=False)
    if precision < form.allocated and int(words.max()) >> precision:
        raise UndecodableError("values beyond the stream's own precision")  # it lost its way
    if bits == form.allocated:
        return words.view(form.dtype)
    if not form.signed:
        return words if bits == precision else words & words.dtype.type((1 << bits) - 1)
    unused = form.allocated - bits
    return np.asarray(np.left_shift(words.view(form.dtype), unused) >> unused)


def _jpeg(stream: bytes, form: FrameForm) -> Decoded:
    from imagecodecs import jpeg8_decode

    precision = _jpeg_precision(stream, form)
    return jpeg8_decode(stream), precision, False


def _jpeg_ls(stream: bytes, form: FrameForm) -> Decoded:
    from imagecodecs import jpegls_decode

    precision = _jpeg_precision(stream, form)
    return jpegls_decode(stream), precision, False


def _jpeg_precision(stream: bytes, form: FrameForm) -> int:
    """Return the sample precision that a JPEG or JPEG-LS stream states, after looking that it is whole.

    libjpeg fills what is missing of a cut stream with grey.
    """
    end = len(stream)
    while end and stream[end - 1] in (0x00, 0xFF) and stream[end - 2 : end] != b"\xff\xd9":
        end -= 1  # padding to even length, and fill bytes
    if stream[:2] != b"\xff\xd8" or stream[end - 2 : end] != b"\xff\xd9":
        raise UndecodableError("no start or end of image")
    position, precision, lossless_like = 2, 0, False
    while position + 4 <= end:
        if stream[position] != 0xFF:
            raise UndecodableError("marker")
        marker = stream[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(stream[position + 2 : position + 4], "big")
        if marker in _FRAME_HEADERS:
            precision = stream[position + 4]
            size = (stream[position + 5 : position + 7], stream[position + 7 : position + 9])
            if tuple(int.from_bytes(one, "big") for one in size) != (form.rows, form.columns):
                raise UndecodableError("another size than the header's")
            lossless_like = marker in (0xC0, 0xC1, 0xC3)
        position += 2 + length
        if marker == _SCAN:
            found = _MARKER.search(stream, position, end) if lossless_like else None
            if found is not None and found.end() != end and stream[found.end() - 1] not in (0xC4, _SCAN, 0xDB, 0xFE):
                raise UndecodableError("a marker in the middle of coded data")
            break
    if not precision:
        raise UndecodableError("no frame header")
    return precision


def _jpeg_2000(stream: bytes, form: FrameForm) -> Decoded:
    from imagecodecs import jpeg2k_decode

    # Marker SIZ (ISO/IEC 15444-1 A.5.1), in a bare codestream as DICOM wants it or wrapped in a JP2 file.
    start = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(stream) < start + 43:
        raise UndecodableError("no SIZ marker")
    signed, precision = stream[start + 42] >> 7, (stream[start + 42] & 0x7F) + 1
    values = np.asarray(jpeg2k_decode(stream))
    return values, precision, bool(signed) and form.signed


def _jpeg_xl(stream: bytes, _form: FrameForm) -> Decoded:
    from imagecodecs import jpegxl_decode

    values = np.asarray(jpegxl_decode(stream, numthreads=1))
    values = values.reshape(values.shape[:2]) if values.ndim == 3 and values.shape[2] == 1 else values
    return values, values.dtype.itemsize * 8, False


def _deflated(stream: bytes, form: FrameForm) -> Decoded:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    raw = inflater.decompress(stream)
    size = form.rows * form.columns * form.allocated // 8
    if not inflater.eof or len(raw) < size:
        raise UndecodableError("deflated frame")
    return (
        np.frombuffer(raw, f"<u{form.allocated // 8}", form.rows * form.columns).reshape(form.rows, form.columns),
        form.allocated,
        False,
    )


def _rle(stream: bytes, form: FrameForm) -> Decoded:
    """Undo PS3.5 annex G: one segment per byte of a value, the most significant first."""
    width = form.allocated // 8
    count = int.from_bytes(stream[:4], "little")
    if count != width or len(stream) < 64:
        raise UndecodableError("RLE header")
    starts = [int.from_bytes(stream[4 * i : 4 * i + 4], "little") for i in range(1, count + 1)]
    ends = [*starts[1:], len(stream)]
    values = np.empty((form.rows * form.columns, width), np.uint8)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if not 64 <= start <= end:
            raise UndecodableError("RLE offsets")
        values[:, width - 1 - place] = _unpacked(stream[start:end], len(values))
    return values.view(f"<u{width}").reshape(form.rows, form.columns), form.allocated, False


def _unpacked(segment: bytes, size: int) -> npt.NDArray[np.uint8]:
    from imagecodecs import packbits_decode

    try:
        raw = packbits_decode(segment)
    except RuntimeError:
        if segment[-1:] != b"\0":
            raise
        raw = packbits_decode(segment[:-1])  # padded to even length
    if len(raw) < size:
        raise UndecodableError("RLE segment")
    return np.frombuffer(raw, np.uint8, size)
