"""What stands between a sample and the model: features of its images, tokens of its prompt. Saved with the model."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.records import Message, Sample
from petct_cli.model.describe import DESCRIPTION_VERSION, describe_spots
from petct_cli.model.inputs import RegionVolume, load_region, region_name
from petct_cli.model.saliency import (
    RegionCalibration,
    find_frame,
    find_spots,
    pack_calibrations,
    unpack_calibrations,
)
from petct_cli.model.targets import ClauseTokens, FactWeights, clause_tokens
from petct_cli.model.tokenizer import BOS, EOS, IMAGE, LONGEST, PAD

CONFIG_FILE = "petct_processor.json"
CALIBRATION_FILE = "calibration.npz"
_MOST = 1e4


@dataclass(frozen=True)
class SaliencySettings:
    """How images become tokens.

    Attributes
    ----------
    tokens
        Spots per region.
    floor_suv
        Spots of lower SUVmax are not considered.
    """

    tokens: int = 24
    floor_suv: float = 1.0


@dataclass(frozen=True)
class FeatureExtractor:
    """Voxels to rows of numbers; has no parameters but the calibration. Picklable."""

    regions: Mapping[str, RegionCalibration]
    settings: SaliencySettings

    def describe(self, volume: RegionVolume, region: str) -> npt.NDArray[np.float16]:
        """Return ``(tokens, features)``; half precision, so that cached and fresh features are equal.

        Raises
        ------
        RecordError
            ``unknown_region`` when the model never learned what is usual there.
        """
        calibration = self.regions.get(region)
        if calibration is None:
            raise RecordError("unknown_region", f"the model was not trained on region {region}")
        frame = find_frame(volume)
        spots = find_spots(volume, frame, calibration, self.settings.tokens, self.settings.floor_suv)
        described = describe_spots(volume, frame, spots, region, self.settings.tokens)
        # Usual rows stay far below; absurd voxels must not become infinity in half precision.
        return np.clip(described, -_MOST, _MOST).astype(np.float16)

    def __call__(self, sample: Sample) -> npt.NDArray[np.float16]:
        """Read the images of `sample` and describe them."""
        return self.describe(load_region(sample), region_name(sample))


@dataclass(frozen=True)
class Target:
    """An answer to learn.

    Attributes
    ----------
    ids, weights
        Its tokens with the end token, and how much each counts.
    clauses
        The words and numbers of each of its measured clauses.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    clauses: tuple[ClauseTokens, ...]


@dataclass(frozen=True)
class PetctProcessor:
    """Features of the images and tokens of the text."""

    extractor: FeatureExtractor
    tokenizer: PreTrainedTokenizerBase

    @property
    def image_id(self) -> int:
        """Token id of one image token."""
        return int(self.tokenizer.convert_tokens_to_ids(IMAGE))

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the turns; a pair of CT and PET becomes one run of image tokens.

        Raises
        ------
        RecordError
            ``no_image`` when no turn shows the images, ``prompt_too_long``.
        """
        shown = False
        turns: list[dict[str, Any]] = []
        for message in messages:
            parts: list[dict[str, Any]] = []
            for part in message.content:
                if part.get("type") == "image":
                    if not shown:
                        parts.append({"type": "image"})
                    shown = True
                else:
                    parts.append({"type": "text", "text": _without_special_tokens(str(part.get("text", "")))})
            turns.append({"role": message.role, "content": parts})
        if not shown:
            raise RecordError("no_image", "no turn of the sample shows an image")
        text = self.tokenizer.apply_chat_template(turns, tokenize=False)
        text = str(text).replace(IMAGE, IMAGE * self.extractor.settings.tokens)
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if len(ids) > LONGEST:
            raise RecordError("prompt_too_long", f"the turns have {len(ids)} tokens; the model reads {LONGEST}")
        return ids

    def target(self, text: str, weighting: FactWeights) -> Target:
        """Return an answer as the language model shall learn it.

        Raises
        ------
        RecordError
            ``text_too_long``.
        """
        text = _without_special_tokens(text)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
        if len(ids) > LONGEST:
            raise RecordError("text_too_long", f"the text has {len(ids)} tokens; the model writes {LONGEST}")
        return Target(
            (*ids, int(self.tokenizer.convert_tokens_to_ids(EOS))),
            (*weighting.of(text, offsets), 1.0),
            clause_tokens(text, offsets, ids),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer, settings and calibration into `folder`."""
        self.tokenizer.save_pretrained(str(folder))
        config = {"description_version": DESCRIPTION_VERSION, "saliency": asdict(self.extractor.settings)}
        (folder / CONFIG_FILE).write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))
        (folder / CALIBRATION_FILE).write_bytes(npz_bytes(pack_calibrations(self.extractor.regions)))

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Read what `save_pretrained` wrote.

        Raises
        ------
        InputError
            ``bad_model`` when it was made by another version of the features.
        """
        config = orjson.loads((folder / CONFIG_FILE).read_bytes())
        if config["description_version"] != DESCRIPTION_VERSION:
            raise InputError("bad_model", f"{folder}: made for another version of the image features", "train it again")
        with np.load(folder / CALIBRATION_FILE) as packed:
            regions = unpack_calibrations(dict(packed))
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return cls(FeatureExtractor(regions, SaliencySettings(**config["saliency"])), tokenizer)


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return `arrays` as an uncompressed .npz; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    # numpy stamps 1980-01-01 on the members, so nothing of today gets in.
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def _without_special_tokens(text: str) -> str:
    for token in (PAD, BOS, EOS, IMAGE):
        text = text.replace(token, token.replace("<", "< "))
    return text
