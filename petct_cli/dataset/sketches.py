"""Short bit strings of sparse vectors, such that vectors of a small angle have similar ones (SimHash).

Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002; the sorted bands are the LSH forest of
Bawa, Condie and Ganesan, WWW 2005. All sums are of integers, so that every machine finds the same bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SKETCH_BITS = 256
_BLOCK = 4096
_TOGETHER = 4
_SIGMAS = 4.0


@dataclass(frozen=True)
class Bands:
    """A family of sorted keys.

    Attributes
    ----------
    number, bits
        How many keys a vector has, and of how many bits each is.
    centred
        Measure angles as seen from the mean of all vectors. It parts reports that share their boilerplate; the
        others find what lies near the mean itself.
    """

    number: int
    bits: int
    centred: bool


FAMILIES = (Bands(48, 40, False), Bands(64, 24, True))
NEIGHBOURS = 8
"""How many followers in the order of each key a vector is compared with: the work is linear whatever the texts are."""


class Planes:
    """Random hyperplanes over a vocabulary: signs are bits of SHAKE-128 of the token, so that order does not matter."""

    def __init__(self, tokens: Sequence[str]) -> None:
        total = SKETCH_BITS + sum(family.number * family.bits for family in FAMILIES)
        packed = b"".join(hashlib.shake_128(token.encode()).digest(total // 8) for token in tokens)
        self._bits = np.frombuffer(packed, np.uint8).reshape(len(tokens), total // 8)

    def signs(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return planes `start` to `stop` (multiples of 8), shape (tokens, planes), of +1 and -1."""
        bits = np.unpackbits(self._bits[:, start // 8 : stop // 8], axis=1)
        return bits.astype(np.int32) * 2 - 1


def sketches(vectors: Any, planes: Planes) -> NDArray[np.uint64]:
    """Return a sketch of each row of the sparse integer matrix `vectors`, shape (rows, SKETCH_BITS / 64)."""
    return np.ascontiguousarray(_keys(vectors, planes.signs(0, SKETCH_BITS), None, SKETCH_BITS // 64).T)


def sorted_keys(vectors: Any, planes: Planes) -> Iterator[NDArray[np.uint64]]:
    """Yield the keys of all rows of `vectors` band by band, shape (rows,)."""
    total = np.zeros(vectors.shape[1], np.int64)
    for row in range(0, vectors.shape[0], _BLOCK):
        total += np.asarray(vectors[row : row + _BLOCK].sum(axis=0), np.int64).ravel()
    start = SKETCH_BITS
    for family in FAMILIES:
        for _ in range(0, family.number, _TOGETHER):
            stop = start + _TOGETHER * family.bits
            yield from _keys(vectors, planes.signs(start, stop), total if family.centred else None, _TOGETHER)
            start = stop


def _keys(vectors: Any, signs: NDArray[np.int32], total: NDArray[np.int64] | None, number: int) -> NDArray[np.uint64]:
    """Say on which side of each plane each row lies, as seen from nought or from the mean, shape (number, rows).

    The planes are divided among `number` keys, of at most 64 bits each.
    """
    rows = vectors.shape[0]
    found = np.empty((number, rows), np.uint64)
    width = signs.shape[1] // number
    mean = None if total is None else total @ signs
    for start in range(0, rows, _BLOCK):
        block = vectors[start : start + _BLOCK] @ signs
        sides = block >= 0 if mean is None else block.astype(np.int64) * rows >= mean
        padded = np.zeros((len(sides), number, 8), np.uint8)
        padded[:, :, 8 - width // 8 :] = np.packbits(sides.reshape(len(sides), number, width), axis=2)
        found[:, start : start + _BLOCK] = padded.view(">u8")[:, :, 0].T
    return found


def most_bits_apart(cosine: float) -> int:
    """Return in how many bits the sketches of two vectors of this cosine differ at most, but for one in 30,000."""
    share = math.acos(min(1.0, max(-1.0, cosine))) / math.pi
    return math.ceil(SKETCH_BITS * share + _SIGMAS * math.sqrt(SKETCH_BITS * share * (1 - share)))


def bits_apart(sketch: NDArray[np.uint64], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return in how many bits the sketches of the rows `one` differ from those of the rows `other`."""
    apart: NDArray[np.int64] = np.bitwise_count(sketch[one] ^ sketch[other]).sum(axis=1, dtype=np.int64)
    return apart
