"""Lesions as the clinical metrics compare them: a type, a set of places, an FDG uptake, and measures.

`Extractor` is what reads them in a text; `RuleExtractor` is the default. Whoever extracts otherwise (a model behind an
endpoint, say) returns the same lesions, or None where it failed: a failed extraction is never "no lesions".
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Protocol

from petct_cli.metrics.families import Fact
from petct_cli.report.language import VIETNAMESE
from petct_cli.report.lesions import EXTRACTOR_VERSION, ExtractedLesion, extract_lesions
from petct_cli.report.vocabulary import load_vocabulary

Place = tuple[str, str | None]
Span = tuple[int, int]

UPTAKE = ("increased", "none")
UNTYPED = "lesion"
"""The extractor's kind for words that name no type, such as "tổn thương": an unstated one."""


@dataclass(frozen=True, slots=True)
class ClinicalLesion:
    """One lesion, at one place or several.

    Attributes
    ----------
    kind
        Type: a kind of the extractor's vocabulary (node, nodule, mass, ...); None when not stated, `UNTYPED` included.
    places
        (organ, side) pairs in order, as `normal_places` gives them; empty when not stated.
    fdg
        ``increased``, ``none``, or None when not stated.
    size_mm, suv_max
        Largest diameter in millimetres, SUVmax; None when not stated.
    spans
        Half-open character ranges of the text that state it, the first mention first.
    """

    kind: str | None = None
    places: tuple[Place, ...] = ()
    fdg: str | None = None
    size_mm: float | None = None
    suv_max: float | None = None
    spans: tuple[Span, ...] = ()

    @property
    def organs(self) -> frozenset[str]:
        """The organs of its places."""
        return frozenset(organ for organ, _ in self.places)

    def order(self) -> tuple[object, ...]:
        """Return a key that sorts lesions by what they are, so that nothing depends on the order of telling."""
        return (
            tuple((organ, side or "") for organ, side in self.places),
            self.kind or "",
            self.fdg or "",
            -1.0 if self.size_mm is None else self.size_mm,
            -1.0 if self.suv_max is None else self.suv_max,
            self.spans,
        )


Lesions = tuple[ClinicalLesion, ...]


class Extractor(Protocol):
    """What reads the lesions that a text states; `name` and `version` belong in the signature of the scores."""

    def name(self, lang: str) -> str:
        """Return what it is called where it reads texts in `lang`."""

    @property
    def version(self) -> str:
        """Return which version of it this is: the same name and version find the same lesions in the same text."""

    def __call__(self, text: str, lang: str) -> Lesions | None:
        """Return the lesions that `text`, in `lang`, states, or None where the extraction failed."""


@dataclass(frozen=True)
class RuleExtractor:
    """The deterministic extractor of `petct_cli.report.lesions`; it never fails."""

    version: str = EXTRACTOR_VERSION

    def name(self, lang: str) -> str:
        """Return the name with the language, of which it has the vocabulary."""
        return f"rules-{lang}"

    def __call__(self, text: str, lang: str = VIETNAMESE) -> Lesions:
        return by_finding(extract_lesions(text, lang))


def by_finding(found: Iterable[ExtractedLesion]) -> Lesions:
    """Return one lesion per finding, with the places of all its parts; physiological uptake is no lesion."""
    findings: dict[int, list[ExtractedLesion]] = {}
    for lesion in found:
        if lesion.fdg != "physiological":
            findings.setdefault(lesion.finding, []).append(lesion)
    return tuple(_united(parts) for parts in findings.values())


def _united(parts: Sequence[ExtractedLesion]) -> ClinicalLesion:
    spans = dict.fromkeys(span for part in parts for span in (part.span, *part.mentions))
    return ClinicalLesion(
        kind=next((part.kind for part in parts if part.kind not in (None, UNTYPED)), None),
        places=normal_places((part.organ, part.side) for part in parts),
        fdg=next((part.fdg for part in parts if part.fdg in UPTAKE), None),
        size_mm=max((part.size_mm for part in parts if part.size_mm is not None), default=None),
        suv_max=max((part.suv_max for part in parts if part.suv_max is not None), default=None),
        spans=tuple(spans),
    )


def of_facts(facts: Iterable[Fact]) -> Lesions:
    """Return the true lesions of a sample: they take up FDG, and only of lymph nodes the type is known.

    What differs in nothing but the side is one lesion on both sides, as a report tells it.
    """
    sides: dict[tuple[str, float | None, float | None], list[str | None]] = {}
    for fact in facts:
        sides.setdefault((fact.site, fact.size_mm, fact.suv_max), []).append(fact.side)
    return tuple(
        ClinicalLesion(
            kind="node" if site.endswith("_node") else None,
            places=normal_places((site, side) for side in one),
            fdg="increased",
            size_mm=size_mm,
            suv_max=suv_max,
        )
        for (site, size_mm, suv_max), found in sides.items()
        for one in ([found] if sorted(map(str, found)) == ["left", "right"] else [[side] for side in found])
    )


def at_sites(lesion: ClinicalLesion) -> ClinicalLesion:
    """Return a lesion with the lesion sites of its places, as true lesions name them, where they have one.

    A node behind the peritoneum is an abdominal node: who knows the site alone cannot ask for more.
    """
    words = load_vocabulary()
    site_of = words.node_sites if lesion.kind == "node" else words.sites
    return replace(lesion, places=normal_places((site_of.get(organ, organ), side) for organ, side in lesion.places))


def normal_places(places: Iterable[tuple[str | None, str | None]]) -> tuple[Place, ...]:
    """Return places in their one form, in order.

    Both sides are a left and a right place; a site is the organ that it is at; an organ that is named with a side and
    without one has the side.
    """
    same = organ_table().same
    sided: set[Place] = set()
    for organ, side in places:
        if organ is not None:
            name = same.get(organ, organ)
            sided.update((name, one) for one in (("left", "right") if side == "bilateral" else (side,)))
    kept = {(organ, side) for organ, side in sided if side or not sided & {(organ, "left"), (organ, "right")}}
    return tuple(sorted(kept, key=lambda place: (place[0], place[1] or "")))


@dataclass(frozen=True)
class OrganTable:
    """``data/organs.toml``: the scope of each organ, and the organ of each lesion site that has another name."""

    scopes: tuple[str, ...]
    scope_of: Mapping[str, str]
    same: Mapping[str, str]


@cache
def organ_table() -> OrganTable:
    """Read the table of organs."""
    table = tomllib.loads(files("petct_cli.metrics").joinpath("data/organs.toml").read_text("utf-8"))
    scope_of = {organ: scope for scope, organs in table["scopes"].items() for organ in organs}
    return OrganTable(tuple(table["scopes"]), MappingProxyType(scope_of), MappingProxyType(table["same"]))


def scopes_of(lesion: ClinicalLesion) -> frozenset[str]:
    """Return the scopes in which a lesion has a place; none for one without a place."""
    scope_of = organ_table().scope_of
    return frozenset(scope_of[organ] for organ in lesion.organs if organ in scope_of)
