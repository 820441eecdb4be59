"""What metrics and controls are called and what they mean, for tables and for ``petct-score(7)``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from textwrap import wrap
from typing import Any

_WIDTH, _INDENT = 71, 4


@cache
def glossary() -> Mapping[str, Mapping[str, Any]]:
    """Return the tables of ``data/glossary.toml``: ``metric``, ``control``, ``preset`` and ``record``."""
    return tomllib.loads(files("petct_cli.metrics").joinpath("data/glossary.toml").read_text("utf-8"))


def name_of(metric: str) -> str:
    """Return what people call a metric."""
    found = glossary()["metric"].get(metric)
    return metric if found is None else str(found["heading"])


def place_of(metric: str) -> int:
    """Return the place of a metric's column; those that nobody knows come last."""
    metrics = glossary()["metric"]
    return list(metrics).index(metric) if metric in metrics else len(metrics)


def over_samples(metric: str) -> bool:
    """Say whether the n of a metric counts samples."""
    return "n" not in glossary()["metric"].get(metric, {})


def manual() -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of ``petct-score(7)``: heading and lines."""
    from petct_cli.metrics.registry import PRESETS

    known = glossary()
    defaults = {name for preset in PRESETS.values() for name in preset.default}
    metrics = {
        f"{name}{' *' if name in defaults else ''}": f"{one['heading']}: {one['means']} (n: {one.get('n', 'samples')})"
        for name, one in known["metric"].items()
    }
    yield "METRICS", [*wrap("Scored when none is named, where the data hold them: *", _WIDTH), "", *_listed(metrics)]
    yield "CONTROLS", _listed(known["control"])
    yield "PRESETS", _listed(known["preset"])
    for kind, fields in known["record"].items():
        yield f"FIELDS OF {kind}", _listed(fields)


def _listed(entries: Mapping[str, str]) -> list[str]:
    indent = " " * _INDENT
    return [
        line
        for name, words in entries.items()
        for line in (name, *wrap(words, _WIDTH, initial_indent=indent, subsequent_indent=indent))
    ]
