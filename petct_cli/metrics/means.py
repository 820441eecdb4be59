"""Metrics that are the mean of the samples' own scores."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from petct_cli.metrics.families import Family, Floats


class SampleMeans(Family):
    """A family whose rows hold a score per metric, then whatever it counts, and last 1 for a sample that has scores."""

    columns: ClassVar[tuple[str, ...]]
    scale: ClassVar[float] = 100.0

    def value(self, metric: str, sums: Floats) -> Floats:
        samples = sums[..., -1]
        mean = self.scale * sums[..., self.columns.index(metric)] / np.maximum(samples, 1)
        return np.asarray(np.where(samples > 0, mean, np.nan), dtype=np.float64)

    def size(self, metric: str, sums: Floats) -> float:
        return float(sums[-1])
