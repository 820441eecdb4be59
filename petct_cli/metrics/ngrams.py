"""BLEU from sums that can be added over samples, and ROUGE-N of one pair.

What a token is, the caller decides.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from petct_cli.metrics.families import Floats
from petct_cli.metrics.overlap import Integers, ngram_counts

MAX_ORDER = 4
BLEU_COLUMNS = 3 * MAX_ORDER + 2
"""Matches, hypothesis n-grams and reference n-grams of each order, then hypothesis and reference length."""

_NOT_ASCII_WORD = re.compile(r"[^a-z0-9]+")


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of `tokens`."""
    return Counter(zip(*(islice(tokens, start, None) for start in range(order)), strict=False))


def bleu_rows(found: Integers, given: Integers, wanted: Integers) -> Floats:
    """Return BLEU sums, shape (pairs, BLEU_COLUMNS).

    Parameters
    ----------
    found
        Clipped matches, shape (pairs, orders); the columns of further orders stay 0.
    given, wanted
        Tokens of each hypothesis and of each reference.
    """
    orders = found.shape[1]
    rows = np.zeros((len(found), BLEU_COLUMNS))
    columns = (found, ngram_counts(given, orders), ngram_counts(wanted, orders))
    for start, counts in zip(range(0, 3 * MAX_ORDER, MAX_ORDER), columns, strict=True):
        rows[:, start : start + orders] = counts
    rows[:, -2], rows[:, -1] = given, wanted
    return rows


def corpus_bleu(sums: Floats, order: int) -> Floats:
    """Return corpus BLEU of `order` on a 0-100 scale from summed rows.

    Parameters
    ----------
    sums
        Shape (..., BLEU_COLUMNS).

    Zero matches are smoothed as sacrebleu does by default (``exp``). Orders of which neither side has an n-gram are
    left out, so that a text against itself gives 100 however short it is.
    """
    matches, given, wanted = (sums[..., start * MAX_ORDER : (start + 1) * MAX_ORDER] for start in range(3))
    length, reference_length = sums[..., -2], sums[..., -1]
    total = np.zeros(sums.shape[:-1])
    used = np.zeros(sums.shape[:-1])
    halvings = np.zeros(sums.shape[:-1])
    impossible = np.zeros(sums.shape[:-1], dtype=bool)
    for index in range(order):
        hits, n_given = matches[..., index], given[..., index]
        exists = (n_given > 0) | (wanted[..., index] > 0)
        impossible |= exists & (n_given == 0)
        smoothed = exists & (n_given > 0) & (hits == 0)
        halvings += smoothed
        precision = np.where(smoothed, 0.5**halvings, hits) / np.maximum(n_given, 1)
        total += np.where(exists & (n_given > 0), np.log(np.maximum(precision, 1e-300)), 0.0)
        used += exists
    with np.errstate(divide="ignore", over="ignore"):
        brevity = np.where(length < reference_length, np.exp(1 - reference_length / np.maximum(length, 1e-9)), 1.0)
    score = 100 * brevity * np.exp(total / np.maximum(used, 1))
    nothing = impossible | (used == 0) | (matches[..., 0] == 0)
    return np.asarray(np.where(nothing, 0.0, score), dtype=np.float64)


def nltk_bleu_rows(found: Integers, given: Integers, wanted: Integers) -> Floats:
    """Return BLEU sums in NLTK's manner: a hypothesis too short for an order counts as one n-gram of it."""
    rows = bleu_rows(found, given, wanted)
    rows[:, MAX_ORDER : 2 * MAX_ORDER] = np.maximum(rows[:, MAX_ORDER : 2 * MAX_ORDER], 1)
    return rows


def nltk_corpus_bleu(sums: Floats) -> Floats:
    """Return corpus BLEU-4 as NLTK's ``corpus_bleu`` with ``SmoothingFunction().method4`` does, on a 0-100 scale."""
    flat = sums.reshape(-1, sums.shape[-1])
    scores = [_nltk_bleu(row) for row in flat.tolist()]
    return np.array(scores, dtype=np.float64).reshape(sums.shape[:-1])


def _nltk_bleu(row: Sequence[float]) -> float:
    matches, given = row[:MAX_ORDER], row[MAX_ORDER : 2 * MAX_ORDER]
    length, reference_length = row[-2], row[-1]
    if matches[0] == 0 or length == 0:
        return 0.0
    logs = 0.0
    increment = 1
    for hits, n_given in zip(matches, given, strict=True):
        if hits == 0 and length > 1:
            hits = math.log(length) / (2**increment * 5)
            increment += 1
        if hits == 0:
            continue  # NLTK leaves out what it cannot smooth
        logs += math.log(hits / n_given) / MAX_ORDER
    brevity = 1.0 if length > reference_length else math.exp(1 - reference_length / length)
    return 100 * brevity * math.exp(logs)


def rouge_score_tokens(text: str) -> list[str]:
    """Tokenise as rouge_score's default does: lowercase ASCII letters and digits, everything else is a space."""
    return _NOT_ASCII_WORD.sub(" ", text.lower()).split()


def rouge_n(hypothesis: Sequence[str], reference: Sequence[str], order: int = 1) -> float:
    """Return the ROUGE-N F-measure, 0-100; two empty texts are 0, as in rouge_score."""
    given, wanted = ngrams(hypothesis, order), ngrams(reference, order)
    overlap = sum(min(count, wanted[ngram]) for ngram, count in given.items() if ngram in wanted)
    return _f_measure(overlap, given.total(), wanted.total())


def _f_measure(overlap: float, given: float, wanted: float) -> float:
    return 200 * overlap / (given + wanted) if overlap else 0.0
