"""The vision tower of petct, registered with transformers, so that the vision-language model itself is stock LLaVA."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging as transformers_logging


class PetctVisionConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration of `PetctVisionModel`.

    Parameters
    ----------
    kind
        Which tower: ``saliency`` reads rows that describe unusual spots (`petct_cli.model.describe`).
    in_features
        Length of a row.
    tokens
        Rows, and so image tokens, per region.
    hidden_size, num_hidden_layers, num_attention_heads
        Size of the transformer over the tokens.
    """

    model_type = "petct_vision"

    kind: str = "saliency"
    in_features: int = 1
    tokens: int = 16
    hidden_size: int = 128
    num_hidden_layers: int = 1
    num_attention_heads: int = 4
    initializer_range: float = 0.02


class PetctVisionModel(PreTrainedModel):  # type: ignore[misc]
    """Rows that describe spots, ``(B, tokens, in_features)``, to image tokens ``(B, tokens, hidden_size)``."""

    config: PetctVisionConfig
    config_class = PetctVisionConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    _no_split_modules: ClassVar[list[str]] = ["TransformerEncoderLayer"]

    def __init__(self, config: PetctVisionConfig) -> None:
        super().__init__(config)
        if config.kind != "saliency":
            raise ValueError(f"unknown kind of tower: {config.kind}")
        width = config.hidden_size
        self.embed = nn.Sequential(nn.Linear(config.in_features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.num_attention_heads,
                dim_feedforward=2 * width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # transformers' 0.02 normal makes a tower this narrow useless: torch's own fan-in initialisation is kept.
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Return the tokens as `last_hidden_state` and as the only entry of `hidden_states`, where LLaVA looks."""
        tokens = self.embed(pixel_values.to(self.dtype))
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens, pooler_output=tokens.mean(dim=1), hidden_states=(tokens,)
        )


AutoConfig.register("petct_vision", PetctVisionConfig, exist_ok=True)
AutoModel.register(PetctVisionConfig, PetctVisionModel, exist_ok=True)


def build_llava(
    *,
    vocabulary: int,
    pad_id: int,
    bos_id: int,
    eos_id: int,
    image_id: int,
    in_features: int,
    tokens: int,
    hidden_size: int = 128,
    language_layers: int = 2,
    heads: int = 4,
    longest: int = 2048,
) -> LlavaForConditionalGeneration:
    """Return an untrained stock LLaVA of a saliency tower, LLaVA's projector and a small Llama.

    Weights are drawn from torch's global generator.
    """
    vision = PetctVisionConfig(in_features=in_features, tokens=tokens, hidden_size=hidden_size)
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=language_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=longest,
        pad_token_id=pad_id,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_id,
        image_seq_length=tokens,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        pad_token_id=pad_id,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
    )
    return LlavaForConditionalGeneration(config)


def save_llava(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Write configuration and weights of `model` into `folder`, readable as far as the umask allows.

    Raises
    ------
    OSError
        The disk is full.
    """
    with _quiet(), rust_io_errors():
        model.save_pretrained(str(folder))
    config_mode = (folder / "config.json").stat().st_mode & 0o777
    for weights in folder.glob("*.safetensors"):
        weights.chmod(config_mode)


def load_llava(folder: Path) -> LlavaForConditionalGeneration:
    """Read what `save_llava` wrote, in fp32 and ready to answer.

    Raises
    ------
    ValueError
        Not a model of petct, or weights are missing, which transformers would replace by random ones.
    """
    # Without its configuration transformers would make up the default LLaVA, of 7 billion random weights.
    config = json.loads((folder / "config.json").read_bytes())
    if config["vision_config"]["model_type"] != PetctVisionConfig.model_type or "text_config" not in config:
        raise ValueError("not a model of petct")
    with _quiet():
        model, loading = LlavaForConditionalGeneration.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    # An lm_head tied to the embeddings is not stored and not reported as missing.
    if loading["missing_keys"] or loading.get("mismatched_keys"):
        raise ValueError("weights are missing")
    return model.eval()


@contextmanager
def rust_io_errors() -> Iterator[None]:
    """Turn what safetensors and tokenizers raise on a full disk into the `OSError` it is."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        # "... (os error 28)", or "IoError(Os { code: 28, ...": neither library has the number as an attribute.
        number = re.search(r"os error (\d+)|Os \{ code: (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1] or number[2])
        raise OSError(code, os.strerror(code)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' own progress bars off stderr."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
