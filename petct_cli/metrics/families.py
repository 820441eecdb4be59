"""Metrics that share a pass over the samples.

A family turns samples into a row of sums each, and sums into the values of its metrics. Its signature says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from petct_cli.metrics.ngrams import (
    BLEU_COLUMNS,
    bleu_row,
    corpus_bleu,
    nltk_bleu_row,
    nltk_corpus_bleu,
    rouge_l,
    rouge_n,
    rouge_score_tokens,
)
from petct_cli.report.normalise import DEFAULT, Canonical

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fact:
    """One true or extracted lesion at one of the (site, side) combinations."""

    site: str
    side: str | None
    size_mm: float | None = None
    suv_max: float | None = None


@dataclass(frozen=True)
class Item:
    """One sample to score.

    Attributes
    ----------
    id, patient, group, system
        Who it is; `group` is what it is compared within (the region).
    reference
        Right text, None when there is none.
    hypothesis
        Text to judge; empty when it failed or is missing.
    truth
        True lesions, None when they are only known through the reference.
    """

    id: str
    patient: str
    group: str
    system: str | None
    reference: str | None
    hypothesis: str
    truth: tuple[Fact, ...] | None = None


class Family(Protocol):
    """Metrics computed together."""

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics asked for."""
        ...

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        """Return sums of shape (items, columns) for `hypotheses` in place of the items' own."""
        ...

    def value(self, metric: str, sums: Floats) -> Floats:
        """Return `metric` of sums (..., columns); NaN where it is not defined."""
        ...

    def size(self, metric: str, sums: Floats) -> int:
        """Return what the metric is over: samples, or matched lesions."""
        ...

    def signature(self, metric: str) -> str:
        """Return every choice that someone needs to compute the same number."""
        ...

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        """Return what stands behind the value."""
        ...

    def higher_is_better(self, metric: str) -> bool:
        """Say which way is up."""
        ...


@dataclass(frozen=True)
class TextFamily:
    """BLEU-1..4 and ROUGE-1/L on whole Vietnamese syllables."""

    wanted: tuple[str, ...]
    canonical: Canonical = field(default_factory=lambda: DEFAULT)

    NAMES: ClassVar[tuple[str, ...]] = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL")

    def metrics(self) -> tuple[str, ...]:
        return self.wanted

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

    def signature(self, metric: str) -> str:
        own = f"bleu:corpus|order:{metric[-1]}|smooth:exp" if metric.startswith("bleu") else "rouge:f|avg:samples"
        return f"{own}|{self.canonical.signature()}"

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        return {}

    def higher_is_better(self, metric: str) -> bool:
        return True


@dataclass(frozen=True)
class VimedFamily:
    """The published recipe: NLTK's BLEU-4 on white space, rouge_score's ASCII tokens."""

    wanted: tuple[str, ...]

    NAMES: ClassVar[tuple[str, ...]] = ("bleu4", "rouge1", "rougeL")

    def metrics(self) -> tuple[str, ...]:
        return self.wanted

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

    def signature(self, metric: str) -> str:
        if metric == "bleu4":
            return "preset:vimed|bleu:corpus|order:4|smooth:nltk-method4|case:mixed|norm:none|tok:whitespace"
        return "preset:vimed|rouge:f|avg:samples|case:lower|norm:none|tok:rouge_score-ascii|stem:no"

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        return {}

    def higher_is_better(self, metric: str) -> bool:
        return True
