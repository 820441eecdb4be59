"""What the rules read in each text, once for all metrics that ask: reading takes longer than comparing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from petct_cli.metrics.clinical_lesions import ClinicalLesion, Lesions, by_finding
from petct_cli.metrics.families import Fact
from petct_cli.report.lesions import ExtractedLesion, extract_lesions
from petct_cli.report.sites import sides_of

SameT = TypeVar("SameT", Fact, ClinicalLesion)

_KEPT = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What one text states.

    Attributes
    ----------
    facts
        One per (site, side) that takes up FDG, both sides as two.
    lesions
        One per finding, without their spans.
    """

    facts: tuple[Fact, ...]
    lesions: Lesions


class RulesReader:
    """Reads texts by `petct_cli.report.lesions` and keeps what they state: half a kilobyte a text, a million at most.

    Neither the texts nor the places in them are kept, and what several texts state is kept once.
    """

    def __init__(self) -> None:
        self._read: dict[bytes, Reading] = {}
        self._facts: dict[Fact, Fact] = {}
        self._lesions: dict[ClinicalLesion, ClinicalLesion] = {}

    def __call__(self, text: str) -> Reading:
        """Return what `text` states."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key not in self._read:
            if len(self._read) >= _KEPT:
                for kept in (self._read, self._facts, self._lesions):
                    kept.clear()
            found = extract_lesions(text)
            lesions = (replace(lesion, spans=()) for lesion in by_finding(found))
            self._read[key] = Reading(_once(_facts_of(found), self._facts), _once(lesions, self._lesions))
        return self._read[key]


def _facts_of(found: Iterable[ExtractedLesion]) -> Iterable[Fact]:
    return (
        Fact(lesion.site, side, lesion.size_mm, lesion.suv_max)
        for lesion in found
        if lesion.site is not None and lesion.fdg != "none"
        for side in sides_of(lesion.site, lesion.side)
    )


def _once(found: Iterable[SameT], known: dict[SameT, SameT]) -> tuple[SameT, ...]:
    return tuple(known.setdefault(one, one) for one in found)


read_by_rules = RulesReader()
"""The reader of this process: families that share it read every text once."""
