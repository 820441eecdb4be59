"""What pixel data can hold beside pixels: bytes after the last pixel, and in compressed ones comments and boxes.

Pixel data are copied bit for bit, so none of this is taken out; `output.ResidualScan` searches it and refuses a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from petct_cli.dicom.deid.syntax import PIXEL_TAGS, DicomBytes, items

_ROWS, _COLUMNS, _SAMPLES, _BITS, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008
_MOST_DIGITS = 12  # of an IS
_FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}

_SOI, _EOI, _SOC = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM_BOX = b"jp2c"
_SOS, _SOT, _J2K_COMMENT = 0xDA, 0x90, 0x64
_FIRST_APPLICATION, _LAST_APPLICATION, _COMMENT = 0xE0, 0xEF, 0xFE


def beside_pixels(dicom: DicomBytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and bytes of what the pixel data of an object hold beside pixels: nobody sees it."""
    for element in dicom.elements:
        if element.tag not in PIXEL_TAGS:
            continue
        if element.undefined:
            found = items(dicom.buffer, element.value, element.value_end, dicom.syntax)
            fragments = (dicom.buffer[item.value : item.value_end] for item in found[1:])
            yield from ((element.tag, data) for data in beside_frames(fragments))
        else:
            size = _pixel_bytes(dicom, element.tag)
            if size and element.value + size < element.value_end:
                yield element.tag, dicom.buffer[element.value + size : element.value_end]


def has_bytes_after_pixels(dicom: DicomBytes) -> bool:
    """Say whether native pixel data go on after their last pixel with more than padding (one byte, or nought)."""
    return any(
        not element.undefined
        and (size := _pixel_bytes(dicom, element.tag))
        and any(dicom.buffer[element.value + size + 1 : element.value_end])
        for element in dicom.elements
        if element.tag in PIXEL_TAGS
    )


def _pixel_bytes(dicom: DicomBytes, tag: int) -> int:
    """Return how many bytes the pixels of a native image take, 0 when the header does not say."""
    bits = _FLOAT_BITS.get(tag) or dicom.number(_BITS, 0)
    frames = dicom.text(_FRAMES)[:_MOST_DIGITS]
    samples = dicom.number(_ROWS, 0) * dicom.number(_COLUMNS, 0) * dicom.number(_SAMPLES, 1)
    return -(-bits * samples * (int(frames) if frames.isdecimal() else 1) // 8)


def beside_frames(fragments: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of encapsulated frames that are no image (ISO/IEC 10918-1, 14495-1, 15444-1).

    Parameters
    ----------
    fragments
        The items of the pixel data without the offset table. One that does not begin a frame continues the one before.
    """
    frame: list[bytes] = []
    for fragment in fragments:
        if frame and fragment.startswith((_SOI, _SOC, _JP2_SIGNATURE)):
            yield from _of_frame(b"".join(frame))
            frame = []
        frame.append(fragment)
    if frame:
        yield from _of_frame(b"".join(frame))


def _of_frame(frame: bytes) -> Iterator[bytes]:
    if frame.startswith(_JP2_SIGNATURE):
        yield from _boxes(frame)
        return
    if not frame.startswith((_SOI, _SOC)):
        return  # RLE: segments without room for text
    yield from _segments(frame)
    end = frame.rfind(_EOI)
    if end >= 0 and any(frame[end + 2 :]):
        yield frame[end + 2 :]


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
            yield from _of_frame(content)
        else:
            yield content
        position += size
