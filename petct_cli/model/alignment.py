"""What a report says of single spots, learned although nobody told which sentence speaks of which spot.

Each measured clause is aligned with the spot that its numbers and words fit best; that spot should say its words and
numbers, and spots that no clause speaks of should say nothing. This teaches the tower before the language model writes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from petct_cli.model.describe import LOG_DIAMETER_COLUMN, LOG_PEAK_COLUMN, USED_COLUMN
from petct_cli.model.targets import LOG_SIZE_CENTRE, LOG_SUV_CENTRE, MOST_COMMON, ClauseTokens, WordGroups, measurements

_SIZE_TOLERANCE = 0.2
_SUV_TOLERANCE = 0.07
_WORST_MISFIT = 8.0
NUMBER_BINS = 24
_NUMBER_RANGES = (
    (math.log(4) - LOG_SIZE_CENTRE, math.log(100) - LOG_SIZE_CENTRE),
    (math.log(1) - LOG_SUV_CENTRE, math.log(30) - LOG_SUV_CENTRE),
)


class TextHeads(nn.Module):
    """Reads word groups and measures off each image token; used in training only."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = nn.Linear(width, max(1, groups))
        self.numbers = nn.Linear(width, 2)
        self.bins = nn.Linear(width, 2 * NUMBER_BINS)
        nn.init.constant_(self.groups.bias, -4.0)


@dataclass(frozen=True)
class Clauses:
    """The measured clauses of a batch.

    Attributes
    ----------
    row
        ``(n,)`` which example each belongs to.
    words
        ``(n, groups)`` the word groups it holds.
    numbers
        ``(n, 2)`` log size and log SUVmax, centred; NaN where not given.
    word_tokens, number_tokens
        ``(n, vocabulary)`` share of each token of the language model in the clause's words and in its numbers.
    """

    row: torch.Tensor
    words: torch.Tensor
    numbers: torch.Tensor
    word_tokens: torch.Tensor
    number_tokens: torch.Tensor


class TextTargets:
    """The measured clauses of all examples, as word groups, numbers and tokens.

    Parameters
    ----------
    texts
        The reports.
    tokens
        For each report the words and numbers of each measured clause, in the order of `measurements`.
    vocabulary
        Number of tokens of the language model.
    """

    def __init__(self, texts: Sequence[str], tokens: Sequence[Sequence[ClauseTokens]], vocabulary: int) -> None:
        found = [measurements(text) for text in texts]
        self.vocabulary = WordGroups.learn(clause.clause for of_text in found for clause in of_text)
        known = {clause.clause: self.vocabulary.encode(clause.clause) for of_text in found for clause in of_text}
        self._clauses = [
            [(torch.from_numpy(known[clause.clause]), clause.numbers) for clause in of_text] for of_text in found
        ]
        counts = Counter(token for of_text in tokens for clause in of_text for token in set(clause.words))
        self._common = {token for token, count in counts.items() if count > MOST_COMMON * sum(map(len, tokens))}
        self._tokens = tokens
        self.is_number = torch.zeros(vocabulary, dtype=torch.bool)
        self.is_number[[token for of_text in tokens for clause in of_text for token in clause.numbers]] = True

    @property
    def measured(self) -> list[bool]:
        """For each text, whether it states a measure."""
        return [bool(clauses) for clauses in self._clauses]

    def batch(self, examples: Sequence[int]) -> Clauses | None:
        """Return the clauses of `examples`, None when they have none."""
        rows = [(row, clause) for row, example in enumerate(examples) for clause in self._clauses[example]]
        if not rows:
            return None
        words, numbers = torch.zeros(2, len(rows), len(self.is_number))
        for row, own in enumerate(own for example in examples for own in self._tokens[example]):
            told = sorted(set(own.words) - self._common)
            words[row, told] = 1.0 / max(1, len(told))
            numbers[row, sorted(set(own.numbers))] = 1.0 / max(1, len(set(own.numbers)))
        return Clauses(
            torch.tensor([row for row, _ in rows]),
            torch.stack([words for _, (words, _) in rows]),
            torch.tensor([clause[1] for _, clause in rows], dtype=torch.float32),
            words,
            numbers,
        )


