"""N-gram overlap and longest common subsequences in their plainest form, for the fast ones to be held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def shared(one: Sequence[str], other: Sequence[str], order: int) -> int:
    return (ngrams(one, order) & ngrams(other, order)).total()


def common(one: Sequence[str], other: Sequence[str]) -> int:
    row = [0] * (len(other) + 1)
    for a in one:
        before = row
        row = [0]
        for place, b in enumerate(other):
            row.append(before[place] + 1 if a == b else max(before[place + 1], row[-1]))
    return row[-1]
