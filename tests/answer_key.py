"""An answer key for de-identified DICOM, after the MIDI-B challenge: ten kinds of actions, checked with plain pydicom.

A key is a list of actions made while identifiers are planted. It knows nothing of petct's tables: what is expected
comes from PS3.15 Annex E and from the practice of the TCIA.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DATE = re.compile(r"(\d{4})(\d{2})?(\d{2})?(.*)", re.DOTALL)
_EARLIEST, _LATEST = -3650, -30


class Kind(StrEnum):
    """What must have become of an element or of an object."""

    TAG_RETAINED = "tag_retained"
    TEXT_NOTNULL = "text_notnull"
    TEXT_RETAINED = "text_retained"
    TEXT_REMOVED = "text_removed"
    DATE_SHIFTED = "date_shifted"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_HIDDEN = "pixels_hidden"
    PIXELS_RETAINED = "pixels_retained"


@dataclass(frozen=True)
class Private:
    """A private element by its creator: the block that it stands in may change."""

    group: int
    creator: str
    element: int


Path_ = tuple[int | Private, ...]
"""Tags and numbers of items in turn: ``(0x00400275, 0, 0x00400007)``; group 0002 is File Meta."""


@dataclass(frozen=True)
class Action:
    """One thing to check.

    Attributes
    ----------
    file
        InstanceNumber of the planted object, unique in its corpus.
    patient
        Whose object it is: what day offset and pseudonym go by.
    value
        What was planted; for pixels the hash of `pixel_digest`.
    presets
        Under which profiles this is expected.
    """

    file: int
    patient: str
    kind: Kind
    path: Path_ = ()
    value: str = ""
    presets: frozenset[str] = frozenset({"tcia", "basic"})

    def __str__(self) -> str:
        steps = [str(s) if isinstance(s, Private) else f"{s:08X}" if s > 0xFFFF else f"[{s}]" for s in self.path]
        return f"{self.kind} of object {self.file} at {'.'.join(steps) or 'object'}: {self.value!r}"


@dataclass
class Score:
    """How many actions of each kind hold, and a line for each that does not."""

    passed: Counter[Kind] = field(default_factory=Counter)
    total: Counter[Kind] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of all actions that hold, 0..1."""
        return sum(self.passed.values()) / max(1, sum(self.total.values()))

    def __str__(self) -> str:
        lines = [f"{kind:18} {self.passed[kind]:6} of {self.total[kind]:6}" for kind in Kind]
        return "\n".join([*lines, f"{'all':18} {self.share:.4%}", *self.failures])


def read(path: Path) -> Dataset:
    """Read a file as anyone would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def pixel_digest(dataset: Dataset) -> str:
    """Return a hash of the raw pixel bytes, nothing for objects without pixels."""
    raw = b"".join(bytes(dataset[keyword].value or b"") for keyword in PIXEL_KEYWORDS if keyword in dataset)
    return sha256(raw).hexdigest() if raw else ""


def folded(text: str) -> str:
    """Return text without case, marks and differences of composition."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return plain.replace("đ", "d")


def text_of(element: DataElement) -> str:
    """Return a value as text, several values with a backslash between, items of sequences one after the other."""
    value = element.value
    if value is None:
        return ""
    if element.VR == "SQ":
        return "\n".join(text_of(inner) for item in value for inner in item)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip(" \0")
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return str(value)


def element_at(dataset: Dataset, path: Path_) -> DataElement | None:
    """Return the element that `path` leads to, None when it is not there."""
    level: Dataset = dataset
    found: DataElement | None = None
    for step in path:
        if found is not None and isinstance(step, int) and step <= 0xFFFF:
            if found.VR != "SQ" or len(found.value) <= step:
                return None
            level, found = found.value[step], None
            continue
        if isinstance(step, Private):
            try:
                found = level.private_block(step.group, step.creator)[step.element]
            except KeyError:
                return None
            continue
        here = level.file_meta if step >> 16 == 2 else level
        if step not in here:
            return None
        found = here[step]
    return found


@dataclass
class _Objects:
    """Output objects by the InstanceNumber that they were planted with."""

    by_number: dict[int, Dataset]
    digests: set[str]

    @classmethod
    def below(cls, folder: Path) -> _Objects:
        found: dict[int, Dataset] = {}
        for path in sorted(folder.rglob("*.dcm")):
            dataset = read(path)
            number = int(dataset.get("InstanceNumber") or -1)
            assert number not in found, "two outputs of one object"
            found[number] = dataset
        return cls(found, {pixel_digest(dataset) for dataset in found.values()})


