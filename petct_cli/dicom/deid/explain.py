"""The actions in force, said in words: what ``petct anonymize --explain`` prints and ``petct-deid(7)`` documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from petct_cli.dicom.deid.plans import CHARSET, plan_for
from petct_cli.dicom.deid.profile import Choice, Profile, load_profile, load_table, presets
from petct_cli.dicom.deid.vrs import vr_of

# Where an attribute stands: compound codes depend on the IOD, and inside sequences the strongest action holds.
_PLACES = (("CT", "1.2.840.10008.5.1.4.1.1.2", True), ("PET", "1.2.840.10008.5.1.4.1.1.128", True), ("else", "", False))

WORDS = {
    "keep": "kept",
    "number": "kept if it is a number or time",
    "technical": "kept (cleaned of the study's own values)",
    "drop": "removed",
    "recurse": "kept, its items by these rules",
    "uid": "UID replaced",
    "full_date": "kept if it is a date",
    "date": "moved by the patient's days",
    "age": "kept, 90 and over as 090Y",
    "empty": "emptied",
    "dummy": "replaced by a dummy",
    "patient": "replaced by the pseudonym",
    "clean": "cleaned",
}


@dataclass(frozen=True)
class Rule:
    """What becomes of one attribute that the table names: `actions` holds a key of `WORDS` for CT, PET and else."""

    tag: int
    name: str
    code: str
    actions: tuple[str, ...]

    @property
    def words(self) -> str:
        """The action in words, by place where it is not the same everywhere."""
        if self.tag >> 16 == _FILE_META_GROUP:
            return "written anew"
        if len(set(self.actions)) == 1:
            return WORDS[self.actions[0]]
        said = zip((place for place, _, _ in _PLACES), self.actions, strict=True)
        return "; ".join(f"{place}: {WORDS[action]}" for place, action in said)


def rules_in_force(choice: Choice | str) -> list[Rule]:
    """Return a rule for every attribute that Table E.1-1 names, in the order of tags."""
    profiles = [(load_profile(choice, sop_class), top) for _, sop_class, top in _PLACES]
    return [
        Rule(
            row.tag,
            row.name,
            row.basic,
            tuple(plan_for(row.tag, vr_of(row.tag), profile, top=top) for profile, top in profiles),
        )
        for row in load_table()
    ]


def rules_by_vr(choice: Choice | str) -> dict[str, str]:
    """Return what becomes of attributes that no row names, by VR (``PN``, ``LO`` ...)."""
    from pydicom.datadict import DicomDictionary

    profile = load_profile(choice)
    special = profile.class_uids | profile.technical_text | profile.kept_bulk | profile.top.keys() | {CHARSET}
    examples: dict[str, int] = {}
    for tag, (vr, *_) in sorted(DicomDictionary.items()):
        if _FIRST_GROUP <= tag >> 16 <= _LAST_GROUP and tag not in special and len(vr) == len("PN"):
            examples.setdefault(vr, tag)
    return {vr: WORDS[plan_for(tag, vr.encode(), profile, top=True)] for vr, tag in sorted(examples.items())}


_FILE_META_GROUP = 0x0002
# The groups of the information model; below and above lie commands, directories, delimiters.
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0x4FFF


def explain(choice: Choice | str) -> Iterator[str]:
    """Yield the lines of a full account of the actions in force."""
    profile = load_profile(choice)
    yield f"Profile {profile.name}: DICOM PS3.15 Annex E, Table E.1-1 edition {profile.edition}"
    yield ""
    yield from _options(profile)
    yield ""
    yield "Attributes that the table names (tag, code in the table, name: action)"
    for rule in rules_in_force(choice):
        yield f"  ({rule.tag >> 16:04X},{rule.tag & 0xFFFF:04X})  {rule.code:<6} {rule.name}: {rule.words}"
    yield ""
    yield "Attributes that no row names, by VR"
    for vr, words in rules_by_vr(choice).items():
        yield f"  {vr}  {words}"
    yield ""
    yield "Everything else"
    for line in _elsewhere(profile):
        yield f"  {line}"


def manual() -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of ``petct-deid(7)``: heading and lines, attributes grouped by what the presets do to them."""
    edition = load_profile("tcia").edition
    yield (
        "DESCRIPTION",
        [
            "What petct anonymize does to each attribute under its presets: DICOM PS3.15 Annex E, Table E.1-1",
            f"(edition {edition}), with the options of E.3 that the preset turns on. petct anonymize --explain says",
            "the same for any set of switches.",
        ],
    )
    for preset in presets():
        yield f"OPTIONS OF {preset.upper()}", list(_options(load_profile(preset)))[1:]
    by_words: dict[tuple[str, ...], list[Rule]] = {}
    for row in zip(*(rules_in_force(preset) for preset in presets()), strict=True):
        by_words.setdefault(tuple(rule.words for rule in row), []).append(row[0])
    lines: list[str] = []
    for words, rules in by_words.items():
        said = zip(presets(), words, strict=True)
        lines += [f"{preset}: {word}" for preset, word in said]
        lines += [f"    ({rule.tag >> 16:04X},{rule.tag & 0xFFFF:04X})  {rule.name}" for rule in rules]
        lines.append("")
    yield "ATTRIBUTES THAT THE TABLE NAMES", lines
    by_vr = [rules_by_vr(preset) for preset in presets()]
    yield (
        "ATTRIBUTES THAT NO ROW NAMES",
        [
            f"{vr}  " + "; ".join(f"{p}: {said[vr]}" for p, said in zip(presets(), by_vr, strict=True))
            for vr in by_vr[0]
        ],
    )
    yield "EVERYTHING ELSE, UNDER TCIA", list(_elsewhere(load_profile("tcia")))


