"""A model folder: what recipe made it, and a hash that says which one it is. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import InputError
from petct_cli.core.hashing import sha256_file, sha256_json

CARD_FILE = "petct_model.json"
METRICS_FILE = "metrics.json"
SCHEMA = 1


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says of itself.

    Attributes
    ----------
    recipe
        ``saliency`` or ``pet-threshold``.
    max_new_tokens
        Longest answer to write.
    schema
        Of the folder; a later petct may write a later one.
    """

    recipe: str
    max_new_tokens: int = 256
    schema: int = SCHEMA


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
        if os.path.isfile(folder / CARD_FILE):
            return folder
    raise InputError("no_model", f"{path}: no trained model here", "give the -o folder of petct train")


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises
    ------
    InputError
        ``bad_model``; ``model_newer`` when a later petct made it.
    """
    try:
        fields: dict[str, Any] = orjson.loads((folder / CARD_FILE).read_bytes())
        card = ModelCard(str(fields["recipe"]), int(fields["max_new_tokens"]), int(fields.get("schema", 1)))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError("bad_model", f"{folder}: {CARD_FILE} cannot be read") from None
    if card.schema > SCHEMA:
        raise InputError("model_newer", f"{folder}: made by a later petct (schema {card.schema})", "update petct")
    if card.max_new_tokens < 1:
        raise InputError("bad_model", f"{folder}: {CARD_FILE} allows no answer")
    return card


def hash_model(folder: Path) -> str:
    """Return a hash of all files of the model, by name and content; receipts (dot files) are left out.

    Raises
    ------
    InputError
        ``bad_model`` when a file cannot be read.
    """
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sha256_json([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])
    except OSError as error:
        raise InputError("bad_model", f"{folder}: the model cannot be read: {error.strerror}") from None
