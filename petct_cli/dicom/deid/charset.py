"""Text in DICOM character sets (PS3.5 6.1), read and written without ever failing."""

from __future__ import annotations

import warnings
from contextlib import suppress

# PS3.3 C.12.1.1.2, Table C.12-3 and C.12-4: what escape sequences can switch to.
_CODE_EXTENSIONS = tuple(
    f"ISO 2022 IR {number}"
    for number in (6, 87, 159, 149, 58, 13, 100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 166)
)
# As pydicom reads them when nothing else is declared.
_LATIN_1 = ([""], ["ISO_IR 6"], ["ISO_IR 100"])


def decode_text(value: bytes, charset: bytes) -> str:
    """Return text in a DICOM character set (PS3.5 6.1); bytes that do not belong there read as Latin-1."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    terms = [part.decode("latin-1").strip(" \0") for part in charset.split(b"\\")]
    if b"\x1b" in value:
        # ISO 2022: bytes of seven bits that are characters of other sets, declared or not.
        terms += [term for term in _CODE_EXTENSIONS if term not in terms]
    else:
        # Files say one thing and hold UTF-8 often enough; text of another set hardly ever reads as UTF-8.
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
        if terms[0] == "ISO_IR 192" or terms in _LATIN_1:
            return value.decode("latin-1")
    from pydicom.charset import convert_encodings, decode_bytes

    try:
        with warnings.catch_warnings():
            # What pydicom warns about may quote the value.
            warnings.simplefilter("ignore")
            return str(decode_bytes(value, convert_encodings(terms), {"\n", "\r", "\t", "\f", "\\", "^", "="}))
    except (LookupError, ValueError):  # a damaged name of a set may hold a NUL
        return value.decode("latin-1")


def encode_text(text: str, charset: bytes) -> bytes:
    """Return text as bytes of a DICOM character set, nothing when the set cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    terms = [part.decode("latin-1").strip(" \0") for part in charset.split(b"\\")]
    if terms == ["ISO_IR 192"]:
        with suppress(UnicodeEncodeError):
            return text.encode("utf-8")
    from pydicom.charset import convert_encodings, encode_string

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoded = bytes(encode_string(text, convert_encodings(terms)))
    except (LookupError, ValueError):
        return b""
    # What the set cannot hold comes out as question marks, which would not be the cleaned text.
    return b"" if b"?" in encoded and "?" not in text else encoded
