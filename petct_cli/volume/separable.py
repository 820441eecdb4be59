"""Resampling axis by axis: weights along each axis, and their application with the same result on any machine.

Integers (CT) are weighted in integers: weights are multiples of 1/4096 that sum to 1, every product and sum fits the
mantissa it is made in, and so neither the order of additions, nor fused arithmetic, nor the number of threads can show:
matrix products may do the work, whatever the machine makes of them.
Floating-point volumes are added up in one fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.threads import in_threads
from petct_cli.volume.geometry import Array

_INSIDE = 0.5 + 1e-6
_UNIT = 4096
_EXACT_FLOAT32 = (1 << 24) // _UNIT
"""Integers up to this, weighted, have every sum exact in float32."""
_OUTPUTS_AT_ONCE = 8
_PLANES_AT_ONCE = 16


@dataclass(frozen=True)
class AxisWeights:
    """How output samples along one axis come from input samples.

    Attributes
    ----------
    inside
        The output samples whose centre lies inside of the input, always neighbours; the rest is of these only.
    index, weight
        (outputs, taps): which inputs, and how much of each; rows of `weight` sum to 1.
    count
        Number of inputs.
    """

    inside: slice
    index: npt.NDArray[np.intp]
    weight: Array
    count: int

    @cached_property
    def parts(self) -> Array:
        """`weight` in whole 4096ths: the largest remainders are rounded up, so that rows still sum to 1."""
        exact = self.weight * _UNIT
        parts = np.floor(exact)
        missing = (_UNIT - parts.sum(axis=1)).astype(int)
        order = np.argsort(parts - exact, axis=1, kind="stable")
        rank = np.argsort(order, axis=1, kind="stable")
        return np.asarray(parts + (rank < missing[:, None]), np.float64)

    @cached_property
    def is_identity(self) -> bool:
        """Whether each output is one input as it is."""
        return bool((self.parts.max(axis=1) == _UNIT).all())

    @cached_property
    def dense(self) -> Array:
        """`parts` as a matrix (outputs, inputs)."""
        matrix = np.zeros((len(self.index), self.count))
        np.add.at(matrix, (np.arange(len(self.index))[:, None], self.index), self.parts)
        return matrix

    @cached_property
    def bands(self) -> dict[np.dtype[Any], list[tuple[slice, slice, npt.NDArray[Any]]]]:
        """`dense` cut into bands of few outputs, by type: (outputs, inputs, their weights)."""
        found = []
        for start in range(0, len(self.index), _OUTPUTS_AT_ONCE):
            outputs = slice(start, start + _OUTPUTS_AT_ONCE)
            used = np.flatnonzero(self.dense[outputs].any(axis=0))
            inputs = slice(int(used[0]), int(used[-1]) + 1)
            found.append((outputs, inputs, self.dense[outputs, inputs]))
        kinds = (np.dtype(np.float32), np.dtype(np.float64))
        return {kind: [(outputs, inputs, part.astype(kind)) for outputs, inputs, part in found] for kind in kinds}


@lru_cache(maxsize=16)
def axis_weights(count: int, out: int, scale: float, offset: float) -> AxisWeights:
    """Return the weights of `out` samples at ``offset + scale * i`` in a row of `count` samples at 0, 1, ...

    The kernel is the tent of linear interpolation, widened by a box until its variance is that of a box as wide as the
    output voxel. Unlike weights by plain overlap this keeps linear ramps.
    """
    centre = offset + scale * np.arange(out)
    box = float(np.sqrt(max(scale * scale - 1.0, 0.0)))
    reach = 1.0 + box / 2.0
    first = np.ceil(centre - reach).astype(int)
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)
    away = centre[:, None] - index
    if box > 1e-6:
        kernel = (_tent_integral(away + box / 2.0) - _tent_integral(away - box / 2.0)) / box
    else:
        kernel = np.maximum(1.0 - np.abs(away), 0.0)
    weight = np.where((index >= 0) & (index < count) & (kernel > 1e-9), kernel, 0.0)
    total = weight.sum(axis=1)
    rows = np.flatnonzero((centre >= -_INSIDE) & (centre <= count - 1 + _INSIDE) & (total > 0))
    inside = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    used = weight[inside] / total[inside, None]
    taps = np.flatnonzero((used > 0).any(axis=0))
    kept = slice(int(taps[0]), int(taps[-1]) + 1) if len(taps) else slice(0, 0)
    return AxisWeights(inside, np.clip(index[inside, kept], 0, count - 1), used[:, kept], count)


def _tent_integral(t: Array) -> Array:
    """Integral of max(1 - abs(t), 0) up to `t`."""
    t = np.clip(t, -1.0, 1.0)
    return np.where(t < 0, (1.0 + t) ** 2 / 2.0, 1.0 - (1.0 - t) ** 2 / 2.0)


Axes = tuple[AxisWeights, AxisWeights, AxisWeights]


def separable_integers(array: npt.NDArray[Any], axes: Axes, result: npt.NDArray[Any], threads: int) -> None:
    """Fill `result` (the inside of the output, an integer type) from an `array` of 8 or 16-bit integers."""
    z, y, x = axes

    def fill(outputs: range) -> None:
        in_plane = _InPlane(y, x)
        planes = _Cached(lambda number: in_plane(array[number]))
        for number in outputs:
            taps = [(int(i), p) for i, p in zip(z.index[number], z.parts[number], strict=True) if p]
            total = planes(taps[0][0])
            if len(taps) > 1:
                total = total * (taps[0][1] / _UNIT)
                for index, part in taps[1:]:
                    total += planes(index) * (part / _UNIT)
            planes.forget_before(taps[0][0])
            # A mean of integers lies within their range: there is nothing to clip.
            mean = total * (1.0 / (_UNIT * _UNIT))
            np.copyto(result[number], np.rint(mean, out=mean), casting="unsafe")

    in_threads(fill, _runs(len(z.index), threads), threads)


class _InPlane:
    """Weights slices along their rows and columns, in memory that is used again for each."""

    def __init__(self, y: AxisWeights, x: AxisWeights) -> None:
        self._y, self._x = y, x
        self._plane = {kind: np.empty((y.count, x.count), kind) for kind in y.bands}
        self._rows = {kind: np.empty((len(y.index), x.count), kind) for kind in y.bands}

    def __call__(self, plane: npt.NDArray[Any]) -> Array:
        """Return one slice on the output's rows and columns, in units of 1/4096^2, exact."""
        fits = int(plane.min()) >= -_EXACT_FLOAT32 and int(plane.max()) <= _EXACT_FLOAT32
        kind, double = np.dtype(np.float32 if fits else np.float64), np.dtype(np.float64)
        values, rows = self._plane[kind], self._rows[kind]
        np.copyto(values, plane)
        for outputs, inputs, parts in self._y.bands[kind]:
            np.matmul(parts, values[inputs], out=rows[outputs])
        if fits:
            np.copyto(self._rows[double], rows)
        rows = self._rows[double]
        done = np.empty((len(rows), len(self._x.index)))
        for outputs, inputs, parts in self._x.bands[double]:
            np.matmul(rows[:, inputs], parts.T, out=done[:, outputs])
        return done


