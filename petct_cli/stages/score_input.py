"""What ``score`` reads: any record with a reference and a hypothesis becomes an item to score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Record

if TYPE_CHECKING:
    from petct_cli.metrics.families import Fact, Item

NO_GROUP = "all"
_TASKS_OF_THEIR_OWN = ("vqa", "compare")


@dataclass(frozen=True)
class Fields:
    """Where a record keeps what is scored; ``a.b`` is field b of a.

    The patient falls back to ``patient_id``, ``study`` and ``id``; the group, which is what controls exchange within,
    may be an object with a ``name``. Samples of a task other than ``report`` are groups of their own (``vqa/chest``).
    """

    reference: str = "reference"
    hypothesis: str = "hypothesis"
    patient: str = "patient"
    group: str = "region"


Status = Literal["ok", "failed", "missing", "without_truth"]


@dataclass
class SystemInput:
    """The samples of one system.

    Attributes
    ----------
    items
        What can be scored, in input order.
    read
        Every sample read with its status, in input order; `items` are those with another than ``without_truth``.
    faults
        How many samples have each status other than ``ok``.
    """

    items: list[Item] = field(default_factory=list)
    read: list[tuple[Item, Status]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, item: Item, status: Status) -> None:
        """Take one more sample in."""
        self.read.append((item, status))
        if status != "without_truth":
            self.items.append(item)
        if status != "ok":
            self.faults[status] += 1


ItemT = TypeVar("ItemT")


def file_names(files: Sequence[str]) -> list[str | None]:
    """Return a name of its own for the system in each of `files`: the stem, or the path where stems are alike.

    Raises
    ------
    UsageError
        ``same_file`` when a file is named twice: its samples would count twice.
    """
    if len(set(files)) < len(files):
        raise UsageError("same_file", "the same file is named twice")
    stems = Counter(Path(file).stem for file in files)
    return [stem if stems[stem := Path(file).stem] == 1 else str(Path(file).with_suffix("")) for file in files]


def named(records: Iterable[ItemT], system: str | None) -> Iterator[ItemT]:
    """Pass `records` on, with `system` as the system of those that do not say theirs."""
    for record in records:
        if system is not None and isinstance(record, Record) and not (record.model_extra or {}).get("system"):
            yield record.with_fields(system=system)
        else:
            yield record


def read_items(records: Iterable[Record], fields: Fields, system: str | None) -> dict[str | None, SystemInput]:
    """Sort records by system; a failed or missing hypothesis is an empty one and counted.

    Records without a reference and without true lesions cannot be scored: they are counted as ``without_truth``.
    """
    from petct_cli.metrics.families import Item

    systems: dict[str | None, SystemInput] = {}
    for number, record in enumerate(records):
        value = record.to_json()
        name = value.get("system")
        chosen = name if isinstance(name, str) and name else system
        found = systems.setdefault(chosen, SystemInput())
        reference, hypothesis = _worded(_at(value, fields.reference)), _text(_at(value, fields.hypothesis))
        truth = _facts(value.get("lesions"))
        status: Status = "ok"
        if reference is None and truth is None:
            status = "without_truth"
        elif record.error is not None:
            status = "failed"
        elif hypothesis is None:
            status = "missing"
        item = Item(
            id=record.id or str(number),
            patient=_patient(value, fields.patient) or record.id or str(number),
            group=_group(_at(value, fields.group), value.get("task")),
            system=chosen,
            reference=reference,
            hypothesis=(hypothesis or "") if status == "ok" else "",
            truth=truth,
            task=_text(value.get("task")),
            question=_text(value.get("question")),
        )
        found.add(item, status)
    for found in systems.values():
        found.faults.update({"failed": 0, "missing": 0})
    return systems


def _at(value: Mapping[str, Any], path: str) -> Any:
    if path in value:
        return value[path]
    found: Any = value
    for key in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _worded(value: Any) -> str | None:
    """Return a reference; one without a word is none: nothing can be right or wrong against it."""
    return value if isinstance(value, str) and any(char.isalnum() for char in value) else None


def _patient(value: Mapping[str, Any], name: str) -> str | None:
    for key in (name, "patient_id", "study"):
        found = _at(value, key)
        if isinstance(found, str | int) and str(found):
            return str(found)
    return None


def _group(value: Any, task: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name")
    group = str(value) if isinstance(value, str | int) and str(value) else NO_GROUP
    return f"{task}/{group}" if task in _TASKS_OF_THEIR_OWN else group


def _facts(value: Any) -> tuple[Fact, ...] | None:
    """Return true lesions in the form of a sample's ``lesions``, None when there are none in that form."""
    from petct_cli.metrics.families import Fact
    from petct_cli.report.sites import sides_of

    if not isinstance(value, list) or not all(
        isinstance(one, Mapping) and isinstance(one.get("site"), str) for one in value
    ):
        return None
    return tuple(
        Fact(one["site"], side, _number(one.get("size_mm")), _number(one.get("suv_max")))
        for one in value
        for side in sides_of(one["site"], _text(one.get("side")))
    )


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None
