"""Device rules: which rectangles of which objects are blacked out, read from TOML and from the command line.

A rule file holds tables ``[[rule]]`` of conditions, all of which must hold, and of ``regions``::

    [[rule]]
    Manufacturer = "acme"            # part of the value, in any case
    ImageType = "DERIVED"            # one of its values
    Rows = 512
    regions = ["0,0,512,40", "-120,-20,120,20"]   # x, y, width, height; negative x and y count from the far edge
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.dicom.deid.charset import decode_text
from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.plans import CHARSET
from petct_cli.dicom.deid.selection import sop_class_of

if TYPE_CHECKING:
    from petct_cli.dicom.deid.pixels import PixelFormat, Words

_REGION = re.compile(r"\s*(-?\d{1,5})\s*,\s*(-?\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", re.ASCII)
_LOOKS_LIKE_REGION = re.compile(r"[-+\d\s.,]*,[-+\d\s.,]*")


@dataclass(frozen=True)
class Region:
    """A rectangle in pixels: `x` and `y` of its first column and row, negative ones from the right and the bottom."""

    x: int
    y: int
    width: int
    height: int

    def within(self, rows: int, columns: int) -> tuple[slice, slice] | None:
        """Return the rows and columns it covers of an image, or None when it lies wholly outside."""
        left = self.x + columns if self.x < 0 else self.x
        top = self.y + rows if self.y < 0 else self.y
        right, bottom = min(left + self.width, columns), min(top + self.height, rows)
        left, top = max(left, 0), max(top, 0)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


@dataclass(frozen=True)
class Rule:
    """Conditions (attribute keyword, folded value or number), all of which must hold, and what is blacked out then."""

    conditions: tuple[tuple[str, str | int], ...]
    regions: tuple[Region, ...]

    def matches(self, dicom: DicomBytes) -> bool:
        """Say whether the rule is meant for this object."""
        return all(_holds(dicom, keyword, wanted) for keyword, wanted in self.conditions)


@dataclass(frozen=True)
class Redaction:
    """The rules in force, in order, and the hash of what they say."""

    rules: tuple[Rule, ...] = ()
    sha256: str = ""

    def rules_for(self, dicom: DicomBytes, reason: str) -> list[tuple[int, Rule]]:
        """Return the rules (and their numbers, from 1) that let out an object quarantined for `reason`; or none."""
        table = _table()["redactable"]
        if reason not in table["reasons"] or sop_class_of(dicom) in table["never"]:
            return []
        return [(number, rule) for number, rule in enumerate(self.rules, start=1) if rule.matches(dicom)]


def read_rules(arguments: Sequence[str]) -> Redaction:
    """Return the rules of ``--redact`` arguments: rectangles (a rule without conditions) or rule files.

    Raises
    ------
    UsageError
        ``bad_region``, ``bad_rule``, ``redact_file``: each names the rule by number and the key.
    """
    rules: list[Rule] = []
    said: list[str] = []
    for argument in arguments:
        if _LOOKS_LIKE_REGION.fullmatch(argument):
            rules.append(Rule((), (_region(argument, "--redact"),)))
            said.append(repr(rules[-1]))
            continue
        try:
            data = Path(argument).read_bytes()
        except OSError as error:
            raise UsageError(
                "redact_file",
                f"--redact: cannot read the rule file: {error.strerror}",
                "give a TOML file of rules, or a rectangle as x,y,width,height",
            ) from None
        rules += _rules_of(data)
        said.append(sha256_bytes(data))
    return Redaction(tuple(rules), sha256_bytes("\n".join(said).encode()) if rules else "")


def blackened(words: Words, form: PixelFormat, rules: Sequence[tuple[int, Rule]]) -> Words:
    """Return words with the regions of `rules` at the lowest displayable value, in all frames and samples.

    Bits beyond Bits Stored go in the whole image: old files keep overlays there.

    Raises
    ------
    RecordError
        ``redaction_outside``: a rectangle lies wholly outside of the image it is meant for.
    """
    import numpy as np

    from petct_cli.dicom.deid.pixels import without_unused_bits

    black = np.array(_black(form), form.dtype)
    new = without_unused_bits(words, form).copy()
    for number, rule in rules:
        for region in rule.regions:
            place = region.within(form.rows, form.columns)
            if place is None:
                raise RecordError(
                    "redaction_outside",
                    f"rule {number} of --redact: a region lies outside of an image of {form.columns} x {form.rows}",
                    "give the rule Rows and Columns, or correct the rectangle",
                )
            new[:, place[0], place[1], :] = black
    return new


def _black(form: PixelFormat) -> list[int]:
    """Return the words of black: the highest value where low ones are bright, grey chroma in YBR."""
    low, high = form.limits
    if form.photometric == "MONOCHROME1":
        return [form.word(high)]
    if form.photometric == "YBR_FULL":
        middle = form.word(1 << (form.stored - 1))
        return [form.word(low), middle, middle]
    return [form.word(low)] * form.samples


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return tomllib.loads((files("petct_cli.dicom") / "data" / "redaction.toml").read_text(encoding="utf-8"))


def _holds(dicom: DicomBytes, keyword: str, wanted: str | int) -> bool:
    condition: Mapping[str, str] = _table()["conditions"][keyword]
    tag = int(condition["tag"], 16)
    if condition["match"] == "number":
        raw = dicom.value(tag) or b""
        return len(raw) >= 2 and int.from_bytes(raw[:2], "little" if dicom.syntax.little else "big") == wanted
    text = decode_text((dicom.value(tag) or b"").rstrip(b" \0"), dicom.value(CHARSET) or b"")
    value = _folded(sop_class_of(dicom) if keyword == "SOPClassUID" else text)
    if condition["match"] == "contains":
        return str(wanted) in value
    if condition["match"] == "values":
        return str(wanted) in [part.strip() for part in value.split("\\")]
    return str(wanted) == value


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip(" \0").casefold()


def _rules_of(data: bytes) -> list[Rule]:
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        _refuse("the rule file is not TOML in UTF-8")
    if set(document) - {"rule"}:
        _refuse("the rule file may hold [[rule]] tables only")
    tables = document.get("rule")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        _refuse("the rule file holds no [[rule]]")
    return [_rule(table, f"rule {number}") for number, table in enumerate(tables, start=1)]


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    known = _table()["conditions"]
    unknown = sorted(set(table) - set(known) - {"regions"})
    if unknown:
        _refuse(f"{where}: unknown key {unknown[0]!r}; a rule has regions and may have {', '.join(known)}")
    regions = table.get("regions")
    if not isinstance(regions, list) or not regions or not all(isinstance(region, str) for region in regions):
        _refuse(f'{where}: regions must be a list of "x,y,width,height"')
    conditions: list[tuple[str, str | int]] = []
    for keyword in known:
        if keyword not in table:
            continue
        wanted = table[keyword]
        kind = int if known[keyword]["match"] == "number" else str
        if type(wanted) is not kind or not wanted:
            _refuse(f"{where}: {keyword} must be a {'number' if kind is int else 'text'}")
        conditions.append((keyword, wanted if isinstance(wanted, int) else _folded(wanted)))
    return Rule(tuple(conditions), tuple(_region(region, where) for region in regions))


def _region(text: str, where: str) -> Region:
    match = _REGION.fullmatch(text)
    if match is None:
        raise UsageError("bad_region", f"{where}: a region is x,y,width,height in whole pixels, such as 0,0,512,40")
    region = Region(*(int(group) for group in match.groups()))
    if not region.width or not region.height:
        raise UsageError("bad_region", f"{where}: a region must be at least one pixel wide and high")
    return region


def _refuse(message: str) -> NoReturn:
    raise UsageError("bad_rule", f"--redact: {message}")
