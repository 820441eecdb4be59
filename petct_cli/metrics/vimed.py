"""The published recipe of the ViMed-PET paper (arXiv 2509.24739), as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from petct_cli.metrics.families import Family, Floats, Item
from petct_cli.metrics.ngrams import (
    BLEU_COLUMNS,
    MAX_ORDER,
    nltk_bleu_rows,
    nltk_corpus_bleu,
    rouge_score_tokens,
)
from petct_cli.metrics.overlap import TokenCodes, blocks, common_lengths, f_measures, matches

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions


@dataclass(frozen=True)
class VimedFamily(Family):
    """The published recipe: NLTK's BLEU-4 on white space, rouge_score's ASCII tokens."""

    wanted: tuple[str, ...]
    words: TokenCodes = field(default_factory=lambda: TokenCodes(str.split), repr=False, compare=False)
    ascii: TokenCodes = field(default_factory=lambda: TokenCodes(rouge_score_tokens), repr=False, compare=False)

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), BLEU_COLUMNS + 3))
        for block in blocks(items, hypotheses):
            if "bleu4" in self.wanted:
                coded = block.coded(self.words)
                rows[block.chosen, :BLEU_COLUMNS] = nltk_bleu_rows(matches(coded, MAX_ORDER), *coded.lengths())
            coded = block.coded(self.ascii)
            if "rouge1" in self.wanted:
                rows[block.chosen, -3] = f_measures(matches(coded, 1)[:, 0], *coded.lengths())
            if "rougeL" in self.wanted:
                rows[block.chosen, -2] = f_measures(common_lengths(coded), *coded.lengths())
            rows[block.chosen, -1] = 1
        return rows

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric == "bleu4":
            values = nltk_corpus_bleu(sums[..., :BLEU_COLUMNS])
        else:
            values = sums[..., -3 if metric == "rouge1" else -2] / np.maximum(sums[..., -1], 1)
        return np.asarray(np.where(sums[..., -1] > 0, values, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[-1])

    def signature(self, metric: str, sums: Floats) -> str:
        if metric == "bleu4":
            return "preset:vimed|bleu:corpus|order:4|smooth:nltk-method4|case:mixed|norm:none|tok:whitespace"
        return "preset:vimed|rouge:f|avg:samples|case:lower|norm:none|tok:rouge_score-ascii|stem:no"


def vimed_family(wanted: tuple[str, ...], _options: MetricOptions) -> VimedFamily:
    """Return the family for `wanted`; the recipe leaves nothing to choose."""
    return VimedFamily(wanted)
