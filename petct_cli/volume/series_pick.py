"""Naming a series by hand: the values of ``--ct-series`` and ``--pet-series``.

A pick is one of ``uid:SERIES_INSTANCE_UID``, ``number:SERIES_NUMBER`` and ``description:REGEX`` (searched for in Series
Description, upper and lower case alike). It must name exactly one series of its modality. Messages tell how many it
names and never what their descriptions say, because these may hold names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from petct_cli.core.errors import RecordError, UsageError

_KINDS = ("uid", "number", "description")


class Pickable(Protocol):
    """What a pick can look at."""

    @property
    def uid(self) -> str:
        """Series Instance UID (0020,000E)."""

    @property
    def number(self) -> int | None:
        """Series Number (0020,0011)."""

    @property
    def description(self) -> str:
        """Series Description (0008,103E), empty when there is none."""


One = TypeVar("One", bound=Pickable)


@dataclass(frozen=True)
class SeriesPick:
    """One pick: `kind` (``uid``, ``number`` or ``description``) and the value to find."""

    kind: str
    value: str

    @classmethod
    def parse(cls, text: str, option: str = "--pet-series") -> SeriesPick:
        """Read ``uid:...``, ``number:...`` or ``description:...``.

        Raises
        ------
        UsageError
            ``bad_series_pick``.

        Examples
        --------
        >>> SeriesPick.parse("number:4")
        SeriesPick(kind='number', value='4')
        """
        kind, _, value = text.partition(":")
        good = kind in _KINDS and value != ""
        if good and kind == "number":
            good = re.fullmatch(r"[+-]?\d+", value, re.ASCII) is not None
        if good and kind == "uid":
            good = re.fullmatch(r"[0-9.]+", value) is not None
        if good and kind == "description":
            try:
                re.compile(value)
            except re.error:
                good = False
        if not good:
            raise UsageError(
                "bad_series_pick", f"{option} takes uid:UID, number:N or description:REGEX, such as number:4"
            )
        return cls(kind, value)

    def names(self, one: Pickable) -> bool:
        """Say whether the pick names a series."""
        if self.kind == "uid":
            return one.uid == self.value
        if self.kind == "number":
            return one.number is not None and one.number == int(self.value)
        return re.search(self.value, one.description, re.IGNORECASE) is not None

    def only(self, series: Sequence[One], what: str) -> One:
        """Return the one series among those of a modality that the pick names.

        Parameters
        ----------
        what
            ``CT`` or ``PET``.

        Raises
        ------
        RecordError
            ``series_pick_none``, ``series_pick_several``.
        """
        named = [one for one in series if self.names(one)]
        option = f"--{what.lower()}-series"
        if not named:
            raise RecordError(
                "series_pick_none", f"{option} names none of the {len(series)} {what} series of the study"
            )
        if len(named) > 1:
            raise RecordError(
                "series_pick_several",
                f"{option} names {len(named)} of the {len(series)} {what} series of the study",
                "name one by uid:",
            )
        return named[0]
