"""How much an error weighs: rules in a TOML file (``data/severity.toml``, or the user's own)."""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from petct_cli.core.errors import UsageError
from petct_cli.metrics.clinical_lesions import ClinicalLesion

ERRORS = ("omitted", "hallucinated", "place", "side", "type", "fdg", "size", "suv", "unsaid")
UNSTATED = "unstated"


@dataclass(frozen=True)
class SeverityRule:
    """The weight of an error on lesions of these types, uptakes and organs; an empty condition is none."""

    error: str
    weight: float
    kind: tuple[str, ...] = ()
    fdg: tuple[str, ...] = ()
    organ: tuple[str, ...] = ()

    def fits(self, error: str, lesion: ClinicalLesion) -> bool:
        """Whether the rule is about this error on this lesion."""
        return (
            error == self.error
            and (not self.kind or (lesion.kind or UNSTATED) in self.kind)
            and (not self.fdg or (lesion.fdg or UNSTATED) in self.fdg)
            and (
                not self.organ
                or bool(lesion.organs & set(self.organ))
                or (UNSTATED in self.organ and not lesion.organs)
            )
        )


@dataclass(frozen=True)
class Severity:
    """All rules; the first that fits counts.

    Attributes
    ----------
    name
        What the file calls itself.
    digest
        The first 12 hex digits of its SHA-256: with the name, part of the signature.
    """

    name: str
    digest: str
    rules: tuple[SeverityRule, ...]

    def weight(self, error: str, lesion: ClinicalLesion) -> float:
        """Return the weight of `error` on `lesion`."""
        return next(rule.weight for rule in self.rules if rule.fits(error, lesion))


def read_severity(content: bytes) -> Severity:
    """Read rules.

    Raises
    ------
    UsageError
        ``bad_severity``: not TOML, an unknown error or condition, a weight that is no number from 0, or an error
        without a rule for all its lesions.
    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise UsageError("bad_severity", "the severity file is not TOML in UTF-8") from None
    given = table.get("rule")
    if not isinstance(given, list):
        raise UsageError("bad_severity", "the severity file has no [[rule]]")
    rules = tuple(_rule(one, number) for number, one in enumerate(given, 1))
    lacking = [
        error
        for error in ERRORS
        if not any(rule.error == error and not (rule.kind or rule.fdg or rule.organ) for rule in rules)
    ]
    if lacking:
        raise UsageError("bad_severity", f"no rule without conditions for: {', '.join(lacking)}")
    name = table.get("name")
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Severity(name if isinstance(name, str) else "unnamed", digest, rules)


def _rule(given: Any, number: int) -> SeverityRule:
    where = f"rule {number} of the severity file"
    if not isinstance(given, dict) or not set(given) <= {"error", "weight", "kind", "fdg", "organ"}:
        raise UsageError("bad_severity", f"{where} may have error, weight, kind, fdg, organ")
    error, weight = given.get("error"), given.get("weight")
    if error not in ERRORS:
        raise UsageError("bad_severity", f"{where}: error is one of {', '.join(ERRORS)}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight < 0:
        raise UsageError("bad_severity", f"{where}: weight is a number from 0")
    conditions = {name: given.get(name, []) for name in ("kind", "fdg", "organ")}
    for name, values in conditions.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UsageError("bad_severity", f"{where}: {name} is a list of names")
    return SeverityRule(str(error), float(weight), **{name: tuple(values) for name, values in conditions.items()})


@cache
def default_severity() -> Severity:
    """Return petct's own rules."""
    return read_severity(files("petct_cli.metrics").joinpath("data/severity.toml").read_bytes())
