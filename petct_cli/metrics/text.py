"""N-gram overlap with the reference on whole Vietnamese syllables: BLEU and ROUGE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from petct_cli.metrics.families import Family, Floats, Item
from petct_cli.metrics.ngrams import BLEU_COLUMNS, bleu_rows, corpus_bleu
from petct_cli.metrics.overlap import TokenCodes, blocks, common_lengths, f_measures, matches, ngram_counts
from petct_cli.metrics.tokens import SYLLABLES, Tokens

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions


@dataclass(frozen=True)
class TextFamily(Family):
    """BLEU-1..4 and ROUGE-1/2/L on whole Vietnamese syllables, or on the words that pyvi finds."""

    wanted: tuple[str, ...]
    tokens: Tokens = SYLLABLES

    @cached_property
    def codes(self) -> TokenCodes:
        """The texts of all calls: controls score the same ones again."""
        return TokenCodes(self.tokens, self.tokens.parts)

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), BLEU_COLUMNS + 4))
        bleu_orders = max((int(name[-1]) for name in self.wanted if name.startswith("bleu")), default=0)
        rouge_orders = [order for order in (1, 2) if f"rouge{order}" in self.wanted]
        for block in blocks(items, hypotheses):
            coded = block.coded(self.codes)
            given, wanted = coded.lengths()
            found = matches(coded, max(bleu_orders, *rouge_orders, 0))
            if bleu_orders:
                rows[block.chosen, :BLEU_COLUMNS] = bleu_rows(found[:, :bleu_orders], given, wanted)
            for order in rouge_orders:
                totals = [ngram_counts(lengths, order)[:, -1] for lengths in (given, wanted)]
                rows[block.chosen, order - 5] = f_measures(found[:, order - 1], *totals)
            if "rougeL" in self.wanted:
                rows[block.chosen, -2] = f_measures(common_lengths(coded), given, wanted)
            rows[block.chosen, -1] = 1
        return rows

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric.startswith("bleu"):
            values = corpus_bleu(sums[..., :BLEU_COLUMNS], int(metric[-1]))
        else:
            column = {"rouge1": -4, "rouge2": -3, "rougeL": -2}[metric]
            values = sums[..., column] / np.maximum(sums[..., -1], 1)
        return np.asarray(np.where(sums[..., -1] > 0, values, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[-1])

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"bleu:corpus|order:{metric[-1]}|smooth:exp" if metric.startswith("bleu") else "rouge:f|avg:samples"
        return f"{own}|{self.tokens.signature()}"


def text_family(wanted: tuple[str, ...], options: MetricOptions) -> TextFamily:
    """Return the family for `wanted`."""
    return TextFamily(wanted, options.tokens)