class Checker:
    """Marks one output folder by a key."""

    def __init__(self, actions: Iterable[Action], preset: str, out: Path) -> None:
        self.actions = [action for action in actions if preset in action.presets]
        self.objects = _Objects.below(out)
        self.score = Score()
        self._uids: dict[str, set[str]] = defaultdict(set)
        self._sources: dict[str, set[str]] = defaultdict(set)
        self._patients: dict[str, set[str]] = defaultdict(set)
        self._owners: dict[str, set[str]] = defaultdict(set)
        self._days: dict[str, int] = {}

    def run(self) -> Score:
        """Check all actions: first what agrees across objects is gathered, then each is marked."""
        for action in self.actions:
            self._gather(action)
        for action in self.actions:
            self.score.total[action.kind] += 1
            said = self._fault(action)
            if said is None:
                self.score.passed[action.kind] += 1
            else:
                self.score.failures.append(f"{action}: {said}")
        return self.score

    def _text(self, action: Action) -> str | None:
        dataset = self.objects.by_number.get(action.file)
        element = element_at(dataset, action.path) if dataset is not None else None
        return text_of(element) if element is not None else None

    def _gather(self, action: Action) -> None:
        text = self._text(action)
        if text is None:
            return
        if action.kind is Kind.UID_CONSISTENT:
            self._uids[action.value].add(text)
            self._sources[text].add(action.value)
        elif action.kind is Kind.PATID_CONSISTENT:
            self._patients[action.patient].add(text)
            self._owners[text].add(action.patient)
        elif action.kind is Kind.DATE_SHIFTED and action.path == (0x00080020,):
            old, new = _day(action.value), _day(text)
            if old is not None and new is not None:
                self._days.setdefault(action.patient, (new - old).days)

    def _fault(self, action: Action) -> str | None:
        if action.kind is Kind.PIXELS_HIDDEN:
            shown = action.file in self.objects.by_number or (action.value and action.value in self.objects.digests)
            return "the object was written" if shown else None
        dataset = self.objects.by_number.get(action.file)
        if dataset is None:
            return "the object was not written"
        if action.kind is Kind.PIXELS_RETAINED:
            return None if pixel_digest(dataset) == action.value else "other pixels"
        element = element_at(dataset, action.path)
        if action.kind is Kind.TEXT_REMOVED:
            left = element is not None and folded(action.value) in folded(text_of(element))
            return "it is still there" if left else None
        if element is None:
            return "the element is gone"
        return _CHECKS[action.kind](self, action, text_of(element))

    def retained(self, action: Action, text: str) -> str | None:
        return None if action.value in text else f"{text!r}"

    def notnull(self, action: Action, text: str) -> str | None:
        return None if text.strip() else "the value is empty"

    def shifted(self, action: Action, text: str) -> str | None:
        days = self._days.get(action.patient)
        if days is None or not _EARLIEST <= days <= _LATEST:
            return f"a shift of {days} days"
        wanted = "\\".join(_moved(part, days) for part in action.value.split("\\"))
        return None if text.strip() == wanted else f"{text!r} is not {wanted!r}"

    def changed(self, action: Action, text: str) -> str | None:
        uids = text.split("\\")
        if any(not UID(uid).is_valid or len(uid) > 64 for uid in uids):
            return f"{text!r} is no UID"
        return "the same UID" if set(uids) & set(action.value.split("\\")) else None

    def same_uid(self, action: Action, text: str) -> str | None:
        if len(self._uids[action.value]) > 1 or len(self._sources[text]) > 1:
            return "one UID became two, or two one"
        return None

    def same_patient(self, action: Action, text: str) -> str | None:
        if text == action.value or not text:
            return f"{text!r}"
        if len(self._patients[action.patient]) > 1 or len(self._owners[text]) > 1:
            return "one patient became two, or two one"
        return None


_CHECKS: dict[Kind, Callable[[Checker, Action, str], str | None]] = {
    Kind.TAG_RETAINED: lambda checker, action, text: None,
    Kind.TEXT_NOTNULL: Checker.notnull,
    Kind.TEXT_RETAINED: Checker.retained,
    Kind.DATE_SHIFTED: Checker.shifted,
    Kind.UID_CHANGED: Checker.changed,
    Kind.UID_CONSISTENT: Checker.same_uid,
    Kind.PATID_CONSISTENT: Checker.same_patient,
}


def _day(text: str) -> date | None:
    match = _DATE.match(text)
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        return None


def _moved(text: str, days: int) -> str:
    """Return a DA or DT moved by whole days, its precision and time of day as they were."""
    match, day = _DATE.match(text), _day(text)
    assert match is not None
    assert day is not None
    moved = f"{day + timedelta(days=days):%Y%m%d}"
    return moved[: 4 if match[2] is None else 6 if match[3] is None else 8] + match[4]


def check(actions: Sequence[Action], preset: str, out: Path) -> Score:
    """Mark the output folder `out` of a run under `preset`."""
    return Checker(actions, preset, out).run()
