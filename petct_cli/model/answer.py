"""Greedy answers of a trained model, the same for any batch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from petct_cli.core.errors import InputError
from petct_cli.core.records import Sample
from petct_cli.model.folder import ModelCard, read_card
from petct_cli.model.inputs import prompt_messages
from petct_cli.model.processor import PetctProcessor
from petct_cli.model.tower import load_llava
from petct_cli.model.training import THREADS


class Answerer(Protocol):
    """What every recipe's model can do: look at one sample's images, then answer many at once."""

    def look(self, sample: Sample) -> Any:
        """Return what is seen in the images of `sample`; raise `RecordError` when they cannot be read."""
        ...

    def answer(self, samples: Sequence[Sample], seen: Sequence[Any]) -> list[str]:
        """Return one answer per sample."""
        ...


class SaliencyAnswerer:
    """The embedded model, loaded from its folder."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        torch.set_num_threads(THREADS)
        self._card = card
        self._processor = PetctProcessor.from_pretrained(folder)
        self._model = load_llava(folder)

    def look(self, sample: Sample) -> npt.NDArray[np.float16]:
        """Return the features of the images and check the prompt.

        Raises
        ------
        RecordError
            The images cannot be read, or there is nothing to answer.
        """
        self._processor.prompt_ids(prompt_messages(sample))
        return self._processor.extractor(sample)

    @torch.inference_mode()
    def answer(self, samples: Sequence[Sample], seen: Sequence[npt.NDArray[np.float16]]) -> list[str]:
        """Return greedy answers; prompts are padded on the left, so that neighbours change nothing."""
        prompts = [self._processor.prompt_ids(prompt_messages(sample)) for sample in samples]
        longest = max(map(len, prompts))
        pad = int(self._model.config.get_text_config().pad_token_id)
        ids = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        written = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=torch.from_numpy(np.stack(seen)).float(),
            max_new_tokens=self._card.max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        return [self._processor.decode(row.tolist()) for row in written[:, longest:]]


def load_answerer(folder: Path) -> Answerer:
    """Load the model in `folder`, whatever recipe made it.

    Raises
    ------
    InputError
        ``bad_model``: damaged, or made by a recipe that this petct does not know.
    """
    card = read_card(folder)
    try:
        if card.recipe == "saliency":
            return SaliencyAnswerer(folder, card)
        if card.recipe == "pet-threshold":
            from petct_cli.model.threshold import ThresholdAnswerer

            return ThresholdAnswerer.load(folder)
    except InputError:
        raise
    except Exception as error:  # the libraries under it have exceptions of their own for each kind of damage
        raise InputError("bad_model", f"{folder}: the model cannot be loaded: {type(error).__name__}") from None
    raise InputError("bad_model", f"{folder}: made by an unknown recipe, {card.recipe}")
