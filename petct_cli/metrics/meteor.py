"""METEOR (Lavie and Agarwal 2007) as NLTK computes it, on words as they are: Vietnamese has no stems to strip.

Of several possible partners of a word NLTK takes the last, where the Java program looks for the fewest crossings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from petct_cli.metrics.families import Floats, Item
from petct_cli.metrics.means import SampleMeans
from petct_cli.metrics.tokens import Tokens

if TYPE_CHECKING:
    from petct_cli.metrics.registry import MetricOptions

_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5


class _WordsAsTheyAre:
    """Tells NLTK that no word has a stem or a synonym; those it knows of are English."""

    def stem(self, word: str) -> str:
        return word

    def synsets(self, word: str) -> tuple[()]:
        return ()


@dataclass(frozen=True)
class MeteorFamily(SampleMeans):
    """METEOR with exact matches only; a text against itself stays a little below 100."""

    wanted: tuple[str, ...]
    tokens: Tokens

    columns: ClassVar[tuple[str, ...]] = ("meteor",)

    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        rows = np.zeros((len(items), 2))
        for row, item, text in zip(rows, items, hypotheses, strict=True):
            if item.reference is not None:
                row[:] = _meteor(self.tokens(text), self.tokens(item.reference)), 1
        return rows

    def signature(self, metric: str, sums: Floats) -> str:
        own = f"meteor:nltk-{version('nltk')}|match:exact|alpha:{_ALPHA}|beta:{_BETA}|gamma:{_GAMMA}|avg:samples"
        return f"{own}|{self.tokens.signature()}"


def _meteor(given: Sequence[str], wanted: Sequence[str]) -> float:
    from nltk.translate.meteor_score import single_meteor_score

    plain = _WordsAsTheyAre()
    return float(
        single_meteor_score(wanted, given, str, stemmer=plain, wordnet=plain, alpha=_ALPHA, beta=_BETA, gamma=_GAMMA)
    )


def meteor_family(wanted: tuple[str, ...], options: MetricOptions) -> MeteorFamily:
    """Return the family for `wanted`."""
    return MeteorFamily(wanted, options.tokens)
