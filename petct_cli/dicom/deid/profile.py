"""The rules in force: PS3.15 Table E.1-1 read as data, with the options of a preset."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from petct_cli.core.errors import UsageError

_STRENGTH = {"1": "D", "2": "Z", "3": "X"}
_NAMED_TAG_LENGTH = 8


@dataclass(frozen=True)
class Row:
    """One row of the table: the Basic Profile's action and what each option makes of it (K or C)."""

    tag: int
    name: str
    basic: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class SafePrivate:
    """Private elements that stay: `content` says what a value must be (number), or how it is treated (date)."""

    creator: str
    manufacturer: str
    group: int
    elements: frozenset[int]
    content: str


@dataclass(frozen=True)
class Choice:
    """A preset and the options it comes to with what was switched on and off (`choose`)."""

    preset: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """Actions by tag under the options chosen.

    Attributes
    ----------
    options
        The options in force, in the order of CID 7050.
    top, nested
        Action letter (D, Z, X, K, C, U) by tag, at the top level and inside sequences.
    """

    name: str
    edition: str
    options: tuple[str, ...]
    top: Mapping[int, str]
    nested: Mapping[int, str]
    safe_private: tuple[SafePrivate, ...]
    class_uids: frozenset[int]
    technical_text: frozenset[int]
    kept_bulk: frozenset[int]
    implementation_uid: str
    rules: Mapping[str, Any] = field(repr=False)

    def has(self, option: str) -> bool:
        """Say whether `option` is in force."""
        return option in self.options

    @property
    def keeps_suv(self) -> bool:
        """Whether dates and body weight stay, without which SUV cannot be computed."""
        dates = self.has("retain_modified_dates") or self.has("retain_full_dates")
        return dates and self.has("retain_patient_characteristics")

    def codes(self, *, clean_pixels: bool) -> list[tuple[str, str]]:
        """Return (code, meaning) of CID 7050 for what was done; pixels are claimed clean only when they are."""
        known: Mapping[str, Mapping[str, str]] = self.rules["options"]
        claimed = [known[name] for name in self.options if clean_pixels or name != "clean_pixel_data"]
        return [
            ("113100", "Basic Application Confidentiality Profile"),
            *((item["code"], item["meaning"]) for item in claimed),
        ]

    def tags(self, section: str, name: str) -> frozenset[int]:
        """Return a list of tags from the rule file."""
        return frozenset(int(tag, 16) for tag in self.rules[section][name])


