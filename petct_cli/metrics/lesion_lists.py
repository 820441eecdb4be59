"""Lesion lists that others extracted or wrote: physicians' lists, a model's answers, petct's own fields.

A list is free text under keys of its own (``data/lesion_lists.toml``). Types and places are read with the vocabulary of
the text extractor, so that a list and a text get the same categories.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from petct_cli.metrics.clinical_lesions import (
    UNTYPED,
    UPTAKE,
    ClinicalLesion,
    Lesions,
    Place,
    RuleExtractor,
    normal_places,
)
from petct_cli.report.language import ENGLISH, language_of
from petct_cli.report.measures import find_measures
from petct_cli.report.normalise import fold
from petct_cli.report.sites import load_sites
from petct_cli.report.vocabulary import load_vocabulary

_SIDES = ("left", "right", "bilateral")
_DEEPEST = 3


def read_lesions(value: Any) -> Lesions | None:
    """Return the lesions of a list, None where `value` is no list of lesions: the extraction failed.

    Parameters
    ----------
    value
        What a record holds: a list of objects. An empty list says that there are no lesions; null, an object with an
        ``error``, or a list with anything but objects says that nobody knows.
    """
    if not isinstance(value, list) or not all(isinstance(one, Mapping) and one and "error" not in one for one in value):
        return None
    return tuple(_read_lesion(one) for one in value)


@dataclass(frozen=True)
class _Words:
    keys: Mapping[str, tuple[str, ...]]
    unstated: frozenset[str]
    fdg_none: tuple[str, ...]
    fdg_increased: tuple[str, ...]


@cache
def _words() -> _Words:
    table = tomllib.loads(files("petct_cli.metrics").joinpath("data/lesion_lists.toml").read_text("utf-8"))
    answers = table["answers"]
    return _Words(
        keys={what: tuple(map(fold, names)) for what, names in table["keys"].items()},
        unstated=frozenset(map(fold, answers["unstated"])),
        fdg_none=tuple(map(fold, answers["fdg_none"])),
        fdg_increased=tuple(map(fold, answers["fdg_increased"])),
    )


def _read_lesion(given: Mapping[str, Any]) -> ClinicalLesion:
    told = _told(given)
    kind = ", ".join(filter(None, map(_text, told.get("kind", ()))))
    read = [_kind_and_places(kind, *place) for place in _places(told) or [("", None)]]
    sizes = [size for answer in told.get("size", ()) if (size := _measure(answer, "size")) is not None]
    suvs = [suv for answer in told.get("suv", ()) if (suv := _measure(answer, "suv")) is not None]
    uptakes = [uptake for answer in told.get("fdg", ()) if (uptake := _uptake(answer)) is not None]
    return ClinicalLesion(
        kind=next((kind for kind, _ in read if kind is not None), None),
        places=normal_places(place for _, places in read for place in places),
        fdg=uptakes[0] if uptakes else None,
        size_mm=max(sizes, default=None),
        suv_max=max(suvs, default=None),
    )


def _told(given: Mapping[str, Any]) -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {}
    for what, answer in _answers(given):
        told.setdefault(what, []).append(answer)
    return told


def _places(told: Mapping[str, list[Any]], whole: str | None = None) -> list[tuple[str, str | None]]:
    """Return (words of a place, side) as they were answered; a place with a side of its own keeps it."""
    sides = [fold(text) for answer in told.get("side", ()) if (text := _text(answer))]
    side = next((text for text in sides if text in _SIDES), whole)
    places: list[tuple[str, str | None]] = []
    for answer in told.get("place", ()):
        if isinstance(answer, Mapping):
            inner = {
                what: [one for one in found if not isinstance(one, Mapping)] for what, found in _told(answer).items()
            }
            places += _places(inner, side)
        elif text := _text(answer):
            places.append((text, side))
    return places


def _answers(given: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield (what, answer), with lists and what is nested taken apart; nobody nests deeper than some levels."""
    for key, answer in given.items():
        name = fold(str(key)).strip()
        fitting = [
            (len(begin), what) for what, begins in _words().keys.items() for begin in begins if name.startswith(begin)
        ]
        what = max(fitting)[1] if fitting else None
        for one in answer if isinstance(answer, list) else [answer]:
            if isinstance(one, Mapping) and what != "place":
                yield from _answers(one, depth + 1) if depth < _DEEPEST else ()
            elif what is not None and what != "nested":
                yield what, one


def _text(answer: Any) -> str:
    """Return what was answered, empty where that says nothing."""
    text = answer.strip() if isinstance(answer, str) else ""
    return "" if fold(text).strip(" .") in _words().unstated else text


@lru_cache(maxsize=65536)
def _kind_and_places(kind: str, place: str, side: str | None) -> tuple[str | None, tuple[Place, ...]]:
    """Return type and places from the words of a report, or from keys of the vocabulary."""
    kinds, organs = _vocabulary()
    keys = [part.strip() for part in place.split(",")]
    if place and all(key in organs for key in keys):
        known: tuple[str | None, tuple[Place, ...]] = (None, normal_places((key, side) for key in keys))
        if kind in kinds:
            return kind, known[1]
        return _of_words(kind, "")[0] or ("node" if all(key.endswith("_node") for key in keys) else None), known[1]
    found = _of_words("" if kind in kinds else kind, place)
    places = found[1] if side is None else normal_places((organ, one or side) for organ, one in found[1])
    return (kind if kind in kinds else found[0]), places


@cache
def _vocabulary() -> tuple[frozenset[str], frozenset[str]]:
    """Return the kinds and the organs and sites that the extractor knows, by their keys."""
    terms = load_vocabulary().meanings.values()
    organs = {term.organ for term in terms if term.organ is not None}
    kinds = frozenset(term.kind for term in terms if term.kind not in (None, UNTYPED))
    return kinds, frozenset({*organs, *load_sites()})


def _of_words(kind: str, place: str) -> tuple[str | None, tuple[Place, ...]]:
    """Read a made sentence as the extractor reads a report; where it finds several lesions, their places together.

    A size stands in it, since the extractor passes over vague findings without a measure; it is not read here.
    """
    if not kind and not place:
        return None, ()
    stated = f"{kind} ở {place}" if place else kind
    english = (
        f"{kind} of the {place}, 10 mm, increased FDG uptake." if place else f"{kind}, 10 mm, increased FDG uptake."
    )
    if language_of(f"{kind} {place}") == ENGLISH:
        found = RuleExtractor()(english, ENGLISH)
    else:
        found = RuleExtractor()(f"{stated}, kích thước 10 mm, tăng chuyển hóa FDG.")
    named = next((lesion.kind for lesion in found if lesion.kind is not None), None)
    return named, normal_places(one for lesion in found for one in lesion.places)


def _measure(answer: Any, what: str) -> float | None:
    """Return a size in millimetres or an SUVmax; a bare number is one; nothing and 0 are none."""
    if isinstance(answer, bool) or answer is None:
        return None
    if isinstance(answer, int | float):
        return float(answer) if math.isfinite(answer) and answer > 0 else None
    text = _text(answer)
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        measures = find_measures(fold(text if what == "size" else f"suvmax {text}"))
        number = (measures.size_mm if what == "size" else measures.suv_max) or 0.0
    return number if math.isfinite(number) and number > 0 else None


def _uptake(answer: Any) -> str | None:
    if isinstance(answer, str) and answer in UPTAKE:
        return answer
    text = fold(_text(answer))
    if not text:
        return None
    if text.startswith(_words().fdg_none):
        return "none"
    return "increased" if text.startswith(_words().fdg_increased) else None