class TextLosses(NamedTuple):
    """How far image tokens are from the clauses: in words, in numbers, and in words as the model says them."""

    words: torch.Tensor
    numbers: torch.Tensor
    speech: torch.Tensor


def number_bins(numbers: torch.Tensor) -> torch.Tensor:
    """Spread each number over its two nearest bins, ``(..., 2)`` to ``(..., 2, bins)``; NaN counts as 0."""
    knots = torch.stack([torch.linspace(low, high, NUMBER_BINS) for low, high in _NUMBER_RANGES])
    step = knots[:, 1] - knots[:, 0]
    inside = numbers.nan_to_num().clamp(knots[:, 0], knots[:, -1])
    return (1 - (inside[..., None] - knots).abs() / step[:, None]).clamp(min=0)


def align(clauses: Clauses, word_logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Say which spot each clause speaks of, ``(n, tokens)``, summing to 1: nobody told, so it is inferred.

    A spot fits when its own uptake and size are near the clause's numbers and when it is by now expected to be spoken
    of in these words (`word_logits`, ``(B, tokens, groups)``). `images` are the features, ``(B, tokens, features)``.
    """
    logits = word_logits.detach()
    absent = functional.logsigmoid(-logits)
    # log p(words) of independent groups: sum of logit over those held plus what all absent would give.
    fit = torch.einsum("nkg,ng->nk", logits[clauses.row], clauses.words) + absent.sum(dim=2)[clauses.row]
    seen = images[clauses.row]
    for column, centre, number, tolerance in (
        (LOG_DIAMETER_COLUMN, 3.0 - LOG_SIZE_CENTRE, 0, _SIZE_TOLERANCE),
        (LOG_PEAK_COLUMN, 1.5 - LOG_SUV_CENTRE, 1, _SUV_TOLERANCE),
    ):
        off = (seen[..., column] + centre - clauses.numbers[:, number, None]) / tolerance
        fit = fit - (0.5 * off.square()).clamp(max=_WORST_MISFIT).nan_to_num(0.0)
    unused = seen[..., USED_COLUMN] < 0.5
    return fit.masked_fill(unused, -1e4).softmax(dim=1)


def text_losses(
    heads: TextHeads,
    tokens: torch.Tensor,
    images: torch.Tensor,
    clauses: Clauses | None,
    speak: Callable[[torch.Tensor], torch.Tensor],
    is_number: torch.Tensor,
) -> TextLosses:
    """Return how badly words and numbers of the clauses are read off the image tokens they speak of.

    Tokens that no clause speaks of should say nothing. `speak` gives the logits with which the language model would
    say an image token as it comes in: an image token that already looks like its words only needs to be copied, and
    copying is what attention learns soonest. `is_number` says which tokens of the vocabulary are numbers.
    """
    logits = heads.groups(tokens)
    target = torch.zeros_like(logits)
    number_loss = speech_loss = tokens.new_zeros(())
    if clauses is not None:
        spot = align(clauses, logits, images)
        target.index_add_(0, clauses.row, spot[..., None] * clauses.words[:, None])
        given = ~clauses.numbers.isnan()
        truth = clauses.numbers.nan_to_num()[:, None].expand(-1, tokens.shape[1], -1)
        wrong = functional.smooth_l1_loss(heads.numbers(tokens)[clauses.row], truth, reduction="none", beta=0.2)
        bins = heads.bins(tokens)[clauses.row].unflatten(-1, (2, NUMBER_BINS)).log_softmax(dim=-1)
        wrong = wrong - (bins * number_bins(clauses.numbers)[:, None]).sum(dim=-1)
        number_loss = (spot[..., None] * wrong * given[:, None]).sum(dim=1).mean()
        said = speak(tokens)[clauses.row]
        # Words and numbers apart: a token that says its words well should not have to unsay its numbers.
        for kind, others in ((clauses.word_tokens, is_number), (clauses.number_tokens, ~is_number)):
            log_share = said.masked_fill(others, -1e4).log_softmax(dim=-1)
            speech_loss = speech_loss - torch.einsum("nk,nv,nkv->n", spot, kind, log_share).mean()
    words = functional.binary_cross_entropy_with_logits(logits, target.clamp(max=1.0), reduction="none")
    return TextLosses(words.sum(dim=1).mean(), number_loss, speech_loss)
