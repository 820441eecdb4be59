"""The options that every command understands alike, as one frozen value."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

from petct_cli.core.errors import UsageError


@dataclass(frozen=True)
class MaxFailures:
    """How many of a stage's own records may fail before the exit code says so: a number or a percentage."""

    number: float = 0
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> MaxFailures:
        """Read ``N`` or ``P%``."""
        try:
            number = float(text.removesuffix("%")) if text.endswith("%") else int(text)
        except ValueError:
            number = -1
        if not 0 <= number < math.inf:
            raise UsageError("bad_option", "--max-failures takes a number or a percentage, such as 3 or 1%")
        return cls(number, text.endswith("%"))

    def exceeded(self, failed: int, total: int) -> bool:
        """Say whether `failed` of `total` is too many."""
        limit = total * self.number / 100 if self.percent else self.number
        return failed > limit


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`, by a hash of the record's id that is the same everywhere."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``."""
        left, _, right = text.partition("/")
        if not (left.isdigit() and right.isdigit() and 1 <= int(left) <= int(right)):
            raise UsageError("bad_option", "--shard takes I/N with 1 <= I <= N, such as 2/8")
        return cls(int(left), int(right))

    def holds(self, identity: str) -> bool:
        """Say whether the record with this id belongs to this part."""
        return zlib.crc32(identity.encode()) % self.count == self.index - 1


@dataclass(frozen=True)
class Shared:
    """What the user asked of any command."""

    jobs: int = 1
    executor: str | None = None
    shard: Shard | None = None
    seed: int = 0
    max_failures: MaxFailures = MaxFailures()
    fail_fast: bool = False
    quiet: bool = False
    json_logs: Path | None = None
    lock: Path | None = None
    dry_run: bool = False
