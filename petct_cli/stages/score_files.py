"""The files of ``score``: several of them are several systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Record
from petct_cli.stages.score_input import Fields, InputCheck, values_of

ItemT = TypeVar("ItemT")


def _file_names(files: Sequence[str]) -> list[str | None]:
    """Return a name of its own for the system in each of `files`: its stem, after folders that tell alike ones apart.

    Raises
    ------
    UsageError
        ``same_file`` when a file is named twice: its samples would count twice.
    """
    if len({file if file == "-" else os.path.realpath(file) for file in files}) < len(files):
        raise UsageError("same_file", "the same file is named twice")
    parts = [_parts(file) for file in files]
    # No more of a path than is needed: names go into records and logs.
    depths = [
        next((n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts) == 1), len(own))
        for own in parts
    ]
    return [str(Path(*own[-depth:])) for own, depth in zip(parts, depths, strict=True)]


def _parts(file: str) -> tuple[str, ...]:
    path = Path(os.path.abspath(file))
    return ("-",) if file == "-" else (*path.parent.parts, path.stem)


def _named(records: Iterable[ItemT], system: str | None) -> Iterator[ItemT]:
    """Pass `records` on, with `system` as the system of those that do not say theirs."""
    for record in records:
        if system is not None and isinstance(record, Record) and not values_of(record).get("system"):
            yield record.with_fields(system=system)
        else:
            yield record


def read_systems(
    files: Sequence[str], system: str | None, fields: Fields, read: Callable[..., Iterator[ItemT]]
) -> Iterator[ItemT]:
    """Return the records of `files`, each of which is a system where they are several and `system` names none.

    Parameters
    ----------
    read
        Reads one file (`petct_cli.cli.sources.read_records`); files that are not there are told before any is read.
    """
    files = files or ["-"]
    names = _file_names(files) if system is None and len(files) > 1 else [system] * len(files)
    check = InputCheck(fields)
    return chain.from_iterable(
        [_named(read([file], check=partial(check, system=name)), name) for file, name in zip(files, names, strict=True)]
    )
