"""What the rules read in each text, once for all metrics that ask: reading takes longer than comparing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from petct_cli.core.parallel import open_executor, ordered_map
from petct_cli.metrics.clinical_lesions import ClinicalLesion, Lesions, by_finding
from petct_cli.metrics.families import Fact
from petct_cli.report.lesions import ExtractedLesion, extract_lesions
from petct_cli.report.sites import sides_of

SameT = TypeVar("SameT", Fact, ClinicalLesion)

_Told = tuple[str, str]  # text and language
_KEPT = 400_000
_AT_ONCE = 32
_WORTH_PROCESSES = 200


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
    """Reads texts by `petct_cli.report.lesions` and keeps what they state: up to 3 kB a text, of 400,000 at most.

    Neither the texts nor the places in them are kept, and what several texts state is kept once.
    """

    def __init__(self) -> None:
        self._read: dict[bytes, Reading] = {}
        self._facts: dict[Fact, Fact] = {}
        self._lesions: dict[ClinicalLesion, ClinicalLesion] = {}

    def __call__(self, text: str, lang: str) -> Reading:
        """Return what `text`, in `lang`, states."""
        key = _key(text, lang)
        return self._read[key] if key in self._read else self._keep(key, _read(text, lang))

    def all(self, texts: Iterable[_Told], jobs: int = 1) -> list[Reading]:
        """Return what each of `texts` in its language states; where there is much to read, `jobs` processes read it."""
        told = list(texts)
        if jobs > 1:
            unread = [*{key: one for one in told if (key := _key(*one)) not in self._read}.items()]
            if len(unread) >= _WORTH_PROCESSES:
                self._read_in_processes(unread, jobs)
        return [self(*one) for one in told]

    def _read_in_processes(self, unread: Sequence[tuple[bytes, _Told]], jobs: int) -> None:
        parts = [unread[start : start + _AT_ONCE] for start in range(0, len(unread), _AT_ONCE)]
        with open_executor(jobs) as (executor, in_flight):
            read = ordered_map(_read_part, ([told for _, told in part] for part in parts), executor, in_flight)
            for part, readings in zip(parts, read, strict=True):
                for (key, _), reading in zip(part, readings, strict=True):
                    self._keep(key, reading)

    def _keep(self, key: bytes, reading: Reading) -> Reading:
        if len(self._read) >= _KEPT:
            for kept in (self._read, self._facts, self._lesions):
                kept.clear()
        kept_once = Reading(_once(reading.facts, self._facts), _once(reading.lesions, self._lesions))
        return self._read.setdefault(key, kept_once)


def _key(text: str, lang: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=lang.encode()).digest()


def _read(text: str, lang: str) -> Reading:
    found = extract_lesions(text, lang)
    return Reading(tuple(_facts_of(found)), tuple(replace(lesion, spans=()) for lesion in by_finding(found)))


def _read_part(told: Sequence[_Told]) -> list[Reading]:
    """Read some texts; what a worker process does."""
    return [_read(*one) for one in told]


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
