"""JSON reports as hospitals write them: a key may stand twice, and both of its values are the report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

_KEY = re.compile(r'"\s*:')


def read_json(text: str) -> Any:
    """Return the value of JSON; of a key that stands twice in an object the second is ``key (2)``, and so on.

    Parsers keep the last value of such a key without a word (RFC 8259, 4, leaves it open). An equal one says nothing
    new, and is left out.

    Raises
    ------
    ValueError
        It is no JSON.

    >>> read_json('{"Mô tả": "Gan to.", "Mô tả": "Lách to.", "Tuổi": 7, "Tuổi": 7}')
    {'Mô tả': 'Gan to.', 'Mô tả (2)': 'Lách to.', 'Tuổi': 7}
    """
    value = orjson.loads(text)
    # As many as there are signs of keys: none stands twice. There may be more signs: within text.
    if _keys(value) == len(_KEY.findall(text)):
        return value
    try:
        return json.loads(text, object_pairs_hook=_with_all)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _keys(value: Any) -> int:
    found, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found += len(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _with_all(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        name, number = key, 1
        while name in found and found[name] != value:
            number += 1
            name = f"{key} ({number})"
        found[name] = value
    return found
