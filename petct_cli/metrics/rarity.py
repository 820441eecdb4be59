"""How rare the n-grams of many texts are: what tf-idf needs to know of a whole data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_cli.metrics.families import Floats
from petct_cli.metrics.overlap import Integers, tally
from petct_cli.metrics.tokens import Tokens

Hashes = NDArray[np.uint64]
"""64 bits for an n-gram: of 10^8 different ones, two are alike with a probability of 0.03 %."""

_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is 0 modulo 2^64
_TEXTS_AT_ONCE = 64
_UNMERGED = 4_000_000
_KEPT_WORDS = 200_000
_LONGEST_KEPT = 64


@dataclass(frozen=True)
class HashedTexts:
    """The tokens of some texts, one text after the other.

    Attributes
    ----------
    tokens
        Shape (tokens,).
    lengths
        Tokens of each text, shape (texts,).
    """

    tokens: Hashes
    lengths: Integers

    def ngrams(self, orders: int) -> Iterator[tuple[Integers, Hashes]]:
        """Yield, order by order while there are any, the text that each n-gram is of and the n-gram."""
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        left = np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(self.tokens))
        hashes = self.tokens
        for order in range(1, orders + 1):
            if order > 1:
                hashes = hashes[:-1] * _STEP + self.tokens[order - 1 :]
            whole = left[: len(hashes)] >= order
            if not whole.any():
                return
            yield text[: len(hashes)][whole], hashes[whole]


class TokenHashes(dict[str, bytes]):
    """Texts as 64 bits per token, the same in every process."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    def __missing__(self, part: str) -> bytes:
        tokens = [token.encode("utf-8", "surrogatepass") for token in self._tokens(part)]
        hashed = b"".join([hashlib.blake2b(token, digest_size=8).digest() for token in tokens])
        if len(part) <= _LONGEST_KEPT:
            if len(self) >= _KEPT_WORDS:
                self.clear()
            self[part] = hashed
        return hashed

    def of(self, texts: Sequence[str]) -> HashedTexts:
        """Return the tokens of `texts`."""
        hashed = [b"".join(map(self.__getitem__, self._tokens.parts(text))) for text in texts]
        lengths = np.fromiter((len(text) // 8 for text in hashed), np.int64, len(hashed))
        return HashedTexts(np.frombuffer(b"".join(hashed), np.uint64), lengths)


@dataclass(frozen=True)
class Rarity:
    """How many references hold an n-gram.

    Attributes
    ----------
    references
        How many there are.
    ngrams
        Those that more than one reference holds, in order.
    holders
        How many hold each.
    """

    references: int
    ngrams: Hashes
    holders: Integers

    @classmethod
    def among(cls, references: Sequence[str], hashes: TokenHashes, orders: int) -> Rarity:
        """Count in `references`, n-grams of up to `orders` tokens."""
        counted: list[tuple[Hashes, Integers]] = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
        unmerged = 0
        for start in range(0, len(references), _TEXTS_AT_ONCE):
            for text, ngrams in hashes.of(references[start : start + _TEXTS_AT_ONCE]).ngrams(orders):
                known, rank = np.unique(ngrams, return_inverse=True)
                bits = _TEXTS_AT_ONCE.bit_length()
                once_per_text, _ = tally((rank << bits) | text)
                counted.append((known, np.bincount(once_per_text >> bits, minlength=len(known))))
                unmerged += len(known)
            if unmerged > _UNMERGED:
                counted, unmerged = [_merged(counted)], 0
        ngrams, holders = _merged(counted)
        return cls(len(references), ngrams[holders > 1], holders[holders > 1])

    def of(self, ngrams: Hashes) -> Floats:
        """Return the logarithm of how many references there are for each that holds one of `ngrams`, at least 0."""
        holders = np.ones(len(ngrams), np.int64)
        if len(self.ngrams):
            place = np.minimum(np.searchsorted(self.ngrams, ngrams), len(self.ngrams) - 1)
            holders = np.where(self.ngrams[place] == ngrams, self.holders[place], 1)
        return np.asarray(np.log(self.references) - np.log(holders), dtype=np.float64)


def _merged(counted: Sequence[tuple[Hashes, Integers]]) -> tuple[Hashes, Integers]:
    ngrams = np.concatenate([part for part, _ in counted])
    counts = np.concatenate([part for _, part in counted])
    if not len(ngrams):
        return ngrams, counts
    order = np.argsort(ngrams, kind="stable")
    ngrams = ngrams[order]
    starts = np.flatnonzero(np.concatenate([[True], ngrams[1:] != ngrams[:-1]]))
    return ngrams[starts], np.add.reduceat(counts[order], starts)
