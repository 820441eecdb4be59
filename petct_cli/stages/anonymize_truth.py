"""The true lesions of phantoms, written anew from an allow-list when their study is de-identified."""

from __future__ import annotations

import math
from typing import Any

import orjson

from petct_cli.core.errors import RecordError
from petct_cli.report.sites import load_sites


def clean_lesions(data: bytes) -> list[dict[str, Any]]:
    """Return the lesions of a truth file: known sites and sides, and numbers. Everything else is left out.

    Raises
    ------
    RecordError
        ``truth_unreadable``.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RecordError("truth_unreadable", "the lesions of the study are not JSON") from None
    lesions = value.get("lesions") if isinstance(value, dict) else value
    if not isinstance(lesions, list):
        raise RecordError("truth_unreadable", "the lesions of the study are no list")
    return [_clean(lesion) for lesion in lesions if isinstance(lesion, dict) and lesion.get("site") in load_sites()]


def _clean(lesion: dict[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {"site": lesion["site"]}
    side = lesion.get("side")
    clean["side"] = side if side in ("left", "right", "bilateral") else None
    for name in ("size_mm", "suv_max"):
        clean[name] = lesion[name] if _is_number(lesion.get(name)) else None
    centre = lesion.get("centre_mm")
    if isinstance(centre, list) and len(centre) == 3 and all(map(_is_number, centre)):
        clean["centre_mm"] = centre
    return clean


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
