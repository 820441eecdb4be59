"""A model folder: what recipe made it, and a hash that says which one it is. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError
from petct_cli.core.hashing import sha256_file, sha256_json

CARD_FILE = "petct_model.json"
METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says of itself.

    Attributes
    ----------
    recipe
        ``saliency`` or ``pet-threshold``.
    max_new_tokens
        Longest answer to write.
    """

    recipe: str
    max_new_tokens: int = 256


def write_card(folder: Path, card: ModelCard, metrics: dict[str, float]) -> None:
    """Write the card and the metrics of a model into its folder."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    (folder / CARD_FILE).write_bytes(orjson.dumps(card, option=option))
    (folder / METRICS_FILE).write_bytes(orjson.dumps(metrics, option=option))


def find_model(path: Path) -> Path:
    """Return the model folder at `path`: itself, or the ``model`` inside a ``train -o`` folder.

    Raises
    ------
    InputError
        ``no_model`` when there is none.
    """
    for folder in (path, path / "model"):
        if (folder / CARD_FILE).is_file():
            return folder
    raise InputError("no_model", f"{path}: no trained model here", "give the -o folder of petct train")


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises
    ------
    InputError
        ``bad_model``.
    """
    try:
        fields: dict[str, Any] = orjson.loads((folder / CARD_FILE).read_bytes())
        return ModelCard(str(fields["recipe"]), int(fields["max_new_tokens"]))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError("bad_model", f"{folder}: {CARD_FILE} cannot be read") from None


def hash_model(folder: Path) -> str:
    """Return a hash of all files of the model, by name and content; receipts (dot files) are left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sha256_json([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])
