"""Where each study of a data set goes: its patient's split, with those whose reports say the same on one side."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.records import Placement, Study
from petct_cli.dataset.duplicates import NEAR, Alike, DuplicateIndex
from petct_cli.dataset.groups import Groups, group_patients
from petct_cli.dataset.split_rules import AnyRule, FileRule, StratifiedRule
from petct_cli.dataset.splits import SPLITS, SplitRule, allot
from petct_cli.report.sections import FINDING_SECTIONS, FINDINGS

Mode = Literal["move", "drop", "flag", "off"]
MODES: tuple[Mode, ...] = ("move", "drop", "flag", "off")
TEMPLATE_PATIENTS = 50
_NONE = -1


@dataclass(frozen=True)
class DuplicateRule:
    """What becomes of patients whose reports say the same.

    Parameters
    ----------
    mode
        ``move``: they come to one split. ``drop``: those are left out whose own split is held out less than that of
        another. ``flag``: all stay and say so. ``off``: nobody looks.
    near
        Least TF-IDF cosine of near duplicates; above 1: exact ones only.
    template
        What more patients than this share is a template, no copy: it joins nobody.
    """

    mode: Mode = "move"
    near: float = NEAR
    template: int = TEMPLATE_PATIENTS

    @classmethod
    def parse(cls, mode: str, near: float, template: int) -> Self:
        """Read ``--duplicates``, ``--near`` and ``--template``.

        Raises
        ------
        UsageError
            ``bad_duplicates``.
        """
        for known in MODES:
            if mode == known:
                if not 0.5 <= near <= 2 or template < 1:
                    break
                return cls(known, near, template)
        raise UsageError(
            "bad_duplicates",
            "--duplicates takes move, drop, flag or off; --near a cosine from 0.5, --template a number of patients",
        )

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"mode": self.mode} if self.mode == "off" else vars(self).copy()


def report_text(sections: Mapping[str, str]) -> str:
    """Return the text by which reports are compared: the findings, of which references are made, or the impression."""
    found = [sections[name] for name in (FINDINGS, *FINDING_SECTIONS) if sections.get(name, "").strip()]
    return "\n".join(found) or sections.get("impression", "")


class Planner:
    """Takes in all studies and says where each goes.

    Some 100 bytes a study stay in memory while studies are added, and their names and words in files of `folder`.

    Parameters
    ----------
    rule
        How patients come to splits.
    duplicates
        What becomes of patients whose reports say the same.
    folder
        An empty private folder.
    """

    def __init__(self, rule: AnyRule, duplicates: DuplicateRule, folder: Path) -> None:
        self.rule, self.duplicates = rule, duplicates
        self._patients = bytearray()
        self._own = array("b")
        self._faults: dict[int, tuple[str, str]] = {}
        self._kinds: dict[tuple[str, str], tuple[str, str]] = {}
        self._strata: dict[str, int] = {}
        self._stratum = array("i")
        self._unseen = set(rule.patients) | set(rule.studies) if isinstance(rule, FileRule) else set()
        self._index = None if duplicates.mode == "off" else DuplicateIndex(folder, duplicates.near)
        self._regions = {name: bytearray() for name in FINDING_SECTIONS}
        self._files = ExitStack()
        self._names = folder / "names"
        self._names_file = self._files.enter_context(self._names.open("wb"))

    def add(self, study: Study, sections: Mapping[str, str]) -> None:
        """Take in the next study and what its report says (nothing when it has none)."""
        patient = study.patient or study.id
        try:
            own = self.rule.own(study)
        except RecordError as error:
            fault = (error.code, str(error))
            self._faults[len(self._own)] = self._kinds.setdefault(fault, fault)
            own = None
        self._own.append(_NONE if own is None else SPLITS.index(own))
        self._patients += blake2b(patient.encode(), digest_size=16).digest()
        if isinstance(self.rule, StratifiedRule):
            value = self.rule.stratum(study)
            self._stratum.append(self._strata.setdefault(value, len(self._strata)))
        self._unseen -= {patient, study.id}
        self._names_file.write(orjson.dumps([study.id, patient]) + b"\n")
        if self._index is not None:
            self._index.add(report_text(sections))
            for name, digests in self._regions.items():
                digests += blake2b(sections.get(name, "").strip().encode(), digest_size=8).digest()

    def plan(self) -> Plan:
        """Return where the studies go; none can be added after."""
        self._files.close()
        # By digest: the number of a patient does not depend on the order of the studies.
        names, patient = np.unique(np.frombuffer(self._patients, "S16"), return_inverse=True)
        own = np.array(self._own, np.int64)
        alike = self._index.find() if self._index is not None else None
        groups = group_patients(patient, len(names), alike, self.duplicates.template)
        base, after = self._splits(own, patient, names, groups)
        if self.duplicates.mode != "move":
            after = base
        return Plan(self, patient, names, base, after, groups, alike, self._faults)

    def _splits(
        self, own: NDArray[np.int64], patient: NDArray[np.int64], names: NDArray[Any], groups: Groups
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the split of each patient alone and with its group."""
        if isinstance(self.rule, StratifiedRule):
            alone = np.arange(len(names))
            base = self._allotted(self.rule, alone, patient, names)
            return base, self._allotted(self.rule, groups.leader, patient, names)
        base = np.full(len(names), _NONE)
        np.maximum.at(base, patient, own)
        if isinstance(self.rule, FileRule):
            self._refuse_conflicts(own, patient, base)
        if isinstance(self.rule, SplitRule):
            return base, base[groups.leader]
        held_out = np.full(len(names), _NONE)
        np.maximum.at(held_out, groups.leader, base)
        return base, np.where(base == _NONE, _NONE, held_out[groups.leader])

    def _refuse_conflicts(self, own: NDArray[np.int64], patient: NDArray[np.int64], base: NDArray[np.int64]) -> None:
        known = own != _NONE
        torn = np.zeros(len(base), np.bool_)
        torn[patient[known & (own != base[patient])]] = True
        for study in np.flatnonzero(torn[patient]):
            message = "the list of splits has studies of this patient in different ones"
            self._faults.setdefault(int(study), ("split_conflict", message))
        base[torn] = _NONE

    def _allotted(
        self, rule: StratifiedRule, leader: NDArray[np.int64], patient: NDArray[np.int64], names: NDArray[Any]
    ) -> NDArray[np.int64]:
        values = list(self._strata)
        of_unit: dict[int, set[str]] = {}
        for study, stratum in enumerate(self._stratum):
            of_unit.setdefault(int(leader[patient[study]]), set()).add(values[stratum])
        sizes = np.bincount(leader, minlength=len(names))
        units = sorted(of_unit)
        strata = ["\0".join(sorted(of_unit[unit])) for unit in units]
        hashes = [bytes(names[unit]) for unit in units]
        splits = allot(strata, [int(sizes[unit]) for unit in units], hashes, rule.random)
        found = np.full(len(names), _NONE)
        found[units] = [SPLITS.index(split) for split in splits]
        return found[leader]

    def notes(self) -> Iterator[str]:
        """Yield what a person should know of the rule."""
        if self._unseen:
            yield f"{len(self._unseen)} names of --split file are of no study of this run [split_unknown_name]"
        if isinstance(self.rule, StratifiedRule) and "" in self._strata:
            number = self._stratum.tolist().count(self._strata[""])
            yield f"{number} studies have no {self.rule.by}: they are a stratum of their own [stratum_unknown]"

    def names(self, wanted: set[int]) -> dict[int, tuple[str, str]]:
        """Return study and patient of the `wanted` ones, by their order."""
        found = {}
        with self._names.open("rb") as file:
            for number, line in enumerate(file):
                if number in wanted:
                    study, patient = orjson.loads(line)
                    found[number] = (study, patient)
        return found

    def region_digests(self) -> Iterator[tuple[str, NDArray[np.uint64]]]:
        """Yield a hash of each study's text by region, and that of no text as nought."""
        nothing = np.frombuffer(blake2b(b"", digest_size=8).digest(), np.uint64)[0]
        for name, digests in self._regions.items():
            found = np.frombuffer(bytes(digests), np.uint64)
            yield name, np.where(found == nothing, np.uint64(0), found)


