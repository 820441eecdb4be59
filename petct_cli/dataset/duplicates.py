"""Reports that say the same: exact and near duplicates among many, in linear time and little memory.

Two reports are exact duplicates when their normalised words are the same in the same order, and near duplicates when
the cosine of their TF-IDF vectors reaches a threshold (word counts times ``ln((1 + n) / (1 + df)) + 1``, as in
scikit-learn's `TfidfVectorizer`). Candidates come from sorted SimHash keys (`sketches`); the exact cosine decides.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petct_cli.dataset.sketches import (
    NEIGHBOURS,
    Planes,
    bits_apart,
    most_bits_apart,
    sketches,
    sorted_keys,
)
from petct_cli.report.normalise import DEFAULT

NEAR = 0.95
_SCALE = 4096
_PAIRS_AT_ONCE = 32768
_ROWS_AT_ONCE = 8192
_MOST = 65535


@dataclass(frozen=True)
class Alike:
    """Which reports say the same.

    Attributes
    ----------
    text
        Number of the text of each report, in the order they were added; -1 for a report without words. Exact duplicates
        have the same number. Numbers follow a hash of the words: the order of the reports does not matter.
    one, other, cosine
        Pairs of texts that are near duplicates: enough of them to connect all that were found, not every pair.
    """

    text: NDArray[np.int64]
    one: NDArray[np.int64]
    other: NDArray[np.int64]
    cosine: NDArray[np.float64]


class DuplicateIndex:
    """Collects reports and finds those that say the same.

    Words go to files in `folder`; 24 bytes a report stay in memory while reports are added.

    Parameters
    ----------
    folder
        An empty private folder: what it holds can be read as words.
    near
        Least cosine of near duplicates, above 0; more than 1: exact duplicates only.
    """

    def __init__(self, folder: Path, near: float = NEAR) -> None:
        self._near = near
        self._folder = folder
        self._words: dict[str, int] = {}
        self._digests = bytearray()
        self._ends = array("Q")
        self._ids = (folder / "ids").open("wb")
        self._counts = (folder / "counts").open("wb")
        self._size = 0

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str) -> None:
        """Take in the next report."""
        tokens = [token for word in text.split() for token in _tokens(word)]
        digest = blake2b("\x1f".join(tokens).encode(), digest_size=16).digest() if tokens else bytes(16)
        self._digests += digest
        counts = Counter(self._words.setdefault(token, len(self._words)) for token in tokens)
        ids = sorted(counts)
        array("i", ids).tofile(self._ids)
        array("H", (min(counts[word], _MOST) for word in ids)).tofile(self._counts)
        self._size += len(ids)
        self._ends.append(self._size)

    def find(self) -> Alike:
        """Return what is alike among the reports added so far; nothing can be added after."""
        self._ids.close()
        self._counts.close()
        digests = np.frombuffer(self._digests, "S16")
        worded = np.flatnonzero(digests != b"")
        # Sorted by digest, so that whatever follows is the same in any order of the reports.
        distinct, first, inverse = np.unique(digests[worded], return_index=True, return_inverse=True)
        text = np.full(len(digests), -1, np.int64)
        text[worded] = inverse.ravel()
        none = np.empty(0, np.int64)
        if len(distinct) < 2 or self._near > 1:
            return Alike(text, none, none, np.empty(0))
        weights, vectors = self._matrices()
        return Alike(text, *self._near_pairs(weights, vectors, worded[first]))

    def _near_pairs(
        self, weights: Any, vectors: Any, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return pairs of texts, and their cosines; text t is row ``rows[t]`` of `weights` and `vectors`."""
        planes = Planes(list(self._words))
        sketch = sketches(vectors, planes)[rows]
        far = most_bits_apart(self._near)
        lengths = self._lengths[rows]
        component = np.arange(len(rows))
        found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        for keys in sorted_keys(vectors, planes):
            order = np.argsort(keys[rows], kind="stable")
            for step in range(1, min(NEIGHBOURS, len(rows) - 1) + 1):
                one, other = order[:-step], order[step:]
                open_ = component[one] != component[other]
                one, other = one[open_], other[open_]
                close = bits_apart(sketch, one, other) <= far
                one, other = one[close], other[close]
                for start in range(0, len(one), _PAIRS_AT_ONCE):
                    a, b = one[start : start + _PAIRS_AT_ONCE], other[start : start + _PAIRS_AT_ONCE]
                    cosine = _dots(weights, rows[a], rows[b]) / (lengths[a] * lengths[b])
                    near = cosine >= self._near
                    if near.any():
                        a, b, cosine = a[near], b[near], np.minimum(cosine[near], 1.0)
                        found.append((np.minimum(a, b), np.maximum(a, b), cosine))
                        component = smallest_connected(len(rows), component[a], component[b])[component]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        one, other, cosine = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return one, other, cosine

    def _matrices(self) -> tuple[Any, Any]:
        """Return the reports as sparse rows, weighted and of unit length, as integers on disk."""
        from scipy.sparse import csr_matrix

        ids = np.memmap(self._folder / "ids", np.int32, "r")
        counts = np.memmap(self._folder / "counts", np.uint16, "r")
        ends = np.concatenate([[0], np.frombuffer(self._ends, np.uint64).astype(np.int64)])
        if self._size <= np.iinfo(np.int32).max:
            ends = ends.astype(np.int32)
        document_frequency = np.zeros(len(self._words), np.int64)
        step = 1 << 22
        for start in range(0, len(ids), step):
            document_frequency += np.bincount(ids[start : start + step], minlength=len(self._words))
        reports = int((np.diff(ends) > 0).sum())
        idf = np.array([round((math.log((1 + reports) / (1 + int(n))) + 1) * _SCALE) for n in document_frequency])
        weights = np.memmap(self._folder / "weights", np.int32, "w+", shape=ids.shape)
        vectors = np.memmap(self._folder / "vectors", np.int32, "w+", shape=ids.shape)
        self._lengths = np.ones(len(ends) - 1)
        for row in range(0, len(ends) - 1, _ROWS_AT_ONCE):
            bounds = ends[row : row + _ROWS_AT_ONCE + 1].astype(np.int64)
            part = slice(int(bounds[0]), int(bounds[-1]))
            weight = counts[part] * idf[ids[part]]
            sums = np.concatenate([[0], np.cumsum(weight * weight)])[bounds - bounds[0]]
            length = np.sqrt(np.maximum(np.diff(sums), 1))
            self._lengths[row : row + _ROWS_AT_ONCE] = length
            weights[part] = np.minimum(weight, np.iinfo(np.int32).max)
            vectors[part] = np.rint(weight * (_SCALE / np.repeat(length, np.diff(bounds))))
        shape = (len(ends) - 1, len(self._words))
        return csr_matrix((weights, ids, ends), shape=shape), csr_matrix((vectors, ids, ends), shape=shape)


@lru_cache(maxsize=1 << 16)
def _tokens(word: str) -> tuple[str, ...]:
    """Return the tokens of what stands between white space: nothing of the canonical form reaches beyond it."""
    return tuple(DEFAULT.tokens(word))


def _dots(weights: Any, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    product = weights[one].astype(np.int64).multiply(weights[other].astype(np.int64))
    return np.asarray(product.sum(axis=1), np.float64).ravel()


def smallest_connected(size: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of the nodes 0 to `size` the smallest that the edges from `one` to `other` connect it with."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = coo_matrix((np.ones(len(one)), (one, other)), shape=(size, size))
    labels = connected_components(edges, directed=False)[1]
    smallest = np.full(size, size)
    np.minimum.at(smallest, labels, np.arange(size))
    found: NDArray[np.int64] = smallest[labels]
    return found
