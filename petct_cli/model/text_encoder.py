"""Vectors of the tokens of a text, from a BERT-like language model that is already on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from petct_cli.core.errors import UsageError

if TYPE_CHECKING:
    import torch

FETCH = "hf://"
"""In front of a name: fetch it from the Hugging Face hub. Without it, nothing is ever fetched."""

_BATCH = 16
_POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "camembert"})
_NO_LIMIT = 1_000_000


class TextEncoder:
    """Texts to the hidden states of one layer.

    Parameters
    ----------
    model, tokenizer
        Of transformers; the tokenizer puts one token in front of a text and one behind it.
    layer
        Whose output is taken, 1 to the number of layers; 0 for the embeddings.
    name
        What the signature calls the model.

    A text of more tokens than the model reads at once goes through in windows that overlap by half; each token's vector
    is of the window in which it stands farthest from the edge.
    """

    def __init__(self, model: Any, tokenizer: Any, layer: int, name: str) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._layer = layer
        self._name = name
        config = model.config
        positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
        positions -= config.pad_token_id + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0
        self._room = min(positions, tokenizer.model_max_length, _NO_LIMIT) - 2
        ends = tokenizer("")["input_ids"]
        if len(ends) != 2:
            raise UsageError("bad_text_encoder", f"{name}: its tokenizer does not put one token on each side of a text")
        self._front, self._back = ends
        self.signature = f"model:{name}|weights:{_weights_hash(model)}|layer:{layer}|window:{self._room + 2}"

    def __call__(self, texts: Sequence[str]) -> list[tuple[NDArray[np.float32], int]]:
        """Return for each text its vectors, shape (1 + tokens + 1, width), and the number of windows."""
        bodies = [self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
        starts = [window_starts(len(body), self._room) for body in bodies]
        windows = [
            [self._front, *body[start : start + self._room], self._back]
            for body, firsts in zip(bodies, starts, strict=True)
            for start in firsts
        ]
        # Of like length together, so that little is padding.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index]))
        states: dict[int, NDArray[np.float32]] = {}
        for begin in range(0, len(order), _BATCH):
            chosen = order[begin : begin + _BATCH]
            states |= zip(chosen, self._states([windows[index] for index in chosen]), strict=True)
        found = []
        first = 0
        for firsts in starts:
            found.append((joined([states[first + n] for n in range(len(firsts))], firsts), len(firsts)))
            first += len(firsts)
        return found

    def _states(self, windows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        import torch

        longest = max(map(len, windows))
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[*window, *[pad] * (longest - len(window))] for window in windows])
        mask = torch.tensor([[1] * len(window) + [0] * (longest - len(window)) for window in windows])
        with torch.inference_mode():
            output = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        states: torch.Tensor = output.hidden_states[self._layer]
        return [state[: len(window)].float().numpy() for state, window in zip(states, windows, strict=True)]


def window_starts(tokens: int, room: int) -> list[int]:
    """Return where windows of `room` tokens begin so that they cover `tokens`, overlapping by half at least."""
    if tokens <= room:
        return [0]
    return [*range(0, tokens - room, max(1, room // 2)), tokens - room]


def joined(states: Sequence[NDArray[np.float32]], starts: Sequence[int]) -> NDArray[np.float32]:
    """Return the vectors of a text from those of its windows, shape (1 + tokens + 1, width) each.

    Where two windows overlap, the first half of the overlap is taken from the first of them.
    """
    parts = [states[0][:1]]
    done = 0
    for index, (state, start) in enumerate(zip(states, starts, strict=True)):
        end = start + len(state) - 2
        cut = (starts[index + 1] + end) // 2 if index + 1 < len(starts) else end
        parts.append(state[1 + done - start : 1 + cut - start])
        done = cut
    return np.concatenate([*parts, states[-1][-1:]])


def _weights_hash(model: Any) -> str:
    """Return the start of the SHA-256 of the weights: a name may be given to other ones."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def load_text_encoder(source: str, layer: int) -> TextEncoder:
    """Load a text encoder.

    Parameters
    ----------
    source
        A folder, the name of a model in the local cache of the Hugging Face hub, or ``hf://NAME`` to fetch it.
    layer
        As for `TextEncoder`.

    Raises
    ------
    UsageError
        ``no_text_encoder`` when there is none, ``bad_layer`` when it has no such layer.
    """
    from transformers import AutoModel, AutoTokenizer, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    name = source.removeprefix(FETCH)
    local = not source.startswith(FETCH)
    try:
        # Code that comes with a model is not run, and nobody is asked whether it may.
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local, trust_remote_code=False)
        model = AutoModel.from_pretrained(name, local_files_only=local, trust_remote_code=False, dtype="float32")
    except (OSError, ValueError, ImportError, KeyError):
        place, hint = "on the hub", None
        if local:
            place, hint = "on this machine", f"give its folder, or {FETCH}{name} to fetch it from the Hugging Face hub"
        raise UsageError("no_text_encoder", f"--bert-model: no text encoder {name} {place}", hint) from None
    layers = model.config.num_hidden_layers
    if not 0 <= layer <= layers:
        raise UsageError("bad_layer", f"--layer: the model has layers 0 to {layers}")
    shown = Path(name).resolve().name if Path(name).is_dir() else name
    return TextEncoder(model, tokenizer, layer, shown)
