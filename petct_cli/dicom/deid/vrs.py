"""What the data dictionary says: the VR of a tag, and which UIDs are the standard's own."""

from __future__ import annotations

from functools import cache

from petct_cli.dicom.deid.dictionary import dictionary_vr, is_in_dictionary, standard_uids

LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
KNOWN_VRS = LONG_VRS | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
BULK_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV"})
TEXT_VRS = frozenset({b"LO", b"LT", b"SH", b"ST", b"UC", b"UT"})


@cache
def is_known(tag: int) -> bool:
    """Say whether the data dictionary has `tag` (retired and repeating groups included)."""
    return is_in_dictionary(tag)


@cache
def vr_of(tag: int) -> bytes:
    """Return the VR that the data dictionary gives `tag`; UN for what it does not know, OW/US for ``or`` entries."""
    if tag & 0xFFFF == 0:
        return b"UL"
    if tag >> 16 & 1:
        return b"LO" if 0x10 <= tag & 0xFFFF <= 0xFF else b"UN"
    return (dictionary_vr(tag) or "UN").encode()[:2]


_RULING_VRS = frozenset({b"SQ", b"UI", b"DA", b"DT", b"PN", b"AE", b"UR"})


@cache
def meant_vr(tag: int, vr: bytes) -> bytes:
    """Return the VR that decides how a value is treated.

    A date, a name or a UID stays one when a file calls it LO or UN, text is text when a file calls it OB; a sequence
    is one whatever the dictionary says, because of how its bytes lie.
    """
    if vr == b"SQ":
        return vr
    defined = vr_of(tag)
    if vr == b"UN" or defined in _RULING_VRS:
        return defined
    return defined if vr in BULK_VRS and defined != b"UN" and defined not in BULK_VRS else vr


def is_standard_uid(uid: str) -> bool:
    """Say whether the standard itself registers `uid`; one that only begins like it names an instance."""
    return uid in standard_uids()
