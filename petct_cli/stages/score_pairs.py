"""Several systems on the same samples: what one of them lacks, and which samples of two can be compared."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from petct_cli.stages.score_input import Status, SystemInput

_log = logging.getLogger(__name__)
_UNNAMED = "unnamed"


@dataclass(frozen=True)
class Pairing:
    """The samples that two systems have in common, as indices of their items in the same order."""

    system: str | None
    against: str | None
    indices: tuple[int, ...]
    indices_against: tuple[int, ...]

    @property
    def names(self) -> tuple[str, str]:
        """Return what to call the two."""
        return shown(self.system), shown(self.against)


def shown(system: str | None) -> str:
    """Return what to call a system among others."""
    return system if system is not None else _UNNAMED


def completed(systems: Mapping[str | None, SystemInput]) -> dict[str | None, SystemInput]:
    """Give each system the samples that it lacks and others have, as missing: leaving out what is hard is no gain.

    Systems belong together when they share an id with each other or with a third; one whose samples say no ids, or
    shares none, stays as it is. What a system says to a sample without a reference is judged by that of the others.
    """
    donors: dict[str, tuple[str | None, int]] = {}
    leader = {name: name for name, read in systems.items() if read.with_ids}

    def first(name: str | None) -> str | None:
        while leader[name] != name:
            name = leader[name]
        return name

    for name in leader:
        for index, item in enumerate(systems[name].items):
            donors.setdefault(item.id, (name, index))
    for name in leader:
        for item, _ in systems[name].read:
            if item.id in donors:
                leader[first(name)] = first(donors[item.id][0])
    made = dict(systems)
    for name in leader:
        theirs = {id_: place for id_, place in donors.items() if first(place[0]) == first(name)}
        own = systems[name]
        if len(theirs) > len(own.items):
            made[name] = _filled(shown(name), own, theirs, systems)
    return made


def _filled(
    name: str,
    own: SystemInput,
    donors: Mapping[str, tuple[str | None, int]],
    systems: Mapping[str | None, SystemInput],
) -> SystemInput:
    full = SystemInput(with_ids=True, lost=own.lost)
    full.faults.update({"duplicate_id": own.faults["duplicate_id"]} if own.faults["duplicate_id"] else {})
    groups = iter(own.groups)
    borrowed = 0
    for item, status in own.read:
        if status == "without_truth" and item.id in donors:
            donor, index = donors[item.id]
            there = systems[donor].items[index]
            status = "failed" if item.id in own.lost else "ok" if item.hypothesis else "missing"
            said, listed = item.hypothesis, item.hypothesis_lesions
            made = replace(there, system=item.system, hypothesis=said, hypothesis_lesions=listed)
            full.add(made, status, systems[donor].groups[index])
            borrowed += 1
        else:
            full.add(item, status, {} if status == "without_truth" else next(groups))
    there_already = {item.id for item, _ in own.read}
    lacking = [place for id_, place in donors.items() if id_ not in there_already]
    system = own.read[0][0].system if own.read else None
    missing: Status = "missing"
    for donor, index in lacking:
        item = replace(systems[donor].items[index], system=system, hypothesis="", hypothesis_lesions=None)
        full.add(item, missing, systems[donor].groups[index])
    if lacking:
        _log.warning("%s lacks %d samples that others have: they count as missing", name, len(lacking))
    if borrowed:
        _log.warning("%s has no reference for %d samples: that of another system is taken", name, borrowed)
    return full


def pairings(systems: Mapping[str | None, SystemInput]) -> Iterator[Pairing]:
    """Yield what can be compared of each two systems, and say of those that cannot be why.

    Samples are the same when they have the same id and the same truth and question; without ids, when both systems have
    as many and these are the same in each place.
    """
    for (name, one), (against, other) in combinations(systems.items(), 2):
        pair = f"{shown(name)} and {shown(against)}"
        if one.with_ids and other.with_ids:
            places = {item.id: index for index, item in enumerate(other.items)}
            common = [(index, places[item.id]) for index, item in enumerate(one.items) if item.id in places]
            same = [both for both in common if _same_truth(one, other, *both)]
            if len(same) < len(common):
                _log.warning(
                    "%s: %d samples have different references and are not compared", pair, len(common) - len(same)
                )
            if not common:
                _log.warning("%s share no id: not compared", pair)
        else:
            counts = len(one.items), len(other.items)
            same = [(index, index) for index in range(counts[0])] if counts[0] == counts[1] else []
            if counts[0] != counts[1]:
                _log.warning("%s have %d and %d samples, not all with ids: not compared", pair, *counts)
            elif not all(_same_truth(one, other, *both) for both in same):
                _log.warning("%s have different references in the same places, not all with ids: not compared", pair)
                same = []
        if same:
            yield Pairing(name, against, tuple(index for index, _ in same), tuple(index for _, index in same))


def _same_truth(one: SystemInput, other: SystemInput, index: int, place: int) -> bool:
    mine, theirs = (
        (item.reference, item.truth, item.reference_lesions, item.question, item.asked, item.task)
        for item in (one.items[index], other.items[place])
    )
    return mine == theirs
