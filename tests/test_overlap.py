"""The vectorised counting against the plain one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.metrics import overlap
from petct_cli.metrics.families import Item
from petct_cli.metrics.overlap import Block, TokenCodes, blocks, common_lengths, matches
from petct_cli.report.normalise import DEFAULT
from tests.ngram_reference import common, shared

words = st.sampled_from(["nốt", "Phổi", "phải", "3,2", "SUVmax:", "-", "hoá", "hóa,", "(gan)", "\x00", "𝔾", "a_b"])
texts = st.one_of(st.lists(words, max_size=30).map(" ".join), st.text(max_size=30))
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)


def block(given_pairs: list[tuple[str, str]]) -> Block:
    return Block(range(len(given_pairs)), [a for a, _ in given_pairs], [b for _, b in given_pairs])


@settings(max_examples=200, deadline=None)
@given(pairs, st.integers(1, 6))
def test_matches_are_the_clipped_counts(given_pairs: list[tuple[str, str]], orders: int) -> None:
    coded = block(given_pairs).coded(TokenCodes(DEFAULT.tokens))
    tokens = [(DEFAULT.tokens(a), DEFAULT.tokens(b)) for a, b in given_pairs]
    assert [list(map(int, lengths)) for lengths in coded.lengths()] == [
        [len(a) for a, _ in tokens],
        [len(b) for _, b in tokens],
    ]
    expected = [[shared(a, b, order) for order in range(1, orders + 1)] for a, b in tokens]
    assert matches(coded, orders).tolist() == expected
    assert common_lengths(coded).tolist() == [common(a, b) for a, b in tokens]


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_characters_are_tokens_too(given_pairs: list[tuple[str, str]]) -> None:
    expected = [[shared(a, b, order) for order in range(1, 7)] for a, b in given_pairs]
    assert matches(block(given_pairs), 6).tolist() == expected


@pytest.mark.parametrize("orders", [4, 6])
def test_n_grams_of_more_kinds_than_fit_a_machine_word(orders: int) -> None:
    rng = np.random.default_rng(0)
    many = "".join(map(chr, rng.permutation(40_000) + 0x20000))
    other = many[:700] + "x" + many[700:1500] + many[30_000:] + many[:40]
    given_pairs = [(many, other), (other, many), (many, many[::-1])]
    expected = [[shared(a, b, order) for order in range(1, orders + 1)] for a, b in given_pairs]
    assert matches(block(given_pairs), orders).tolist() == expected


def test_blocks_hold_every_pair_once_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a" * length for length in (0, 3, 50, 500, 2, 0, 9, 120)]
    items = [Item(str(n), str(n), "", None, None if n == 4 else text, "") for n, text in enumerate(texts)]
    monkeypatch.setattr(overlap, "_CHARACTERS", 150)
    cut = list(blocks(items, texts))
    assert [index for one in cut for index in one.chosen] == [0, 1, 2, 3, 5, 6, 7]
    assert len(cut) == 4
    assert all(len(one.chosen) == 1 or sum(map(len, [*one.given, *one.wanted])) <= 150 for one in cut)


def test_tokens_have_one_code_each_beyond_the_surrogates(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = TokenCodes(str.split)
    words = [f"w{number}" for number in range(0xD800 + 5)]
    text = codes(" ".join(words))
    assert len(text) == len(words)
    assert len(set(text)) == len(words)
    assert codes(" ".join(words[::-1])) == text[::-1]
    assert text.encode("utf-8").decode("utf-8") == text
    monkeypatch.setattr(overlap, "_KEPT", 10)
    codes.trim()
    assert len(codes) == 0
    assert matches(block([("a b c", "b c d")]).coded(codes), 2).tolist() == [[2, 1]]
