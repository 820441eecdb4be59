"""What the report says, as targets for the image side alone: which word groups occur, and the numbers of each clause.

They teach the tower what to look for before the language model learns to write. Nothing but the text is read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"[^\W\d_]+")
_CLAUSE_END = re.compile(r";|\.(?=\s|$)|\n")
_SIZE = re.compile(r"(\d+(?:[.,]\d+)?)(?:\s*[x×*]\s*\d+(?:[.,]\d+)?)*\s*(mm|cm)\b", re.IGNORECASE)
_SUV = re.compile(r"suv\s*-?\s*(?:max)?[^\d.;]{0,24}(\d+(?:[.,]\d+)?)", re.IGNORECASE)

LOG_SIZE_CENTRE = 3.0
LOG_SUV_CENTRE = 2.0
RAREST, MOST_COMMON = 0.005, 0.6
_LARGEST = 1e4


def word_groups(text: str) -> set[tuple[str, ...]]:
    """Return the words and pairs of neighbouring words of `text`, lower case, without numbers."""
    words = _WORD.findall(text.lower())
    return {(word,) for word in words} | set(pairwise(words))


@dataclass(frozen=True)
class WordGroups:
    """The word groups that tell reports apart: neither rare nor in most of them."""

    groups: tuple[tuple[str, ...], ...]

    @classmethod
    def learn(cls, clauses: Iterable[str]) -> WordGroups:
        """Choose the groups that occur in 0.5 % to 60 % of `clauses` (and in two at least)."""
        counts: Counter[tuple[str, ...]] = Counter()
        total = 0
        for clause in clauses:
            counts.update(word_groups(clause))
            total += 1
        fewest = max(2.0, RAREST * total)
        chosen = (group for group, count in counts.items() if fewest <= count <= max(2.0, MOST_COMMON * total))
        return cls(tuple(sorted(chosen)))

    def encode(self, text: str) -> npt.NDArray[np.float32]:
        """Return 1 for each group that `text` holds, else 0; ``(groups,)``."""
        held = word_groups(text)
        return np.array([float(group in held) for group in self.groups], dtype=np.float32)


@dataclass(frozen=True)
class Measurement:
    """The numbers of one clause; NaN where it gives none.

    Attributes
    ----------
    clause, start
        The text they stand in, and where it begins in the report.
    log_size, log_suv
        Natural logarithms of mm and SUVmax, centred.
    """

    clause: str
    start: int
    log_size: float
    log_suv: float

    @property
    def numbers(self) -> tuple[float, float]:
        """Both numbers."""
        return self.log_size, self.log_suv


def measurements(text: str) -> list[Measurement]:
    """Return the clauses of `text` that give a size in mm or cm or an SUVmax, decimal comma or point."""
    found = []
    for start, clause in _clauses(text):
        size, suv = _SIZE.search(clause), _SUV.search(clause)
        log_size = log_suv = math.nan
        if size is not None:
            millimetres = _number(size[1]) * (10 if size[2].lower() == "cm" else 1)
            log_size = _log(millimetres) - LOG_SIZE_CENTRE
        if suv is not None:
            log_suv = _log(_number(suv[1])) - LOG_SUV_CENTRE
        if size is not None or suv is not None:
            found.append(Measurement(clause, start, log_size, log_suv))
    return found


def _clauses(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for end in _CLAUSE_END.finditer(text):
        yield start, text[start : end.start()]
        start = end.end()
    yield start, text[start:]


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _log(value: float) -> float:
    return math.log(min(max(value, 0.1), _LARGEST))


@dataclass(frozen=True)
class ClauseTokens:
    """The tokens of one measured clause that are words, and those that are numbers."""

    words: tuple[int, ...]
    numbers: tuple[int, ...]


def clause_tokens(text: str, offsets: Sequence[tuple[int, int]], ids: Sequence[int]) -> tuple[ClauseTokens, ...]:
    """Return the words and numbers of each measured clause of `text`, given where each token lies."""
    clauses = []
    for found in measurements(text):
        end = found.start + len(found.clause)
        words, numbers = [], []
        for token, (first, last) in zip(ids, offsets, strict=True):
            if last <= found.start or first >= end:
                continue
            if any(map(str.isalpha, text[first:last])):
                words.append(token)
            elif any(map(str.isdigit, text[first:last])):
                numbers.append(token)
        clauses.append(ClauseTokens(tuple(words), tuple(numbers)))
    return tuple(clauses)


@dataclass(frozen=True)
class FactWeights:
    """How much the tokens of a report count when the language model learns.

    Most of a report is stock sentences in one of many wordings, of which nothing can be learned from the image.
    Tokens of measured clauses state facts of it and count `fact`; the first `lead_tokens` of such a clause count
    `lead`: there it is decided whether to begin a finding at all, and much weight would talk the model into it.
    Everything else counts 1.
    """

    fact: float = 4.0
    lead: float = 2.0
    lead_tokens: int = 2

    def of(self, text: str, offsets: Sequence[tuple[int, int]]) -> list[float]:
        """Return the weight of each token of `text`, given where each starts and ends."""
        weights = [1.0] * len(offsets)
        for found in measurements(text):
            end = found.start + len(found.clause)
            inside = [row for row, (first, last) in enumerate(offsets) if last > found.start and first < end]
            for order, row in enumerate(inside):
                weights[row] = self.lead if order < self.lead_tokens else self.fact
        return weights