def _options(profile: Profile) -> Iterator[str]:
    yield "Options (PS3.15 E.3, code of CID 7050)"
    for name, option in profile.rules["options"].items():
        state = "on " if profile.has(name) else "off"
        yield f"  {state} {option['code']} {name}"


def _elsewhere(profile: Profile) -> Iterator[str]:
    yield "(0010,0010) (0010,0020)  replaced by the pseudonym at every depth; another person's by another pseudonym"
    yield "descriptions, comments   cleaned: labels, titles, names, numbers, addresses, dates, the study's own values"
    yield "terms, device settings   kept (cleaned of the study's own values): " + _tags(profile.technical_text)
    yield "UIDs of classes          kept: " + _tags(profile.class_uids)
    yield "bulk data no row names   removed, but for " + _tags(profile.kept_bulk)
    yield "unknown even groups      text cleaned, everything else removed"
    yield "private elements         removed" + (", but for" if profile.safe_private else "")
    for rule in profile.safe_private:
        elements = " ".join(f"({rule.group:04X},xx{element:02X})" for element in sorted(rule.elements))
        yield f"                         {rule.creator}: {elements}, {_CONTENT[rule.content]}"
    yield "overlays, curves         " + (
        "overlays that outline regions and numeric curves kept, their texts cleaned; others removed"
        if profile.has("clean_graphics")
        else "removed whole"
    )
    yield "preamble, group lengths  zeroed; removed"
    yield "File Meta Information    written anew: class, UID, syntax, petct's own implementation; nothing else"
    yield "sequences                by the same rules at every depth; one not readable to its last byte is removed"
    yield "pixel data               bit for bit; bytes beside the pixels are searched; icons are removed"
    yield "written                  (0012,0062) (0012,0063) (0012,0064) (0028,0303), (0028,0301) NO with code 113101"
    yield "SUV                      computed before and after for each PET series; a difference fails the study"
    yield "afterwards               every value written is searched for the study's own; a hit fails the study"
    yield "set aside, never written below -o:"
    for reason, what in profile.rules["quarantine"]["reasons"].items():
        if reason != "structured_report" or not profile.has("clean_structured_content"):
            yield f"  {reason:<26} {what}"


_CONTENT = {"number": "numbers", "date": "moved like other dates"}


def _tags(tags: frozenset[int]) -> str:
    return " ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in sorted(tags))
