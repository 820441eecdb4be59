"""N-gram overlap with the reference on whole Vietnamese syllables: BLEU and ROUGE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from petct_cli.metrics.families import Family, Floats, Item
from petct_cli.metrics.ngrams import BLEU_COLUMNS, bleu_row, corpus_bleu, rouge_l, rouge_n
from petct_cli.report.normalise import DEFAULT, Canonical

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions


@dataclass(frozen=True)
class TextFamily(Family):
    """BLEU-1..4 and ROUGE-1/L on whole Vietnamese syllables."""

    wanted: tuple[str, ...]
    canonical: Canonical = DEFAULT

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        orders = max((int(name[-1]) for name in self.wanted if name.startswith("bleu")), default=0)
        rows = np.zeros((len(items), BLEU_COLUMNS + 4))
        for row, item, text in zip(rows, items, hypotheses, strict=True):
            if item.reference is None:
                continue
            given, wanted = self.canonical.tokens(text), self.canonical.tokens(item.reference)
            if orders:
                row[:BLEU_COLUMNS] = bleu_row(given, wanted, orders)
            if "rouge1" in self.wanted:
                row[-4] = rouge_n(given, wanted, 1)
            if "rouge2" in self.wanted:
                row[-3] = rouge_n(given, wanted, 2)
            if "rougeL" in self.wanted:
                row[-2] = rouge_l(given, wanted)
            row[-1] = 1
        return rows

    def value(self, metric: str, sums: Floats) -> Floats:
        if metric.startswith("bleu"):
            values = corpus_bleu(sums[..., :BLEU_COLUMNS], int(metric[-1]))
        else:
            column = {"rouge1": -4, "rouge2": -3, "rougeL": -2}[metric]
            values = sums[..., column] / np.maximum(sums[..., -1], 1)
        return np.asarray(np.where(sums[..., -1] > 0, values, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> int:
        return int(sums[-1])

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"bleu:corpus|order:{metric[-1]}|smooth:exp" if metric.startswith("bleu") else "rouge:f|avg:samples"
        return f"{own}|{self.canonical.signature()}"


def text_family(wanted: tuple[str, ...], options: MetricOptions) -> TextFamily:
    """Return the family for `wanted`."""
    return TextFamily(wanted, options.canonical)