@lru_cache(maxsize=1)
def load_rules() -> dict[str, Any]:
    """Return ``deid.toml``."""
    return tomllib.loads((files("petct_cli.dicom") / "data" / "deid.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def load_table() -> tuple[Row, ...]:
    """Return the rows of Table E.1-1 that name one attribute; groups 50xx, 60xx and odd ones are rules of their own."""
    rows: dict[int, Row] = {}
    for name in _TABLES:
        text = (files("petct_cli.dicom") / "data" / name).read_text(encoding="utf-8")
        for line in csv.DictReader(text.splitlines()):
            tag, title, basic = line.pop("tag"), line.pop("name"), line.pop("basic")
            if len(tag) == _NAMED_TAG_LENGTH and "X" not in tag:
                row = Row(int(tag, 16), title, basic, {key: value for key, value in line.items() if value})
                rows.setdefault(row.tag, row)
    return tuple(rows[tag] for tag in sorted(rows))


_TABLES = ("confidentiality_profile.csv", "confidentiality_profile_newer.csv")


def presets() -> list[str]:
    """Return the names of the presets."""
    return list(load_rules()["presets"])


def option_helps() -> dict[str, str]:
    """Return every option of PS3.15 E.3 that can be switched, with what it does in a line."""
    return {name: str(option["help"]) for name, option in load_rules()["options"].items()}


def choose(preset: str = "tcia", switches: Mapping[str, bool | None] | None = None) -> Choice:
    """Return the options in force: those of `preset`, and each that `switches` turns on (True) or off (False).

    An option that is switched on ends those of the preset that it excludes (full and modified dates).

    Raises
    ------
    UsageError
        ``unknown_profile``, ``unknown_option``, or ``options_exclude`` when two that exclude each other are asked for.
    """
    rules = load_rules()
    if preset not in rules["presets"]:
        raise UsageError("unknown_profile", f"no profile {preset}: there are {', '.join(rules['presets'])}")
    asked = {name: on for name, on in (switches or {}).items() if on is not None}
    for name in asked.keys() - rules["options"].keys():
        raise UsageError("unknown_option", f"no option {name}: there are {', '.join(rules['options'])}")
    wanted = set(rules["presets"][preset])
    for name, on in asked.items():
        for other in rules["options"][name].get("excludes", ()) if on else ():
            if asked.get(other):
                raise UsageError("options_exclude", f"{_flag(name)} and {_flag(other)} exclude each other")
            wanted.discard(other)
        (wanted.add if on else wanted.discard)(name)
    return Choice(preset, tuple(name for name in rules["options"] if name in wanted))


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


@lru_cache(maxsize=64)
def load_profile(choice: Choice | str = "tcia", sop_class: str = "") -> Profile:
    """Return the rules of a choice (or of a preset as it is) for objects of `sop_class`.

    Compound codes such as X/Z/D follow the attribute's Type in the object's IOD (1 -> D, 2 -> Z, 3 -> X); where the IOD
    is unknown, and inside sequences, the strongest of D, then Z holds.

    Raises
    ------
    UsageError
        ``unknown_profile``.
    """
    if isinstance(choice, str):
        choice = choose(choice)
    rules, chosen = load_rules(), choice.options
    types = _types(rules, sop_class)
    top, nested = {}, {}
    for row in load_table():
        top[row.tag] = _action(row, chosen, types.get(row.tag))
        nested[row.tag] = _action(row, chosen, None)
    return Profile(
        name=choice.preset,
        edition=rules["table"]["edition"],
        options=chosen,
        top=top,
        nested=nested,
        safe_private=_safe_private(rules) if "retain_safe_private" in chosen else (),
        class_uids=frozenset(int(tag, 16) for tag in rules["uids"]["classes"]),
        technical_text=frozenset(int(tag, 16) for tag in rules["technical_text"]["tags"]),
        kept_bulk=frozenset(int(tag, 16) for tag in rules["bulk"]["kept"]),
        implementation_uid=rules["uids"]["implementation"],
        rules=rules,
    )


def _safe_private(rules: Mapping[str, Any]) -> tuple[SafePrivate, ...]:
    return tuple(
        SafePrivate(item["creator"], item["manufacturer"], item["group"], frozenset(item["elements"]), item["content"])
        for item in rules["safe_private"]
    )


def _types(rules: Mapping[str, Any], sop_class: str) -> dict[int, str]:
    iod = rules["types_sop_classes"].get(sop_class)
    if iod is None:
        return {}
    merged = {**rules["types"]["common"], **rules["types"].get(iod, {})}
    return {int(tag, 16): str(attribute_type) for tag, attribute_type in merged.items()}


def _action(row: Row, options: Collection[str], attribute_type: str | None) -> str:
    """Return the action for one attribute: what the options say, else the Basic Profile's."""
    said = {row.options[name] for name in options if name in row.options}
    if said:
        # Where one option keeps a value and another cleans it, it is cleaned.
        return "C" if "C" in said else "K"
    return resolve(row.basic, attribute_type)


def resolve(code: str, attribute_type: str | None) -> str:
    """Return the single action that `code` means for an attribute of `attribute_type` (None: not known).

    ``X/Z/U*`` means sequences of references: the items stay, their UIDs are replaced.
    """
    if "U*" in code:
        return "U"
    choices = code.split("/")
    if len(choices) == 1:
        return code
    wanted = _STRENGTH.get(attribute_type or "", "D")
    for action in (wanted, "D", "Z", "X"):
        if action in choices:
            return action
    return choices[0]
