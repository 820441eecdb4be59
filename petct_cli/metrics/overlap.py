"""What two texts share, for many pairs at once: clipped n-gram matches and longest common subsequences.

Python objects per n-gram are what makes n-gram metrics slow. Here a token is one code point, a text a string of them,
an n-gram an integer, and a block of pairs one sorted array: every n-gram stands beside its likes of both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_cli.core.errors import InputError
from petct_cli.metrics.families import Item

Integers = NDArray[np.int64]

_CHARACTERS = 40_000  # of a block: its arrays stay in the cache of a core
_SURROGATES = range(0xD800, 0xE000)
_KEPT = 400_000
_LONGEST_KEPT = 64


class TokenCodes(dict[str, str]):
    """Texts as strings with one code point per token; equal tokens have equal code points.

    Parameters
    ----------
    tokens
        Splits a text or a part of one.
    parts
        Cuts a text into parts whose tokens are those of the text, one after the other; a part is split once.
    """

    def __init__(
        self, tokens: Callable[[str], Sequence[str]], parts: Callable[[str], Sequence[str]] = str.split
    ) -> None:
        super().__init__()
        self._tokens = tokens
        self._parts = parts
        self._codes: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return the code points of `text`; they hold until `trim`."""
        return "".join(map(self.__getitem__, self._parts(text)))

    def __missing__(self, part: str) -> str:
        codes = self._codes
        coded = "".join([codes.get(token) or self._new(token) for token in self._tokens(part)])
        if len(part) <= _LONGEST_KEPT:
            self[part] = coded
        return coded

    def _new(self, token: str) -> str:
        number = len(self._codes)
        # Surrogates are no characters: what is above them is for the later tokens.
        number += len(_SURROGATES) if number >= _SURROGATES.start else 0
        if number > 0x10FFFF:
            raise InputError("too_many_words", "a text of more than a million different words cannot be scored")
        return self._codes.setdefault(token, chr(number))

    def trim(self) -> None:
        """Forget everything when it has become much: between blocks, since it ends the meaning of earlier codes."""
        if max(len(self), len(self._codes)) > _KEPT:
            self.clear()
            self._codes.clear()


@dataclass(frozen=True)
class Block:
    """Some pairs of a hypothesis and a reference.

    Attributes
    ----------
    chosen
        Their positions among the items.
    given, wanted
        Hypotheses and references, as they are or in code points.
    """

    chosen: Sequence[int]
    given: Sequence[str]
    wanted: Sequence[str]

    def coded(self, codes: TokenCodes) -> Block:
        """Return the block in code points."""
        codes.trim()
        return Block(self.chosen, [codes(text) for text in self.given], [codes(text) for text in self.wanted])

    def lengths(self) -> tuple[Integers, Integers]:
        """Return the tokens of each hypothesis and of each reference; the block is in code points."""
        return _lengths(self.given), _lengths(self.wanted)


def blocks(items: Sequence[Item], hypotheses: Sequence[str]) -> Iterator[Block]:
    """Cut the pairs of `hypotheses` and the references of `items` into blocks; items without one are left out."""
    chosen: list[int] = []
    characters = 0
    for index, (item, text) in enumerate(zip(items, hypotheses, strict=True)):
        if item.reference is None:
            continue
        more = len(text) + len(item.reference)
        if chosen and characters + more > _CHARACTERS:
            yield _block(items, hypotheses, chosen)
            chosen, characters = [], 0
        chosen.append(index)
        characters += more
    if chosen:
        yield _block(items, hypotheses, chosen)


def _block(items: Sequence[Item], hypotheses: Sequence[str], chosen: Sequence[int]) -> Block:
    return Block(chosen, [hypotheses[index] for index in chosen], [items[index].reference or "" for index in chosen])


def _lengths(texts: Sequence[str]) -> Integers:
    return np.fromiter(map(len, texts), np.int64, len(texts))


def ngram_counts(lengths: Integers, orders: int) -> Integers:
    """Return how many n-grams of each order texts of `lengths` have, shape (texts, orders)."""
    return np.asarray(np.maximum(lengths[:, None] - np.arange(orders), 0), dtype=np.int64)


def matches(block: Block, orders: int) -> Integers:
    """Return how many n-grams of each order both texts of a pair have, counts clipped; shape (pairs, orders).

    `block` is in code points.
    """
    pairs = len(block.chosen)
    found = np.zeros((pairs, orders), np.int64)
    lengths = np.concatenate(block.lengths())
    tokens = _numbered("".join([*block.given, *block.wanted]))
    if not len(tokens):
        return found
    text = np.repeat(np.arange(2 * pairs), lengths)
    owner, side = text % pairs, text // pairs
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))
    bits = int(tokens.max()).bit_length()
    pair_bits = pairs.bit_length()
    key, key_bits = tokens, bits
    for order in range(1, orders + 1):
        if order > 1:
            if key_bits + bits + pair_bits + 1 > 63:
                # Ranks stand for the n-grams themselves where those no longer fit.
                key = np.unique(key, return_inverse=True)[1]
                key_bits = len(key).bit_length()
            key = (key[:-1] << bits) | tokens[order - 1 :]
            key_bits += bits
        whole = left[: len(key)] >= order
        packed = ((owner[: len(key)] << (key_bits + 1)) | (key << 1) | side[: len(key)])[whole]
        if not len(packed):
            break
        kinds, counts = tally(packed)
        both = on_both_sides(kinds)
        shared = np.minimum(counts[both], counts[both + 1])
        found[:, order - 1] = np.bincount(kinds[both] >> (key_bits + 1), shared, pairs)
    return found


def tally(packed: Integers) -> tuple[Integers, Integers]:
    """Return what stands in `packed`, in order, and how often; `packed` is not empty and is sorted in place."""
    packed.sort()
    starts = np.flatnonzero(np.concatenate([[True], packed[1:] != packed[:-1]]))
    return packed[starts], np.diff(starts, append=len(packed))


def on_both_sides(kinds: Integers) -> Integers:
    """Return where in `kinds`, whose last bit is the side, both sides of the same n-gram stand one after the other."""
    return np.flatnonzero((kinds[1:] ^ kinds[:-1]) == 1)


def _numbered(text: str) -> Integers:
    """Return small numbers for the characters of `text`, equal for equal ones."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if not len(codes):
        return np.zeros(0, np.int64)
    present = np.zeros(int(codes.max()) + 1, np.int64)
    present[codes] = 1
    return np.asarray((np.cumsum(present) - 1)[codes], dtype=np.int64)


def common_lengths(block: Block) -> NDArray[np.float64]:
    """Return the length of the longest common subsequence of each pair of `block`, which is in code points."""
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cpdist

    lengths = cpdist(block.given, block.wanted, scorer=LCSseq.similarity, dtype=np.int64)
    return np.asarray(lengths, dtype=np.float64)


def f_measures(overlap: NDArray[np.float64] | Integers, given: Integers, wanted: Integers) -> NDArray[np.float64]:
    """Return F-measures on a 0-100 scale; 0 where nothing overlaps, as in rouge_score."""
    return np.asarray(200 * overlap / np.maximum(given + wanted, 1), dtype=np.float64)
