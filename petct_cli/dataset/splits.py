"""Which patients a model learns from and which it is judged on. By patient, always."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Split

SPLITS: tuple[Split, ...] = ("train", "val", "test")


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
        seed, _, shares = rest.partition(":")
        try:
            if kind != "random":
                raise ValueError
            parts = [float(share) for share in (shares or "80/10/10").split("/")]
            if len(parts) != len(SPLITS) or not all(0 <= part < math.inf for part in parts) or not any(parts):
                raise ValueError
            return cls(int(seed or "0"), (parts[0], parts[1], parts[2]))
        except ValueError:
            raise UsageError(
                "bad_split", "--split takes random:SEED, random:SEED:80/10/10, or one of train, val, test"
            ) from None

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

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"seed": self.seed, "shares": list(self.shares)}
