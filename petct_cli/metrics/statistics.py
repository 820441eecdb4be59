"""Confidence intervals and paired tests from sufficient statistics.

A metric is a function of sums over samples, so a resample is a weighted sum, not a new scoring. The unit is the
patient: the regions of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[Floats], Floats]
"""A metric: sums of shape (..., columns) to values of shape (...); NaN where it is not defined."""

_CELLS = 4_000_000


def sum_by_unit(rows: Floats, units: Sequence[str]) -> Floats:
    """Add the rows (samples, columns) of each unit; units in sorted order, so that input order does not matter."""
    names = {name: index for index, name in enumerate(sorted(set(units)))}
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, [names[unit] for unit in units], rows)
    return sums


def bootstrap_ci(by_unit: Floats, value: Value, resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of `value` over resampled units.

    Parameters
    ----------
    by_unit
        Shape (units, columns).

    Returns
    -------
    tuple or None
        None with fewer than two units or where the metric is undefined in most resamples.
    """
    units = len(by_unit)
    if units < 2 or resamples < 1:
        return None
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // units)
    parts = []
    for start in range(0, resamples, chunk):
        weights = rng.multinomial(units, np.full(units, 1 / units), size=min(chunk, resamples - start))
        parts.append(value(weights.astype(np.float64) @ by_unit))
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if len(values) * 2 < resamples:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def paired_p_value(one: Floats, other: Floats, value: Value, rounds: int, seed: int) -> float | None:
    """Return the p-value of approximate randomisation: how often exchanging whole units gives as large a difference.

    Parameters
    ----------
    one, other
        Shape (units, columns): the same units under two systems.

    Notes
    -----
    Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; with the observed order counted in, so never 0.
    """
    units = len(one)
    if units < 2 or rounds < 1:
        return None
    observed = np.abs(value(one.sum(0)) - value(other.sum(0)))
    if not np.isfinite(observed):
        return None
    rng = np.random.default_rng(seed)
    difference = other - one
    chunk = max(1, _CELLS // units)
    as_large = 0
    for start in range(0, rounds, chunk):
        swap = rng.integers(0, 2, size=(min(chunk, rounds - start), units)).astype(np.float64)
        moved = swap @ difference
        gap = np.abs(value(one.sum(0) + moved) - value(other.sum(0) - moved))
        as_large += int(np.sum(~(gap < observed - 1e-9)))
    return (as_large + 1) / (rounds + 1)
