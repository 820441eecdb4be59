"""The radionuclides that PET headers name, from ``data/nuclides.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Nuclide:
    """One radionuclide; `half_life_s` only where it may stand in for a missing header value."""

    name: str
    is_positron_emitter: bool
    half_life_s: float | None
    codes: frozenset[str]
    names: frozenset[str]


_SYMBOL = re.compile(r"(?<![a-z0-9])(?:(\d{1,3}m?)[-^ ]*([a-z]{1,2})|([a-z]{1,2})[-^ ]*(\d{1,3}m?))(?![a-z0-9])")
"""A symbol with its mass number, in either order, within a name: ``18F-FDG``, ``[68Ga]DOTATATE``, ``Ga68-PSMA``."""


@cache
def _table() -> tuple[Nuclide, ...]:
    raw = tomllib.loads((files("petct_cli.volume") / "data" / "nuclides.toml").read_text("utf-8"))
    return tuple(
        Nuclide(name, kind == "positron", row.get("half_life_s"), frozenset(row["codes"]), frozenset(row["names"]))
        for kind in ("positron", "single_photon")
        for name, row in raw[kind].items()
    )


def find_nuclide(code: str | None, *descriptions: str | None) -> Nuclide | None:
    """Return the nuclide that a code value names, else the first that one of `descriptions` names.

    Examples
    --------
    >>> find_nuclide("C-111A1").name
    'F-18'
    >>> find_nuclide("unknown", "^68^Gallium").name
    'Ga-68'
    >>> find_nuclide(None, "Ga68-PSMA").name
    'Ga-68'
    """
    for nuclide in _table():
        if code in nuclide.codes:
            return nuclide
    for description in filter(None, (code, *descriptions)):
        words = {re.sub(r"[^a-z0-9]", "", word) for word in re.split(r"[\s_/]+|--", description.lower())}
        words.add(re.sub(r"[^a-z0-9]", "", description.lower()))
        words |= {"".join(found.groups("")) for found in _SYMBOL.finditer(description.lower())}
        for nuclide in _table():
            if words & nuclide.names:
                return nuclide
    return None