def separable_floats(array: npt.NDArray[Any], axes: Axes, result: npt.NDArray[Any], threads: int) -> None:
    """Fill `result` (the inside of the output) from an `array` of any type, in float32."""
    z, y, x = axes

    def in_plane(number: int) -> npt.NDArray[np.float32]:
        return _weighted(_weighted(array[number].astype(np.float32), y).T, x).T

    def fill(outputs: range) -> None:
        planes = _Cached(in_plane)
        for number in outputs:
            taps = [(int(i), np.float32(w)) for i, w in zip(z.index[number], z.weight[number], strict=True) if w]
            total = planes(taps[0][0]) * taps[0][1]
            for index, weight in taps[1:]:
                total += planes(index) * weight
            planes.forget_before(taps[0][0])
            result[number] = as_type(total, result.dtype)

    in_threads(fill, _runs(len(z.index), threads), threads)


def _weighted(values: npt.NDArray[np.float32], axis: AxisWeights) -> npt.NDArray[np.float32]:
    """Weight the rows of `values` tap by tap: separate products and sums, which no compiler may fuse."""
    weight = axis.weight.astype(np.float32)
    total = np.zeros((len(weight), values.shape[1]), np.float32)
    for tap in range(weight.shape[1]):
        total += values[axis.index[:, tap]] * weight[:, tap, None]
    return total


class _Cached:
    """Remembers what `make` gave for neighbouring numbers."""

    def __init__(self, make: Callable[[int], npt.NDArray[Any]]) -> None:
        self._make = make
        self._made: dict[int, npt.NDArray[Any]] = {}

    def __call__(self, number: int) -> npt.NDArray[Any]:
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def forget_before(self, number: int) -> None:
        for old in [known for known in self._made if known < number]:
            del self._made[old]


def _runs(count: int, threads: int) -> list[range]:
    """Cut the output slices into runs of neighbours, which share input slices."""
    size = count if threads <= 1 else _PLANES_AT_ONCE
    return [range(start, min(start + size, count)) for start in range(0, count, max(size, 1))]


def as_type(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values in another type; integers are rounded and held within their range."""
    if dtype.kind not in "iu":
        return np.asarray(values, dtype)
    limits = np.iinfo(dtype)
    rounded: npt.NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return rounded
