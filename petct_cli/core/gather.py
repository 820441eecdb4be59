"""What stands between a stage and its output, in the process that writes: it may keep records back until the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from petct_cli.core.records import Record


class Gather(Protocol):
    """Takes records out of a stream and gives others, at once or after the last one."""

    def take(self, record: Record, /) -> Iterable[Record]:
        """Return what goes on in the place of `record`, now."""
        ...

    def rest(self) -> Iterable[Record]:
        """Return what follows after the last record."""
        ...

    def notes(self) -> Iterable[str]:
        """Return what a person should know after that."""
        ...


class Chain:
    """Several of them one after the other: what one gives, the next takes."""

    def __init__(self, gathers: Sequence[Gather]) -> None:
        self._gathers = gathers

    def take(self, record: Record) -> Iterator[Record]:
        """Pass `record` through all."""
        return self._through(record, self._gathers)

    def rest(self) -> Iterator[Record]:
        """Yield what each kept back, passed through those after it."""
        for number, gather in enumerate(self._gathers, start=1):
            for record in gather.rest():
                yield from self._through(record, self._gathers[number:])

    def notes(self) -> Iterator[str]:
        """Yield the notes of all."""
        for gather in self._gathers:
            yield from gather.notes()

    def _through(self, record: Record, gathers: Sequence[Gather]) -> Iterator[Record]:
        if not gathers:
            yield record
            return
        for given in gathers[0].take(record):
            yield from self._through(given, gathers[1:])
