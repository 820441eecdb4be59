"""BERTScore (Zhang et al. 2020): greedy matching of token vectors by cosine, without idf and without rescaling.

As in the bert_score package, what stands in front of and behind a text may be matched but does not count itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from petct_cli.metrics.families import Floats, Item
from petct_cli.metrics.means import SampleMeans
from petct_cli.metrics.overlap import blocks
from petct_cli.report.normalise import Canonical

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

_KEPT_NUMBERS = 100_000_000


class Encoder(Protocol):
    """Turns texts into vectors: a language model behind a function."""

    @property
    def signature(self) -> str:
        """Which model, of what weights, at which layer, with windows of what length."""

    def __call__(self, texts: Sequence[str]) -> Sequence[tuple[NDArray[np.float32], int]]:
        """Return for each text its vectors, shape (1 + tokens + 1, width), and how many windows it was read in."""


@dataclass(frozen=True)
class BertScoreFamily(SampleMeans):
    """Precision, recall and F1 of each sample, and their means; 0 where the hypothesis is empty."""

    wanted: tuple[str, ...]
    encoder: Encoder
    canonical: Canonical
    _kept: OrderedDict[str, tuple[Floats, int]] = field(default_factory=OrderedDict, repr=False, compare=False)

    columns: ClassVar[tuple[str, ...]] = ("bertscore_p", "bertscore_r", "bertscore_f1", "windowed")

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), len(self.columns) + 1))
        for block in blocks(items, hypotheses):
            texts = [[self.canonical(text) for text in side] for side in (block.given, block.wanted)]
            vectors = self._encoded({text for side in texts for text in side})
            for index, given, wanted in zip(block.chosen, *texts, strict=True):
                windowed = sum(vectors[text][1] > 1 for text in (given, wanted))
                rows[index] = (*_scores(vectors[given][0], vectors[wanted][0]), windowed, 1)
        return rows

    def _encoded(self, texts: set[str]) -> dict[str, tuple[Floats, int]]:
        """Return unit vectors of `texts`; those used last are kept, since controls score the same texts again."""
        kept = self._kept
        new = sorted(texts - kept.keys())
        for text, (vectors, windows) in zip(new, self.encoder(new), strict=True):
            exact = vectors.astype(np.float64)
            kept[text] = exact / np.linalg.norm(exact, axis=1, keepdims=True), windows
        for text in sorted(texts):
            kept.move_to_end(text)
        found = {text: kept[text] for text in texts}
        while sum(vectors.size for vectors, _ in kept.values()) > _KEPT_NUMBERS:
            kept.popitem(last=False)
        return found

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        return {"windowed_texts": float(sums[self.columns.index("windowed")])}

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"bertscore:{metric.rpartition('_')[2]}|{self.encoder.signature}|idf:no|rescale:no|avg:samples"
        return f"{own}|{self.canonical.signature(tokens=None)}"


def _scores(given: Floats, wanted: Floats) -> tuple[float, float, float]:
    """Return precision, recall and F1 of unit vectors, shape (1 + tokens + 1, width) each."""
    if min(len(given), len(wanted)) <= 2:
        return 0.0, 0.0, 0.0
    cosines = given @ wanted.T
    precision, recall = float(cosines.max(1)[1:-1].mean()), float(cosines.max(0)[1:-1].mean())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def bertscore_family(wanted: tuple[str, ...], options: MetricOptions) -> BertScoreFamily:
    """Return the family for `wanted`; the options hold an encoder wherever it is asked for."""
    assert options.encoder is not None
    return BertScoreFamily(wanted, options.encoder(), options.tokens.canonical)
