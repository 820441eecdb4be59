"""Vietnamese wording of places and numbers, and the choice among phrases by a hash of the sample's id."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from petct_cli.report.sites import load_sites


@cache
def load_table(name: str) -> dict[str, Any]:
    """Return the table ``data/NAME.toml``."""
    return tomllib.loads(files("petct_cli.dataset").joinpath(f"data/{name}.toml").read_text("utf-8"))


def draw(*key: object) -> int:
    """Return 64 bits that depend on `key` alone: the same on every machine, in every order."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()[:8])


def pick(phrases: Sequence[str], *key: object) -> str:
    """Return one of `phrases`, by `draw` of `key`."""
    return phrases[draw(*key) % len(phrases)]


def sentence(text: str) -> str:
    """Return `text` with its first letter capitalised."""
    return text[:1].upper() + text[1:]


def place_name(site: str, side: str | None) -> str:
    """Return a place as reports call it: ``phổi phải``."""
    name = load_sites()[site].vi
    return f"{name} {load_table('questions_vi')['sides'][side]}" if side else name


def region_phrase(region: str) -> str:
    """Return a region as reports call it."""
    regions: dict[str, str] = load_table("questions_vi")["regions"]
    return regions.get(region, regions["unknown"])


def listed(names: Sequence[str]) -> str:
    """Return ``a, b và c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} và {names[-1]}"


def millimetres(value: float) -> str:
    """Return a size as a number of millimetres, with a decimal comma where it needs one."""
    return f"{value:.1f}".removesuffix(".0").replace(".", ",")


def suv(value: float) -> str:
    """Return an SUVmax with one decimal and a decimal comma."""
    return f"{value:.1f}".replace(".", ",")
