"""The compiled vocabulary of the lesion extractor (``data/vocabulary_vi.toml`` and ``data/sites.toml``)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from petct_cli.report.normalise import fold
from petct_cli.report.sites import load_sites


@dataclass(frozen=True)
class Place:
    """Where a lesion can be: an organ, and the lesion site when nodes or something else are there."""

    organ: str
    node: str | None = None
    site: str | None = None
    forced: bool = False
    """The term itself says that it is a lymph node ("hạch cổ")."""


@dataclass(frozen=True)
class PlacePattern:
    """A place that is written as a code ("D4") rather than a word, when the sentence is about `context`."""

    pattern: re.Pattern[str]
    context: re.Pattern[str] | None
    place: Place


@dataclass(frozen=True)
class Vocabulary:
    """Patterns over canonical text (`petct_cli.report.normalise.fold`)."""

    heads: re.Pattern[str]
    kind_of: Mapping[str, str]
    places: re.Pattern[str]
    place_of: Mapping[str, Place]
    codes: tuple[PlacePattern, ...]
    cues: Mapping[str, re.Pattern[str]]
    sides: tuple[tuple[str, re.Pattern[str]], ...]
    not_a_side: re.Pattern[str]


# "tỷ" and "tỉ", "thùy" and "thuỳ" are both right; the latter is settled by `fold`, the former here.
_I_OR_Y = (("tỷ", "tỉ"), ("kỹ", "kĩ"))


def _spellings(term: str) -> Iterable[str]:
    folded = fold(term)
    yield folded
    for one, other in _I_OR_Y:
        if one in folded:
            yield folded.replace(one, other)


def _any_of(terms: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(set(terms), key=lambda term: (-len(term), term))
    return re.compile(r"\b(?:" + "|".join(re.escape(term) for term in longest_first) + r")\b")


@cache
def load_vocabulary() -> Vocabulary:
    """Read and compile the vocabulary."""
    table = tomllib.loads(files("petct_cli.report").joinpath("data/vocabulary_vi.toml").read_text("utf-8"))
    kind_of = {
        spelling: kind for kind, terms in table["heads"].items() for term in terms for spelling in _spellings(term)
    }
    place_of: dict[str, Place] = {}
    codes: list[PlacePattern] = []
    for entry in table["places"]:
        place = Place(entry["organ"], entry.get("node"), entry.get("site"))
        place_of |= {spelling: place for term in entry["terms"] for spelling in _spellings(term)}
        if "pattern" in entry:
            context = re.compile(entry["context"]) if "context" in entry else None
            codes.append(PlacePattern(re.compile(entry["pattern"]), context, place))
    for site in load_sites().values():
        is_node = site.key.endswith("_node")
        place = Place(site.key, site.key if is_node else None, None if is_node else site.key, forced=is_node)
        for term in site.terms:
            for spelling in _spellings(term):
                known = place_of.get(spelling)
                place_of[spelling] = Place(known.organ, place.node, place.site, is_node) if known else place
    sides = table["sides"]
    return Vocabulary(
        heads=_any_of(kind_of),
        kind_of=kind_of,
        places=_any_of(place_of),
        place_of=place_of,
        codes=tuple(codes),
        cues={name: re.compile(fold(pattern)) for name, pattern in table["cues"].items()},
        sides=tuple((side, re.compile(sides[side])) for side in ("bilateral", "right", "left")),
        not_a_side=re.compile(sides["not_a_side"]),
    )
