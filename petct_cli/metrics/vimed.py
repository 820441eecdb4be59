"""The published recipe of the ViMed-PET paper (arXiv 2509.24739), as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from petct_cli.metrics.families import Family, Floats, Item
from petct_cli.metrics.ngrams import (
    BLEU_COLUMNS,
    nltk_bleu_row,
    nltk_corpus_bleu,
    rouge_l,
    rouge_n,
    rouge_score_tokens,
)

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions


@dataclass(frozen=True)
class VimedFamily(Family):
    """The published recipe: NLTK's BLEU-4 on white space, rouge_score's ASCII tokens."""

    wanted: tuple[str, ...]

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), BLEU_COLUMNS + 3))
        for row, item, text in zip(rows, items, hypotheses, strict=True):
            if item.reference is None:
                continue
            if "bleu4" in self.wanted:
                row[:BLEU_COLUMNS] = nltk_bleu_row(text.split(), item.reference.split())
            given, wanted = rouge_score_tokens(text), rouge_score_tokens(item.reference)
            if "rouge1" in self.wanted:
                row[-3] = rouge_n(given, wanted)
            if "rougeL" in self.wanted:
                row[-2] = rouge_l(given, wanted)
            row[-1] = 1
        return rows

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric == "bleu4":
            values = nltk_corpus_bleu(sums[..., :BLEU_COLUMNS])
        else:
            values = sums[..., -3 if metric == "rouge1" else -2] / np.maximum(sums[..., -1], 1)
        return np.asarray(np.where(sums[..., -1] > 0, values, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> int:
        return int(sums[-1])

    def signature(self, metric: str, sums: Floats) -> str:
        if metric == "bleu4":
            return "preset:vimed|bleu:corpus|order:4|smooth:nltk-method4|case:mixed|norm:none|tok:whitespace"
        return "preset:vimed|rouge:f|avg:samples|case:lower|norm:none|tok:rouge_score-ascii|stem:no"


def vimed_family(wanted: tuple[str, ...], _options: MetricOptions) -> VimedFamily:
    """Return the family for `wanted`; the recipe leaves nothing to choose."""
    return VimedFamily(wanted)
