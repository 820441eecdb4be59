"""Report files as text: the encodings of hospitals; fonts from before Unicode and wrong conversions are refused.

TCVN3 (``BÖnh nh©n``) and VNI (``Beänh nhaân``) draw Vietnamese with other letters, which no rule can read.
"""

from __future__ import annotations

import re
import unicodedata

from petct_cli.core.errors import RecordError

# TCVN3 puts signs inside words; VNI writes a vowel's marks as a letter of their own, and ñ for đ.
_LEGACY = re.compile(
    r"(?<=[^\W\d_])[©®¬­µ¶·¸¹»¼½¾¨«¦§¤£¢¥±°²³´¿¡](?=[^\W\d_]|[\s,.;:]|$)|[©®µ¶·¸¹»¼½¾¨«¦§¤¢¥¬](?=[^\W\d_])"
    r"|[aeiouyAEIOUYôöÔÖ][øûïäåëØÛÏÄÅË](?![aeiouy])|\b[ñÑ](?=\w)"
)
# UTF-8 that was read as a Western code page and written again (of "ồ", "ặ", "à", "đ", "ư", "ơ"), letters that became
# question marks within a word because a code page did not have them, and what stands for bytes that were none.
_GARBLED = re.compile(r"á[º»]|Ã[\u00a0-\u00bf]|Ä[\u0090\u0091‘’ƒ©¨]|Æ[°¡]|(?<=[^\W\d_])\?(?=[^\W\d_])|\ufffd")
# Each match of the two has one of these signs: looking for single signs is ten times as fast.
_LEGACY_SIGN = re.compile(r"[©®¬­µ¶·¸¹»¼½¾¨«¦§¤£¢¥±°²³´¿¡øûïäåëØÛÏÄÅËñÑ]")
_GARBLED_SIGN = re.compile(r"[\u00a0-\u00bf\u0090\u0091‘’ƒ?\ufffd]")
_LETTER = re.compile(r"[^\W\d_]")
_MIN_LEGACY, _LEGACY_SHARE = 4, 0.02
_MIN_NUL_SHARE = 0.2
_WORD = re.compile(r"[^\W\d_]+")
_MIN_SYLLABLES = 0.6
_SYLLABLE = re.compile(
    r"(?:b|ch?|d|đ|g[hi]?|h|kh?|l|m|ngh?|nh?|ph?|qu|r|s|th?|tr?|v|x)?[aăâeêioôơuưy]{1,3}(?:ch?|m|ng?|nh|p|t)?"
)


def decode_report(data: bytes) -> str:
    """Return the text of a report file: UTF-8 with or without its mark, UTF-16, UTF-32, or Windows code page 1258.

    Raises
    ------
    RecordError
        ``report_encoding``: it is none of these, in a font from before Unicode, or garbled (`refuse_legacy`).
    """
    text = _decoded(data)
    if text is None:
        raise RecordError("report_encoding", "the report is in no encoding that petct can read")
    refuse_legacy(text)
    return text.lstrip("\ufeff")


def refuse_legacy(text: str) -> None:
    """Refuse text that was typed for a TCVN3 or VNI font, and text that a wrong conversion has garbled.

    Raises
    ------
    RecordError
        ``report_encoding``
    """
    if is_legacy(text):
        raise RecordError("report_encoding", "the report is in TCVN3 or VNI letters; convert it to Unicode")
    if _is_many(_GARBLED, _GARBLED_SIGN, text):
        raise RecordError("report_encoding", "letters of the report were lost when it was converted to Unicode")


def is_legacy(text: str) -> bool:
    """Say whether text was typed for a font from before Unicode.

    >>> is_legacy("BÖnh nh©n NguyÔn V¨n An, phæi ph¶i b×nh th­êng"), is_legacy("hố Rosenmüller, Hürthle, Sjögren")
    (True, False)
    """
    return not text.isascii() and _is_many(_LEGACY, _LEGACY_SIGN, unicodedata.normalize("NFC", text))


def _is_many(pattern: re.Pattern[str], sign: re.Pattern[str], text: str) -> bool:
    if len(sign.findall(text)) < _MIN_LEGACY:
        return False
    strange = len(pattern.findall(text))
    return strange >= _MIN_LEGACY and strange >= _LEGACY_SHARE * len(_LETTER.findall(text))


def _decoded(data: bytes) -> str | None:
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return _strictly(data, "utf-32")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _strictly(data, "utf-16")
    if data.count(0) > _MIN_NUL_SHARE * len(data):
        return _strictly(data, "utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
    text = _strictly(data, "utf-8-sig")
    if text is not None or b"\0" in data:
        return text
    text = _strictly(data, "cp1258")
    return text if text is not None and _is_vietnamese(text) else None


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_vietnamese(text: str) -> bool:
    """Say whether most words could be syllables of Vietnamese."""
    return syllable_share(text) >= _MIN_SYLLABLES


def syllable_share(text: str) -> float:
    """Return which share of the words could be syllables of Vietnamese; 0 for no words."""
    tones = "\u0300\u0301\u0303\u0309\u0323"
    decomposed = "".join(c for c in unicodedata.normalize("NFD", text) if c not in tones)
    found = _WORD.findall(unicodedata.normalize("NFC", decomposed).casefold())
    return sum(_SYLLABLE.fullmatch(word) is not None for word in found) / len(found) if found else 0.0
