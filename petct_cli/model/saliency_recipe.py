"""The embedded default: PET saliency tokens into a small LLaVA, learned from images and reports alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerBase

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.records import Sample
from petct_cli.model.features import Described, Failure, calibrate, describe_samples
from petct_cli.model.folder import ModelCard, write_card
from petct_cli.model.inputs import prompt_messages, target_text
from petct_cli.model.processor import FeatureExtractor, PetctProcessor, SaliencySettings
from petct_cli.model.targets import FactWeights
from petct_cli.model.tokenizer import BOS, EOS, PAD, train_tokenizer
from petct_cli.model.tower import build_llava, rust_io_errors, save_llava
from petct_cli.model.training import Example, Trainer, TrainOptions, evaluate

log = logging.getLogger(__name__)

RECIPE = "saliency"
DEFAULT_STEPS = 2800
PASSES_OF_SMALL_SETS = 60
FIRST_STAGE_SHARE = 0.25
VALIDATION_SAMPLES = 300


@dataclass(frozen=True)
class Recipe:
    """Options of the recipe.

    Attributes
    ----------
    steps
        None: enough for a few thousand samples, fewer for small sets.
    """

    steps: int | None = None
    seed: int = 0
    settings: SaliencySettings = field(default_factory=SaliencySettings)
    weighting: FactWeights = field(default_factory=FactWeights)

    def train_options(self, samples: int) -> TrainOptions:
        """Return the options of the loop for this many training samples."""
        steps = self.steps
        if steps is None:
            batch = min(samples, TrainOptions.batch_size)
            steps = min(DEFAULT_STEPS, max(200, PASSES_OF_SMALL_SETS * samples // max(1, batch)))
        return TrainOptions(steps=steps, first_stage=round(FIRST_STAGE_SHARE * steps), seed=self.seed)


def train_saliency(
    train: Sequence[Sample],
    validation: Sequence[Sample],
    recipe: Recipe,
    folder: Path,
    *,
    cache: Path,
    progress: Path,
    jobs: int,
) -> tuple[dict[str, float], list[tuple[Sample, Failure]]]:
    """Train the model and write it into `folder`.

    Parameters
    ----------
    train, validation
        Samples with reference texts; `validation` may be empty.
    cache, progress
        Folder of features and file of training progress, which outlive a killed run.
    jobs
        Processes that describe images.

    Returns
    -------
    metrics, dropped
        What goes into the model's card, and the samples whose images could not be used.

    Raises
    ------
    InputError
        ``nothing_to_learn`` when no training sample is left.
    """
    regions = calibrate(train, jobs, cache)
    extractor = FeatureExtractor(regions, recipe.settings)
    described = describe_samples([*train, *validation], extractor, jobs, cache)
    tokenizer = train_tokenizer(_texts(train))
    processor = PetctProcessor(extractor, tokenizer)
    learned, dropped = _examples(train, described.row[: len(train)], processor, recipe.weighting)
    held, dropped_too = _examples(validation, described.row[len(train) :], processor, recipe.weighting)
    if not learned:
        raise InputError("nothing_to_learn", "no training sample has images and a text that can be used")
    model = new_model(tokenizer, processor, described, recipe.seed)
    options = recipe.train_options(len(learned))
    loss = Trainer(model, learned, described.features, options, progress).run()
    metrics = {
        "train_samples": float(len(learned)),
        "validation_samples": float(len(held)),
        "dropped_samples": float(len(dropped) + len(dropped_too)),
        "steps": float(options.steps),
        "train_loss": round(loss, 4),
    }
    if held:
        metrics["validation_loss"] = round(evaluate(model, held[:VALIDATION_SAMPLES], described.features), 4)
    longest = max(len(example.target) for example in learned)
    save_llava(model, folder)
    with rust_io_errors():
        processor.save_pretrained(folder)
    write_card(folder, ModelCard(RECIPE, longest + longest // 4 + 8), metrics)
    progress.unlink(missing_ok=True)
    return metrics, [*dropped, *dropped_too]


def new_model(
    tokenizer: PreTrainedTokenizerBase, processor: PetctProcessor, described: Described, seed: int
) -> LlavaForConditionalGeneration:
    """Return an untrained model drawn from `seed`."""
    pad, bos, eos = (int(tokenizer.convert_tokens_to_ids(token)) for token in (PAD, BOS, EOS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_llava(
            vocabulary=len(tokenizer),
            pad_id=pad,
            bos_id=bos,
            eos_id=eos,
            image_id=processor.image_id,
            in_features=described.features.shape[2],
            tokens=described.features.shape[1],
        )


def _texts(samples: Sequence[Sample]) -> list[str]:
    texts = []
    for sample in samples:
        texts.append(sample.reference or "")
        texts += [str(part.get("text", "")) for turn in sample.messages[:-1] for part in turn.content]
    return [text for text in texts if text]


def _examples(
    samples: Sequence[Sample], rows: Sequence[int | Failure], processor: PetctProcessor, weighting: FactWeights
) -> tuple[list[Example], list[tuple[Sample, Failure]]]:
    examples: list[Example] = []
    dropped: list[tuple[Sample, Failure]] = []
    for sample, row in zip(samples, rows, strict=True):
        if isinstance(row, Failure):
            dropped.append((sample, row))
            continue
        try:
            prompt = processor.prompt_ids(prompt_messages(sample))
            text = target_text(sample)
            target = processor.target(text, weighting)
        except RecordError as error:
            dropped.append((sample, Failure(error.code, error.message)))
            continue
        examples.append(Example(row, tuple(prompt), target.ids, target.weights, target.clauses, text))
    return examples, dropped