@dataclass(frozen=True)
class Plan:
    """Where each study goes.

    Attributes
    ----------
    patient
        Number of each study's patient, in the order of a hash of their names, shape (studies,).
    names
        That hash of each patient.
    base, after
        Split of each patient by itself and with its group: 0 train, 1 val, 2 test, -1 none.
    groups
        Who says the same as whom.
    alike
        The texts, None when nobody looked.
    faults
        Code and message of studies without a split.
    """

    planner: Planner
    patient: NDArray[np.int64]
    names: NDArray[Any]
    base: NDArray[np.int64]
    after: NDArray[np.int64]
    groups: Groups
    alike: Alike | None
    faults: Mapping[int, tuple[str, str]]

    @cached_property
    def _range(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The least and the most held out split of each patient's group."""
        leader, placed = self.groups.leader, self.base != _NONE
        low, high = np.full(len(self.names), len(SPLITS)), np.full(len(self.names), _NONE)
        np.minimum.at(low, leader[placed], self.base[placed])
        np.maximum.at(high, leader[placed], self.base[placed])
        return low[leader], high[leader]

    @cached_property
    def torn(self) -> NDArray[np.bool_]:
        """Whether the patients of each patient's group, each by itself, stand on different sides."""
        low, high = self._range
        return low < high

    def is_dropped(self, study: int) -> bool:
        """Say whether a study is left out: a copy of its report is held out more."""
        patient = self.patient[study]
        return bool(
            self.planner.duplicates.mode == "drop"
            and self.torn[patient]
            and study not in self.faults
            and self.base[patient] < self._range[1][patient]
        )

    def placement(self, study: int) -> Placement:
        """Return what the study's samples say of their split."""
        if study in self.faults:
            return Placement(fault=self.faults[study])
        patient = self.patient[study]
        grouped = self.groups.patients[patient] > 1
        flagged = grouped and self.planner.duplicates.mode == "flag" and self.torn[patient]
        return Placement(
            split=SPLITS[self.after[patient]],
            group=self.group_id(int(patient)) if grouped else None,
            across=self.across(int(patient)) if flagged else None,
        )

    def group_id(self, patient: int) -> str:
        """Return the name of a patient's group: 16 hex digits, the same in any order of the studies."""
        return bytes(self.names[self.groups.leader[patient]])[:8].ljust(8, b"\0").hex()

    def across(self, patient: int) -> list[str]:
        """Return the splits of a group's patients, each by itself."""
        members = self.groups.members(int(self.groups.leader[patient]))
        return [SPLITS[split] for split in sorted({int(split) for split in self.base[members]} - {_NONE})]

    def notes(self) -> Iterator[str]:
        """Yield what a person should know."""
        yield from self.planner.notes()
        if self.alike is None:
            return
        torn = int(np.unique(self.groups.leader[self.torn]).size)
        if torn:
            mode = self.planner.duplicates.mode
            moved = int((self.torn & (self.base != self.after)).sum())
            dropped = sum(self.is_dropped(study) for study in range(len(self.patient)))
            done = {
                "move": f"{moved} patients moved, so that each is on one side",
                "drop": f"{dropped} studies left out, so that each is on one side",
                "flag": "left where they are",
            }[mode]
            yield f"{torn} groups of patients with the same report stood across splits: {done} [duplicates]"
        if self.groups.templates:
            shared = sum(self.groups.templates)
            yield (
                f"{len(self.groups.templates)} texts are shared by more than {self.planner.duplicates.template} "
                f"patients each ({shared} in all): taken for templates, nobody was joined by them [template]"
            )

    def duplicate_counts(self) -> dict[str, int] | None:
        """Return numbers of groups, patients and templates, None when nobody looked."""
        if self.alike is None:
            return None
        grouped = self.groups.patients > 1
        return {
            "groups of patients with the same report": int(np.unique(self.groups.leader[grouped]).size),
            "groups that stood across splits": int(np.unique(self.groups.leader[self.torn]).size),
            "patients in groups": int(grouped.sum()),
            "reports taken for templates": len(self.groups.templates),
        }

    def counts(self) -> dict[str, Counter[str]]:
        """Return the number of patients by split, before and after."""
        return {
            name: Counter(SPLITS[split] if split != _NONE else "none" for split in splits.tolist())
            for name, splits in (("before", self.base), ("after", self.after))
        }
