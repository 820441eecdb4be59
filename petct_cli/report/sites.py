"""The lesion sites that petct names (``data/sites.toml``), and finding them in text.

sites = load_sites()
sites["lung"].section            # "chest"
find_sites("Nốt mờ phổi phải")   # ("lung",)
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from petct_cli.report.normalise import fold


@dataclass(frozen=True)
class Site:
    """One lesion site.

    Attributes
    ----------
    key
        Name in records, such as ``lung``.
    section
        Report section that speaks of it.
    region
        Axial third in which it lies: head_neck, chest or abdomen_pelvis.
    lateral
        Whether it has a left and a right.
    vi
        Preferred Vietnamese term.
    aliases
        Other wordings of the same site.
    """

    key: str
    section: str
    region: str
    lateral: bool
    vi: str
    aliases: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """All wordings, the preferred one first."""
        return (self.vi, *self.aliases)


@cache
def load_sites() -> Mapping[str, Site]:
    """Return the sites by key, in the order of the table (head to foot, then skeleton)."""
    table = tomllib.loads(files("petct_cli.report").joinpath("data/sites.toml").read_text("utf-8"))
    return MappingProxyType(
        {key: Site(key=key, **{**entry, "aliases": tuple(entry.get("aliases", ()))}) for key, entry in table.items()}
    )


def site_names(side_aware: bool = True) -> tuple[tuple[str, str | None], ...]:
    """Return every (site, side) that a lesion can have; without `side_aware` every side is None."""
    pairs: list[tuple[str, str | None]] = []
    for site in load_sites().values():
        sides: tuple[str | None, ...] = ("left", "right") if site.lateral and side_aware else (None,)
        pairs += [(site.key, side) for side in sides]
    return tuple(pairs)


@cache
def _pattern() -> tuple[re.Pattern[str], Mapping[str, str]]:
    by_term = {fold(term): site.key for site in load_sites().values() for term in site.terms}
    longest_first = sorted(by_term, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b"), by_term


def find_sites(text: str) -> tuple[str, ...]:
    """Return the keys of the sites that `text` names by one of their terms, in order of appearance, each once.

    This is a plain look-up of terms; `petct_cli.report.lesions.extract_lesions` says what is found there.
    """
    pattern, by_term = _pattern()
    return tuple(dict.fromkeys(by_term[match.group()] for match in pattern.finditer(fold(text))))


def sides_of(site: str, side: str | None) -> tuple[str | None, ...]:
    """Return the sides that a stated side means at `site`: both for bilateral, None where the site has no side."""
    known = load_sites().get(site)
    if known is not None and not known.lateral:
        return (None,)
    return ("left", "right") if side == "bilateral" else (side,)


_SIDES_VI = {"left": "trái", "right": "phải", "bilateral": "hai bên"}


def site_words(site: str | None, side: str | None) -> str:
    """Return the Vietnamese name of a site with its side; an organ that is no site by its key."""
    known = load_sites().get(site or "")
    name = known.vi if known else (site or "?").replace("_", " ")
    return " ".join(part for part in (name, _SIDES_VI.get(side or "", "")) if part)


def lesion_words(site: str | None, side: str | None, size_mm: float | None, suv_max: float | None) -> str:
    """Return a lesion in a few words."""
    size = f", {size_mm:g} mm" if size_mm is not None else ""
    uptake = f", SUVmax {suv_max:g}" if suv_max is not None else ""
    return f"{site_words(site, side)}{size}{uptake}"
