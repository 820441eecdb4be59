"""CIDEr-D (Vedantam, Zitnick and Parikh 2015): n-grams weigh as much as they are rare in the references.

Stock sentences, which stand in most references, count for little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from petct_cli.metrics.families import Floats, Item
from petct_cli.metrics.means import SampleMeans
from petct_cli.metrics.overlap import Block, blocks, on_both_sides, tally
from petct_cli.metrics.rarity import Rarity, TokenHashes
from petct_cli.metrics.tokens import Tokens

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

ORDERS = 4
SIGMA = 6.0


@dataclass(frozen=True)
class CiderFamily(SampleMeans):
    """The mean of the samples' CIDEr-D, 0 to 10; frequencies are those of the references of all items given at once."""

    wanted: tuple[str, ...]
    tokens: Tokens

    columns: ClassVar[tuple[str, ...]] = ("cider_d",)
    scale: ClassVar[float] = 10.0

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), 2))
        references = tuple(item.reference for item in items if item.reference is not None)
        if len(references) < 2:
            return rows  # nothing is rare in one text
        rarity = self._rarities.get(references)
        if rarity is None:
            rarity = self._rarities[references] = Rarity.among(references, self._hashes, ORDERS)
        for block in blocks(items, hypotheses):
            rows[block.chosen, 0] = self._scores(block, rarity)
            rows[block.chosen, 1] = 1
        return rows

    def _scores(self, block: Block, rarity: Rarity) -> Floats:
        pairs = len(block.chosen)
        texts = self._hashes.of([*block.given, *block.wanted])
        score = np.zeros(pairs)
        for text, hashes in texts.ngrams(ORDERS):
            known, rank = np.unique(hashes, return_inverse=True)
            bits = len(known).bit_length()
            kinds, counts = tally(((text % pairs) << (bits + 1)) | (rank << 1) | (text // pairs))
            weights = counts * rarity.of(known)[(kinds >> 1) & ((1 << bits) - 1)]
            pair, side = kinds >> (bits + 1), kinds & 1
            norms = np.sqrt(np.bincount(2 * pair + side, weights**2, 2 * pairs)).reshape(pairs, 2).prod(1)
            both = on_both_sides(kinds)
            clipped = np.minimum(weights[both], weights[both + 1]) * weights[both + 1]
            score += np.bincount(pair[both], clipped, pairs) / np.where(norms > 0, norms, 1)
        difference = texts.lengths[:pairs] - texts.lengths[pairs:]
        return np.asarray(score / ORDERS * np.exp(-(difference**2) / (2 * SIGMA**2)), dtype=np.float64)

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"cider:d|order:{ORDERS}|sigma:{SIGMA:g}|max:{self.scale:g}|idf:references|avg:samples"
        return f"{own}|{self.tokens.signature()}"

    @cached_property
    def _hashes(self) -> TokenHashes:
        return TokenHashes(self.tokens)

    @cached_property
    def _rarities(self) -> dict[tuple[str, ...], Rarity]:
        """Controls score the same references again."""
        return {}


def cider_family(wanted: tuple[str, ...], options: MetricOptions) -> CiderFamily:
    """Return the family for `wanted`."""
    return CiderFamily(wanted, options.tokens)
