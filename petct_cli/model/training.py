"""The training loop of the embedded model: two stages, resumable to the bit."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from petct_cli.core.errors import InternalError
from petct_cli.core.hashing import sha256_array, sha256_bytes
from petct_cli.core.store import write_atomically
from petct_cli.model.alignment import TextHeads, TextTargets, text_losses
from petct_cli.model.targets import ClauseTokens

log = logging.getLogger(__name__)

THREADS = 1
"""Fixed, because the sums of a matrix product depend on the number of threads in the last bit; one, because threads
that wait for each other in ever so small matrix products crawl on a machine that does anything else beside."""


_BATCHES_SORTED_TOGETHER = 16
_RECENT = 50
_SAVE_EVERY = 200


@dataclass(frozen=True)
class TrainOptions:
    """What the loop is told; all of it changes the weights.

    Attributes
    ----------
    steps
        In all; `first_stage` of them train the tower alone.
    learning_rate
        Its peak in each stage (`schedule`).
    word_weight, later_word_weight
        Weight of the word loss on the image tokens in the first and in the second stage.
    number_weight
        Weight of the size and SUV loss on the image tokens.
    speech_weight
        Weight of the loss that makes image tokens look like their words to the language model.
    """

    steps: int
    first_stage: int
    seed: int = 0
    batch_size: int = 16
    keep_silent: float = 0.5
    learning_rate: float = 2e-3
    warm_up: int = 50
    weight_decay: float = 0.01
    word_weight: float = 30.0
    later_word_weight: float = 10.0
    number_weight: float = 1.0
    speech_weight: float = 1.0
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Example:
    """One training sample.

    Attributes
    ----------
    image
        The row of its features.
    prompt, target
        Token ids of the prompt and of the answer.
    weights
        How much each token of the answer counts.
    clauses
        Words and numbers of each measured clause of the answer.
    text
        The answer.
    """

    image: int
    prompt: tuple[int, ...]
    target: tuple[int, ...]
    weights: tuple[float, ...]
    clauses: tuple[ClauseTokens, ...]
    text: str


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Take denormal numbers as zero while the body runs, and not a moment longer: the mode is the whole thread's.

    The gradients of a model that has become sure are full of denormals, and a processor is thirty times slower on them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def language_batch(examples: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """Lay prompts and answers side by side, padded on the right; ``labels`` are -100 outside of the answers."""
    longest = max(len(example.prompt) + len(example.target) for example in examples)
    ids = torch.full((len(examples), longest), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    weights = torch.zeros(ids.shape)
    for row, example in enumerate(examples):
        start, stop = len(example.prompt), len(example.prompt) + len(example.target)
        ids[row, :stop] = torch.tensor(example.prompt + example.target)
        mask[row, :stop] = 1
        labels[row, start:stop] = torch.tensor(example.target)
        weights[row, start:stop] = torch.tensor(example.weights)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": weights}


def language_loss(
    model: LlavaForConditionalGeneration, batch: dict[str, torch.Tensor], images: torch.Tensor
) -> torch.Tensor:
    """Return the weighted mean cross-entropy per token of the answers."""
    start = int((batch["labels"] != -100).any(dim=0).nonzero()[0])
    labels, weights = batch["labels"][:, start:].flatten(), batch["weights"][:, start:].flatten()
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        pixel_values=images,
        logits_to_keep=batch["labels"].shape[1] - start + 1,
    ).logits[:, :-1]
    answered = labels != -100
    loss = functional.cross_entropy(logits.flatten(0, 1)[answered], labels[answered], reduction="none")
    return (loss * weights[answered]).sum() / weights[answered].sum()


class Trainer:
    """Trains `model` on examples; the same arguments give the same weights, interrupted or not.

    Parameters
    ----------
    features
        ``(images, tokens, features)``, float16.
    state_file
        Where progress is kept every `save_every` steps (by default 200, fewer in short runs); None keeps none.
    """

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        examples: Sequence[Example],
        features: npt.NDArray[np.float16],
        options: TrainOptions,
        state_file: Path | None = None,
        save_every: int | None = None,
    ) -> None:
        torch.set_num_threads(THREADS)
        self.model = model
        self.examples = examples
        self.images = torch.from_numpy(features)
        self.options = options
        self.state_file = state_file
        self.save_every = save_every or max(1, min(_SAVE_EVERY, options.steps // 5))
        self.targets = TextTargets(
            [example.text for example in examples],
            [example.clauses for example in examples],
            model.config.get_text_config().vocab_size,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.heads = TextHeads(model.config.vision_config.hidden_size, len(self.targets.vocabulary.groups))
        self.batches = Batches(
            np.array([len(example.prompt) + len(example.target) for example in examples]),
            np.array(self.targets.measured),
            options.batch_size,
            options.seed,
            options.keep_silent,
        )
        self.optimizer = torch.optim.AdamW(
            [*model.parameters(), *self.heads.parameters()],
            lr=options.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=options.weight_decay,
        )
        self.step = 0
        self.recent: list[float] = []

    def run(self) -> float:
        """Train to the end, from where a former run was interrupted; return the mean loss of the last 50 steps.

        Raises
        ------
        InternalError
            ``diverged``.
        """
        self._resume()
        self.model.train()
        while self.step < self.options.steps:
            with denormals_as_zero():
                loss = self._one_step()
            if not math.isfinite(loss):
                raise InternalError("diverged", f"the loss is not a number any more at step {self.step}")
            self.recent = [*self.recent[1 - _RECENT :], loss]
            self.step += 1
            if self.step % self.save_every == 0 or self.step == self.options.steps:
                self._save()
                log.info("step %d of %d, loss %.3f", self.step, self.options.steps, self.mean_loss)
        self.model.eval()
        return self.mean_loss

    @property
    def mean_loss(self) -> float:
        """Mean loss of the last steps."""
        return sum(self.recent) / max(1, len(self.recent))

    def _one_step(self) -> float:
        options = self.options
        rows = self.batches.rows(self.step)
        examples = [self.examples[row] for row in rows]
        images = self.images[[example.image for example in examples]].float()
        first_stage = self.step < options.first_stage
        tokens = self.model.model.vision_tower(images).last_hidden_state
        loss = tokens.sum() * 0.0
        if self.targets.vocabulary.groups:
            clauses = self.targets.batch(rows)
            found = text_losses(self.heads, tokens, images, clauses, self._speak, self.targets.is_number)
            weight = options.word_weight if first_stage else options.later_word_weight
            loss = loss + weight * found.words
            loss = loss + options.number_weight * found.numbers + options.speech_weight * found.speech
        reported = loss
        if not first_stage:
            batch = language_batch(examples, self.model.config.get_text_config().pad_token_id)
            reported = language_loss(self.model, batch, images)
            loss = loss + reported
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate * schedule(self.step, options)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        self.optimizer.step()
        return float(reported.detach())

    def _speak(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits with which the language model would say image tokens as they come in."""
        model = self.model.model
        logits: torch.Tensor = self.model.lm_head(model.language_model.norm(model.multi_modal_projector(tokens)))
        return logits

    @cached_property
    def _what_it_learns(self) -> str:
        """Return a hash of all that the weights depend on: images may have gone or come since the last run."""
        features = sha256_array(self.images.numpy())
        return sha256_bytes(repr([features, self.options, list(self.examples)]).encode())

    def _save(self) -> None:
        if self.state_file is None:
            return
        buffer = io.BytesIO()
        torch.save(
            {
                "learns": self._what_it_learns,
                "step": self.step,
                "recent": self.recent,
                "model": self.model.state_dict(),
                "heads": self.heads.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            buffer,
        )
        write_atomically(self.state_file, buffer.getvalue())

    def _resume(self) -> None:
        if self.state_file is None or not self.state_file.is_file():
            return
        try:
            state = torch.load(self.state_file, weights_only=True)
            same = state["learns"] == self._what_it_learns
        except Exception:  # a damaged file ends in any of a dozen exceptions
            same = False
        if not same:
            log.warning("%s is damaged or of other samples: starts over", self.state_file)
            return
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.recent = state["recent"]
        log.info("goes on from step %d of %d", self.step, self.options.steps)


def schedule(step: int, options: TrainOptions) -> float:
    """Return the factor on the learning rate at `step`: in each stage a linear warm-up and a cosine down to 2 %."""
    first = step < options.first_stage
    done = step if first else step - options.first_stage
    length = options.first_stage if first else options.steps - options.first_stage
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done / length)))
    return min(1.0, (done + 1) / options.warm_up) * max(0.02, cosine)


