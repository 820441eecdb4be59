"""What pixel data can hold beside pixels: bytes after the last pixel, and in compressed ones comments and boxes.

Pixel data are copied bit for bit, so none of this is taken out; `output.ResidualScan` searches it and refuses a hit.
"""

from __future__ import annotations

from collections.abc import Iterator

from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.syntax import PIXEL_TAGS, Element, items

_ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008
_MOST_DIGITS = 12  # of an IS
_FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}

_RLE, _RLE_HEADER, _MOST_SEGMENTS, _NO_OPERATION = "1.2.840.10008.1.2.5", 64, 15, 128
_SOI, _EOI, _SOC = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM_BOX = b"jp2c"
_SOS, _SOT, _J2K_COMMENT = 0xDA, 0x90, 0x64
_FIRST_APPLICATION, _LAST_APPLICATION, _COMMENT = 0xE0, 0xEF, 0xFE


def beside_pixels(dicom: DicomBytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and bytes of what the pixel data of an object hold beside pixels: nobody sees it."""
    for element in dicom.elements:
        if element.tag in PIXEL_TAGS:
            for data in (*_texts(dicom, element), *_after(dicom, element)):
                yield element.tag, data


def has_bytes_after_pixels(dicom: DicomBytes) -> bool:
    """Say whether pixel data go on after their last pixel with more than padding (one byte, or nought)."""
    return any(any(data[1:]) for e in dicom.elements if e.tag in PIXEL_TAGS for data in _after(dicom, e))


def texts_beside_pixels(dicom: DicomBytes) -> Iterator[bytes]:
    """Yield comments, application segments and boxes of compressed frames."""
    for element in dicom.elements:
        if element.tag in PIXEL_TAGS:
            yield from _texts(dicom, element)


def _after(dicom: DicomBytes, element: Element) -> Iterator[bytes]:
    """Yield what follows the last pixel, of each frame where they are compressed."""
    if element.undefined:
        area = dicom.number(_ROWS, 0) * dicom.number(_COLUMNS, 0)
        for frame in _frames(dicom, element):
            end = _end_of_runs(frame, area) if dicom.transfer_syntax == _RLE else _end_of_codestream(frame)
            if end is not None and end < len(frame):
                yield frame[end:]
    else:
        size = _pixel_bytes(dicom, element.tag)
        if size and element.value + size < element.value_end:
            yield dicom.buffer[element.value + size : element.value_end]


def _texts(dicom: DicomBytes, element: Element) -> Iterator[bytes]:
    if not element.undefined:
        return
    for frame in _frames(dicom, element):
        if dicom.transfer_syntax == _RLE:
            # Offsets of segments that are not there must be nought (PS3.5 G.5).
            unused = frame[4 + 4 * int.from_bytes(frame[:4], "little") : _RLE_HEADER]
            if any(unused):
                yield unused
        elif frame.startswith(_JP2_SIGNATURE):
            yield from _boxes(frame)
        elif frame.startswith((_SOI, _SOC)):
            yield from _segments(frame)


def _frames(dicom: DicomBytes, element: Element) -> Iterator[bytes]:
    """Yield frames; a fragment that does not begin one continues the one before."""
    found = items(dicom.buffer, element.value, element.value_end, dicom.syntax)
    frame: list[bytes] = []
    for item in found[1:]:
        fragment = dicom.buffer[item.value : item.value_end]
        if frame and (dicom.transfer_syntax == _RLE or fragment.startswith((_SOI, _SOC, _JP2_SIGNATURE))):
            yield b"".join(frame)
            frame = []
        frame.append(fragment)
    if frame:
        yield b"".join(frame)


def _end_of_codestream(frame: bytes) -> int | None:
    """Return where a frame of the JPEG family is over; None for bytes that are none."""
    if frame.startswith(_JP2_SIGNATURE):
        return len(frame)  # boxes are told apart by `_boxes`
    if not frame.startswith((_SOI, _SOC)):
        return 0
    end = frame.rfind(_EOI)
    return end + 2 if end >= 0 else None


def _end_of_runs(frame: bytes, area: int) -> int | None:
    """Return where the last run of an RLE frame ends (PS3.5 G.3), whose segments decode to `area` bytes each."""
    count = int.from_bytes(frame[:4], "little")
    if not area or not 1 <= count <= _MOST_SEGMENTS or len(frame) < _RLE_HEADER:
        return 0
    position = int.from_bytes(frame[4 * count : 4 * count + 4], "little")
    decoded, end = 0, len(frame)
    while decoded < area and position < end:
        control = frame[position]
        if control < _NO_OPERATION:
            decoded += control + 1
            position += control + 2
        elif control > _NO_OPERATION:
            decoded += 257 - control
            position += 2
        else:
            position += 1
    return position


def _pixel_bytes(dicom: DicomBytes, tag: int) -> int:
    """Return how many bytes the pixels of a native image take, 0 when the header does not say."""
    bits = _FLOAT_BITS.get(tag) or dicom.number(_BITS, 0)
    frames = dicom.text(_FRAMES)[:_MOST_DIGITS]
    samples = dicom.number(_ROWS, 0) * dicom.number(_COLUMNS, 0) * dicom.number(_SAMPLES, 1)
    return -(-bits * samples * (int(frames) if frames.isdecimal() else 1) // 8)


def _segments(frame: bytes) -> Iterator[bytes]:
    """Yield comments and application data of the header, up to where the image begins."""
    is_jpeg_2000 = frame.startswith(_SOC)
    last = _SOT if is_jpeg_2000 else _SOS
    position = 2
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        if marker == last:
            return
        is_text = marker == _J2K_COMMENT if is_jpeg_2000 else _is_text(marker)
        if is_text:
            yield frame[position + 4 : position + 2 + length]
        position += 2 + length


def _is_text(marker: int) -> bool:
    return marker == _COMMENT or _FIRST_APPLICATION <= marker <= _LAST_APPLICATION


def _boxes(frame: bytes) -> Iterator[bytes]:
    """Yield the boxes of a JP2 file other than the codestream, and what is beside the pixels in that."""
    position = 0
    while position + 8 <= len(frame):
        size = int.from_bytes(frame[position : position + 4], "big") or len(frame) - position
        if size < 8:
            yield frame[position:]
            return
        content = frame[position + 8 : position + size]
        if frame[position + 4 : position + 8] == _CODESTREAM_BOX:
            yield from _segments(content)
        elif position:
            yield content
        position += size
