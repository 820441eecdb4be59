"""chrF++ (Popović 2017) of whole corpora, as sacrebleu's ``CHRF(word_order=2)`` computes it, on the canonical text."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from petct_cli.metrics.families import Family, Floats, Item
from petct_cli.metrics.overlap import Block, TokenCodes, blocks, matches, ngram_counts
from petct_cli.report.normalise import DEFAULT, Canonical

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

CHARACTER_ORDERS = 6
WORD_ORDERS = 2
_ORDERS = CHARACTER_ORDERS + WORD_ORDERS
_BETA = 2
_PUNCTUATION = frozenset(string.punctuation)


@dataclass(frozen=True)
class ChrfFamily(Family):
    """chrF++: n-grams of characters without white space, and of words with their punctuation split off."""

    wanted: tuple[str, ...]
    canonical: Canonical = DEFAULT

    @cached_property
    def words(self) -> TokenCodes:
        """Words in code points."""
        return TokenCodes(lambda word: words_of(self.canonical(word)))

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), 3 * _ORDERS + 1))
        for block in blocks(items, hypotheses):
            letters = Block(
                block.chosen, [self._letters(a) for a in block.given], [self._letters(b) for b in block.wanted]
            )
            parts = ((letters, CHARACTER_ORDERS), (block.coded(self.words), WORD_ORDERS))
            given, wanted = (
                np.hstack([ngram_counts(part.lengths()[side], orders) for part, orders in parts]) for side in (0, 1)
            )
            # Hypothesis n-grams of an order that the reference does not reach are not counted.
            columns = [np.where(wanted > 0, given, 0), wanted, *(matches(part, orders) for part, orders in parts)]
            rows[block.chosen, :-1] = np.hstack(columns)
            rows[block.chosen, -1] = 1
        return rows

    def _letters(self, text: str) -> str:
        return "".join(self.canonical(text).split())

    def value(self, metric: str, sums: Floats) -> Floats:
        given, wanted, found = (sums[..., start * _ORDERS : (start + 1) * _ORDERS] for start in range(3))
        counted = (given > 0) & (wanted > 0)
        orders = np.maximum(counted.sum(-1), 1)
        precision, recall = (
            np.where(counted, found / np.maximum(totals, 1), 0).sum(-1) / orders for totals in (given, wanted)
        )
        weighted = _BETA**2 * precision + recall
        score = 100 * (1 + _BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
        return np.asarray(np.where(sums[..., -1] > 0, score, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[-1])

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"chrf:corpus|chars:{CHARACTER_ORDERS}|words:{WORD_ORDERS}|beta:{_BETA}|space:no|eff:yes"
        return f"{own}|{self.canonical.signature(tokens=None)}"


def words_of(text: str) -> list[str]:
    """Return the words of `text`, with a mark of punctuation split off at the end or, if there is none, in front."""
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in _PUNCTUATION:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in _PUNCTUATION:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words


def chrf_family(wanted: tuple[str, ...], options: MetricOptions) -> ChrfFamily:
    """Return the family for `wanted`."""
    return ChrfFamily(wanted, options.tokens.canonical)
