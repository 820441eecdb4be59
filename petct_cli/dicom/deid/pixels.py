"""Changed pixels of one DICOM object: its stored words read, and the object made anew around other ones.

Native pixels are changed in the object's own transfer syntax. Compressed ones come back native, Explicit VR Little
Endian: what an encoder would make of them could not be compared with what was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, DicomBytes
from petct_cli.dicom.deid.syntax import PIXEL_TAGS, encode_element, parse

Words = npt.NDArray[Any]

PIXEL_DATA = 0x7FE00010
_NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE})
_MOST_DIGITS = 12  # of an IS
_RLE = "1.2.840.10008.1.2.5"
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
# What tells of the pixels that were there: their extremes, where their frames began, a small picture of them, padding.
_STALE = frozenset({0x00280106, 0x00280107, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x00880200, 0xFFFCFFFC})
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_READABLE = _GREY | {"PALETTE COLOR", "RGB", "YBR_FULL"}


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of an object are stored (PS3.3 C.7.6.3.1); `planar` is Planar Configuration 1."""

    frames: int
    rows: int
    columns: int
    samples: int
    planar: bool
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str
    little: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one stored word, all of its bits."""
        return np.dtype(f"{'<' if self.little else '>'}u{self.allocated // 8}")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, rows, columns, samples)."""
        return self.frames, self.rows, self.columns, self.samples

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that Bits Stored can hold."""
        half = 1 << (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def word(self, value: int) -> int:
        """Return the stored word of a value within `limits`; nothing stands in its unused bits."""
        return (value & ((1 << self.stored) - 1)) << self._below

    def values(self, words: Words) -> npt.NDArray[np.int64]:
        """Return the values of stored words: unused bits left out, signs extended."""
        bits = (words.astype(np.int64) >> self._below) & ((1 << self.stored) - 1)
        return np.where(bits >> (self.stored - 1), bits - (1 << self.stored), bits) if self.signed else bits

    @property
    def _below(self) -> int:
        return self.high_bit - self.stored + 1


def pixel_format(dicom: DicomBytes) -> PixelFormat:
    """Read how pixels are stored.

    Raises
    ------
    RecordError
        ``pixel_format``: a form that petct does not change (float, bits, sub-sampled colour).
    """
    little = dicom.syntax.little

    def number(tag: int, default: int | None = None) -> int:
        raw = dicom.value(tag)
        if raw is None or len(raw) < 2:
            if default is None:
                raise _unsupported()
            return default
        return int.from_bytes(raw[:2], "little" if little else "big")

    frames = dicom.text(0x00280008)[:_MOST_DIGITS]
    allocated = number(0x00280100)
    stored = number(0x00280101, allocated)
    found = PixelFormat(
        frames=int(frames) if frames.isascii() and frames.isdecimal() else 1,
        rows=number(0x00280010),
        columns=number(0x00280011),
        samples=number(0x00280002, 1),
        planar=number(_PLANAR, 0) == 1,
        allocated=allocated,
        stored=stored,
        high_bit=number(0x00280102, stored - 1),
        signed=number(0x00280103, 0) == 1,
        photometric=dicom.text(_PHOTOMETRIC).upper(),
        little=little,
    )
    whole = found.frames and found.rows and found.columns and found.samples in (1, 3)
    fits = allocated in (8, 16, 32) and 1 <= stored <= found.high_bit + 1 <= allocated
    if not whole or not fits or (allocated == 8 and not little):
        raise _unsupported()
    if sum(element.tag in PIXEL_TAGS for element in dicom.elements) != 1 or dicom.value(PIXEL_DATA) is None:
        raise _unsupported()
    return found


def _unsupported() -> RecordError:
    return RecordError("pixel_format", "pixels are stored in a form that petct does not change")


def read_words(dicom: DicomBytes, path: Path) -> tuple[Words, PixelFormat]:
    """Return the stored words of an object, (frames, rows, columns, samples), and their format once they are native.

    Raises
    ------
    RecordError
        ``pixel_format``, ``dicom_truncated``, ``dicom_undecodable``. No message has a path or a value.
    """
    form = pixel_format(dicom)
    if dicom.transfer_syntax not in _NATIVE:
        return _decoded(dicom, path, form)
    if form.photometric not in _READABLE or (form.photometric not in _GREY | {"PALETTE COLOR"}) != (form.samples == 3):
        raise _unsupported()
    element = next(e for e in dicom.elements if e.tag == PIXEL_DATA)
    size = int(np.prod(form.shape)) * form.dtype.itemsize
    if element.undefined or element.value_end - element.value < size:
        raise RecordError("dicom_truncated", "pixel data are shorter than the header says")
    words = np.frombuffer(dicom.buffer[element.value : element.value + size], form.dtype)
    if form.planar and form.samples > 1:
        return words.reshape(form.frames, form.samples, form.rows, form.columns).transpose(0, 2, 3, 1), form
    return words.reshape(form.shape), form


def _decoded(dicom: DicomBytes, path: Path, form: PixelFormat) -> tuple[Words, PixelFormat]:
    """Decode compressed pixels; colour comes as RGB by pixel."""
    photometric = "RGB" if form.samples == 3 else form.photometric
    native = replace(form, planar=False, high_bit=form.stored - 1, photometric=photometric)
    if dicom.transfer_syntax == _RLE:
        array = _unpacked(path)
        native = replace(native, photometric=form.photometric)
        if form.samples == 3 and form.photometric not in ("RGB", "YBR_FULL"):
            raise _unsupported()
    elif form.photometric == "PALETTE COLOR":
        # The decoder applies the palette.
        raise _unsupported()
    else:
        array = _opened(path, dicom, form)
    if array.size != np.prod(form.shape):
        raise RecordError("dicom_undecodable", "the decoded image has another size than its header")
    low, high = form.limits
    values = np.clip(array.reshape(form.shape), low, high).astype(np.int64)
    return (values & ((1 << form.stored) - 1)).astype(native.dtype), native


def _unpacked(path: Path) -> npt.NDArray[Any]:
    import pydicom

    from petct_cli.dicom.read import quiet_pydicom

    try:
        with quiet_pydicom():
            return np.asarray(pydicom.dcmread(path).pixel_array)
    except Exception:  # pydicom raises whatever damaged runs make it meet
        raise RecordError("dicom_undecodable", "the compressed pixels do not decode") from None


def _opened(path: Path, dicom: DicomBytes, form: PixelFormat) -> npt.NDArray[Any]:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        array = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        raise RecordError("dicom_undecodable", "the compressed pixels do not decode") from None
    if form.samples == 3:
        return np.asarray(array)
    # The reader applies the rescale; undoing it on rounded numbers gives back the stored integers exactly.
    slope, intercept = rescale_of(dicom)
    return np.asarray(np.rint((array.astype(np.float64) - intercept) / slope))


def rescale_of(dicom: DicomBytes) -> tuple[float, float]:
    """Return Rescale Slope and Intercept; 1 and 0 where they are missing or no numbers."""
    found = []
    for tag, default in ((0x00281053, 1.0), (0x00281052, 0.0)):
        try:
            value = float(dicom.text(tag) or default)
        except ValueError:
            value = default
        found.append(value if np.isfinite(value) and (value or not default) else default)
    return found[0], found[1]


def without_unused_bits(words: Words, form: PixelFormat) -> Words:
    """Return words without what may be hidden beyond Bits Stored: old files keep overlays there."""
    if form.stored == form.allocated:
        return words
    plain = form.word(-1) & words
    extended = plain
    if form.signed and form.high_bit == form.stored - 1:
        sign = (plain >> form.high_bit) & 1
        above = ((1 << form.allocated) - 1) ^ ((1 << form.stored) - 1)
        extended = plain | (sign * above).astype(words.dtype)
    kept: Words = np.where((words == plain) | (words == extended), words, plain).astype(words.dtype)
    return kept


def with_words(dicom: DicomBytes, words: Words, form: PixelFormat) -> DicomBytes:
    """Return the object with other pixels: `words` of `form`, as `read_words` gave them.

    Everything else stays, except what tells of the old pixels beside them: their padding, their extremes, an icon.
    """
    if form.planar and form.samples > 1:
        words = words.transpose(0, 3, 1, 2)
    data = words.astype(form.dtype, copy=False).tobytes()
    data += b"\0" * (len(data) % 2)
    new: Mapping[int, bytes] = {}
    vr = b"OW"
    if dicom.transfer_syntax in _NATIVE:
        vr = next(e.vr for e in dicom.elements if e.tag == PIXEL_DATA)
    else:
        new = dict(_described(dicom, form))
    chunks = []
    for element in dicom.elements:
        if element.tag in _STALE:
            continue
        if element.tag == PIXEL_DATA:
            chunks.append(encode_element(PIXEL_DATA, vr, data, dicom.syntax))
        elif element.tag in new:
            chunks.append(new[element.tag])
        else:
            chunks.append(dicom.buffer[element.start : element.end])
    buffer = b"".join(chunks)
    return replace(
        dicom,
        buffer=buffer,
        body=0,
        transfer_syntax=dicom.transfer_syntax if dicom.transfer_syntax in _NATIVE else EXPLICIT_LE,
        elements=parse(buffer, 0, len(buffer), dicom.syntax),
        layout=None,
    )


def _described(dicom: DicomBytes, form: PixelFormat) -> Iterator[tuple[int, bytes]]:
    """Yield the elements that describe pixels which are no longer compressed."""
    yield _PHOTOMETRIC, encode_element(_PHOTOMETRIC, b"CS", form.photometric.encode(), dicom.syntax)
    if form.samples > 1:
        yield _PLANAR, encode_element(_PLANAR, b"US", b"\0\0", dicom.syntax)
    yield 0x00280102, encode_element(0x00280102, b"US", form.high_bit.to_bytes(2, "little"), dicom.syntax)


def air_word(dicom: DicomBytes, form: PixelFormat) -> int:
    """Return the stored word of air, -1000 HU, as near as the object can hold it.

    Padding (0028,0120) means that nothing was measured: where air would fall into its range, the next value above is
    taken.
    """
    slope, intercept = rescale_of(dicom)
    low, high = form.limits
    air = min(max(round((-1000.0 - intercept) / slope), low), high)
    padding = _padding(dicom, form)
    if padding is not None and padding[0] <= air <= padding[1] < high:
        air = padding[1] + 1
    return form.word(air)


def _padding(dicom: DicomBytes, form: PixelFormat) -> tuple[int, int] | None:
    ends = []
    for tag in (0x00280120, 0x00280121):
        raw = dicom.value(tag)
        if raw is not None and len(raw) >= 2:
            bits = int.from_bytes(raw[:2], "little" if form.little else "big")
            # The sign is that of the pixels, whatever VR the element has.
            ends.append(bits - 0x10000 if form.signed and bits & 0x8000 else bits)
    return (min(ends), max(ends)) if ends else None
