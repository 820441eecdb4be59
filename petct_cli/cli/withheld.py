"""What ``anonymize`` says of its input: never a value of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from petct_cli.cli.sources import BadLine, Item
from petct_cli.core.jsonl import BadLineError


def without_values(item: Item) -> Item:
    """Say of a bad line only what cannot quote it: names of its fields may be the patient's."""
    if not isinstance(item, BadLine) or item.fault.code in ("not_json", "schema_newer"):
        return item
    message = "the line is no record that petct can read"
    return BadLine(item.place, BadLineError(item.fault.code, message, item.fault.record))


def with_face_warning(items: Iterable[Item], *, deface: bool) -> Iterator[Item]:
    """Say once, when there is something to de-identify, what stays recognisable."""
    for number, item in enumerate(items):
        if number == 0 and not deface:
            logging.getLogger(__name__).warning(
                "faces stay in the CT; the records say face: present (--deface takes them out)"
            )
        yield item
