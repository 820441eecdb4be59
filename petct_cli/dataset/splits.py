"""Which patients a model learns from and which it is judged on. By patient, always."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Split, Study

SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""In the order of how much they are held out: what was held out is never learned from."""


def parse_shares(text: str) -> tuple[int, tuple[float, float, float]]:
    """Read ``SEED[:A/B/C]``, both of which may be empty (0, 80/10/10).

    Raises
    ------
    ValueError
        For anything else.
    """
    seed, _, shares = text.partition(":")
    parts = [float(share) for share in (shares or "80/10/10").split("/")]
    if len(parts) != len(SPLITS) or not all(0 <= part < math.inf for part in parts) or not any(parts):
        raise ValueError(text)
    return int(seed or "0"), (parts[0], parts[1], parts[2])


@dataclass(frozen=True)
class SplitRule:
    """How a patient comes to a split.

    Parameters
    ----------
    seed
        Another seed is another split.
    shares
        Of train, val and test; a share of everything puts all patients into one split.
    """

    seed: int = 0
    shares: tuple[float, float, float] = (80.0, 10.0, 10.0)

    @classmethod
    def parse(cls, text: str) -> SplitRule:
        """Read ``random:SEED``, ``random:SEED:A/B/C`` or the name of one split for all patients.

        Raises
        ------
        UsageError
            ``bad_split`` for anything else.
        """
        if text in SPLITS:
            train, val, test = (100.0 if text == name else 0.0 for name in SPLITS)
            return cls(0, (train, val, test))
        kind, _, rest = text.partition(":")
        try:
            if kind != "random":
                raise ValueError
            return cls(*parse_shares(rest))
        except ValueError:
            raise UsageError(
                "bad_split",
                "--split takes random:SEED[:80/10/10], time, file:PATH, stratified:FIELD[:SEED], or one of train, val, "
                "test",
            ) from None

    @property
    def for_workers(self) -> Self:
        """The rule as it travels with each record to be worked on: without what placing alone needs."""
        return self

    @property
    def needs_all(self) -> bool:
        """Whether all studies must be seen before the first has its split."""
        return False

    @property
    def is_one(self) -> bool:
        """Whether all patients come to one split."""
        return sum(share > 0 for share in self.shares) == 1

    def split_of(self, patient: str) -> Split:
        """Return the split of `patient`: a hash, so neither order nor number of patients matters."""
        digest = hashlib.sha256(f"{self.seed}:{patient}".encode()).digest()
        position = int.from_bytes(digest[:8]) / 2**64 * sum(self.shares)
        possible = [(name, share) for name, share in zip(SPLITS, self.shares, strict=True) if share]
        for name, share in possible:
            if position < share:
                return name
            position -= share
        return possible[-1][0]

    def own(self, study: Study) -> Split:
        """Return the split of a study by itself."""
        return self.split_of(study.patient or study.id)

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"seed": self.seed, "shares": list(self.shares)}


def allot(strata: Sequence[str], sizes: Sequence[int], order: Sequence[bytes], rule: SplitRule) -> list[Split]:
    """Divide units (patients that belong together) so that each stratum has its shares.

    Units are taken stratum by stratum, at random within one, and each comes to the split that is furthest below its
    share by then: a stratum is off by no more than a unit or two.

    Parameters
    ----------
    strata, sizes
        Stratum and number of patients of each unit.
    order
        A hash of each unit, the same in any order of the input.

    Returns
    -------
    list of Split
        Of each unit.
    """

    def place(unit: int) -> tuple[str, bytes]:
        return strata[unit], hashlib.sha256(f"{rule.seed}:".encode() + order[unit]).digest()

    total = sum(rule.shares)
    have, seen = [0.0] * len(SPLITS), 0
    found: list[Split] = [SPLITS[0]] * len(sizes)
    for unit in sorted(range(len(sizes)), key=place):
        seen += sizes[unit]
        lacks = [rule.shares[i] / total * seen - have[i] if rule.shares[i] else -math.inf for i in range(len(SPLITS))]
        best = max(range(len(SPLITS)), key=lambda i: lacks[i])
        have[best] += sizes[unit]
        found[unit] = SPLITS[best]
    return found
