"""``crosswalk``: the sealed re-identification table, opened by who holds the key file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from petct_cli.core.records import Crosswalk, Record
from petct_cli.dicom.deid.crosswalk import unseal
from petct_cli.dicom.deid.pseudonyms import Key


@dataclass(frozen=True)
class OpenCrosswalk:
    """Open one line per record.

    Parameters
    ----------
    key
        The key that the studies were de-identified with.
    """

    key: Key

    name: ClassVar[str] = "crosswalk"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (Crosswalk,)

    def __call__(self, line: Crosswalk) -> Iterable[Record]:
        """Return the line with its values open; raise `RecordError` when it does not open."""
        return [unseal(self.key, line)]
