"""Which treatment an element gets: the table's action for its tag, else a rule for its VR."""

from __future__ import annotations

from petct_cli.dicom.deid.profile import Profile
from petct_cli.dicom.deid.syntax import PIXEL_TAGS
from petct_cli.dicom.deid.vrs import BULK_VRS, TEXT_VRS, is_known, meant_vr

CODED_VRS = frozenset({b"CS"})
# Numbers and times written as characters: what else stands in them is emptied.
WRITTEN_NUMBERS = frozenset({b"DS", b"IS", b"TM"})
PATIENT_NAME, PATIENT_ID, PATIENT_AGE, CHARSET = 0x00100010, 0x00100020, 0x00101010, 0x00080005
_TIMEZONE = 0x00080201


def plan_for(tag: int, vr: bytes, profile: Profile, *, top: bool) -> str:  # noqa: PLR0911  one line per rule
    """Return how elements of `tag` and `vr` are treated.

    One of keep, drop, recurse, uid, date, age, empty, dummy, patient, clean, technical (cleaned only of the study's own
    values), number and full_date (kept when it is one). An attribute that no row of the table names is treated by its
    VR: dates move, UIDs are replaced, names go, text is cleaned.
    """
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0 or group < 8:
        return "drop"
    if is_graphics(tag):
        return _graphics_plan(tag, vr, profile)
    if tag == CHARSET:
        return "keep"
    if tag in PIXEL_TAGS:
        # Only the image's own pixels are what was looked at; others (icons) may show anything.
        return "keep" if top else "drop"
    known = meant_vr(tag, vr)
    if tag == PATIENT_AGE:
        return "age" if profile.has("retain_patient_characteristics") else "drop"
    action = (profile.top if top else profile.nested).get(tag)
    if action is None:
        return _by_vr(tag, known, profile)
    return _by_action(action, tag, known, profile)


def is_graphics(tag: int) -> bool:
    """Say whether `tag` lies in the repeating groups of curves (50xx) or overlays (60xx)."""
    return 0x5000 <= tag >> 16 <= 0x50FF or 0x6000 <= tag >> 16 <= 0x60FF


def _graphics_plan(tag: int, vr: bytes, profile: Profile) -> str:
    """Return how an element of a curve or overlay that stays (`Rewriter`) is treated."""
    known = meant_vr(tag, vr)
    number = tag & 0xFFFF
    is_sound = tag >> 16 < _FIRST_OVERLAY and (number in _AUDIO or number == _AUDIO_COMMENTS)
    if not profile.has("clean_graphics") or not is_known(tag) or number == _OVERLAY_COMMENTS or is_sound:
        return "drop"
    if known in TEXT_VRS or known in CODED_VRS:
        return "clean"
    return "number" if known in WRITTEN_NUMBERS else "keep" if known in _GRAPHICS_VRS else "drop"


_OVERLAY_COMMENTS, _FIRST_OVERLAY = 0x4000, 0x6000
# Sound that was kept as a curve: dictation.
_AUDIO, _AUDIO_COMMENTS = range(0x2000, 0x2010), 0x1001
_GRAPHICS_VRS = frozenset({b"US", b"SS", b"UL", b"SL", b"OW", b"OB", b"FL", b"FD"})


def _by_action(action: str, tag: int, vr: bytes, profile: Profile) -> str:  # noqa: PLR0911  one line per rule
    if action == "X":
        return "drop"
    if action == "Z":
        return "patient" if tag in (PATIENT_NAME, PATIENT_ID) else "empty"
    if action == "D":
        if tag in (PATIENT_NAME, PATIENT_ID):
            return "patient"
        return "dummy"
    if vr == b"SQ":
        return "recurse"
    if action == "U" or vr == b"UI":
        return "keep" if action == "K" else "uid"
    if vr in (b"DA", b"DT"):
        return "full_date" if profile.has("retain_full_dates") else "date"
    if vr == b"TM" or (action == "K" and vr in WRITTEN_NUMBERS):
        return "number"
    if action == "K" or tag == _TIMEZONE:
        return "technical" if vr in TEXT_VRS else "keep"
    if vr in TEXT_VRS or vr in CODED_VRS:
        return "clean"
    return "empty" if vr not in BULK_VRS else "drop"


def _by_vr(tag: int, vr: bytes, profile: Profile) -> str:  # noqa: PLR0911  one line per rule
    if vr == b"SQ":
        return "recurse"
    if vr in (b"DA", b"DT"):
        return "full_date" if profile.has("retain_full_dates") else "date"
    if vr == b"UI":
        return "keep" if tag in profile.class_uids or profile.has("retain_uids") else "uid"
    if vr in (b"PN", b"AE", b"UR"):
        return "empty"
    if vr in TEXT_VRS:
        return "technical" if tag in profile.technical_text else "clean"
    if vr in CODED_VRS:
        return "clean"
    if vr == b"UN" or not is_known(tag):
        # What no dictionary knows could hold anything.
        return "drop"
    if vr in BULK_VRS and tag not in profile.kept_bulk:
        return "drop"
    return "number" if vr in WRITTEN_NUMBERS else "keep"