@dataclass(frozen=True)
class Batches:
    """Which rows each step trains on: a function of the seed and the step alone.

    A pass takes every row that states a measure, and of the others only the share `keep_silent`, another one each
    time: they are many and there is little in them to learn. Rows of like length come together, so that little is
    computed on padding.
    """

    lengths: npt.NDArray[np.int64]
    measured: npt.NDArray[np.bool_]
    size: int
    seed: int
    keep_silent: float

    def rows(self, step: int) -> list[int]:
        """Return the rows of batch `step`."""
        speaking, silent = np.flatnonzero(self.measured), np.flatnonzero(~self.measured)
        kept = math.ceil(self.keep_silent * len(silent)) if len(speaking) else len(silent)
        count = len(speaking) + kept
        size = min(self.size, count)
        per_pass = count // size
        rng = np.random.default_rng([self.seed, step // per_pass])
        order = rng.permutation(np.concatenate([speaking, rng.permutation(silent)[:kept]]))[: per_pass * size]
        span = size * _BATCHES_SORTED_TOGETHER
        batches: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(order), span):
            part = order[start : start + span]
            batches += list(part[np.argsort(self.lengths[part], kind="stable")].reshape(-1, size))
        return [int(row) for row in batches[rng.permutation(per_pass)[step % per_pass]]]


@torch.no_grad()
def evaluate(
    model: LlavaForConditionalGeneration,
    examples: Sequence[Example],
    features: npt.NDArray[np.float16],
    batch_size: int = 64,
) -> float:
    """Return the mean cross-entropy per answer token."""
    model.eval()
    total, words = 0.0, 0
    pad = model.config.get_text_config().pad_token_id
    for start in range(0, len(examples), batch_size):
        part = examples[start : start + batch_size]
        images = torch.from_numpy(features[[example.image for example in part]]).float()
        count = sum(len(example.target) for example in part)
        total += float(language_loss(model, language_batch(part, pad), images)) * count
        words += count
    return total / max(1, words)
