"""What ``score`` reads: any record with a reference and a hypothesis becomes an item to score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from petct_cli.core.errors import UsageError
from petct_cli.core.jsonl import BadLineError
from petct_cli.core.records import AnyRecord, Record

if TYPE_CHECKING:
    from petct_cli.metrics.families import Fact, Item, LesionList

NO_GROUP = "all"
REPEATED = "duplicate_id"
_TASKS_OF_THEIR_OWN = ("vqa", "compare")

Status = Literal["ok", "failed", "missing", "without_truth"]


@dataclass(frozen=True)
class Fields:
    """Where a record keeps what is scored; ``a.b`` is field b of a.

    The patient falls back to ``patient_id``, ``study`` and ``id``. `group` may name several fields with commas, each of
    which may hold an object with a ``name``. Controls exchange within the first; samples of a task other than
    ``report`` are groups of their own in it (``vqa/chest``). Groups of the others say their field (``task=vqa``).
    Lesions that came with a record count in place of those that its texts state. Where some records of a system have
    them, a record without them is one whose extraction failed, as one that has null or an error there.
    """

    reference: str = "reference"
    hypothesis: str = "hypothesis"
    patient: str = "patient"
    group: str = "region"
    reference_lesions: str = "reference_lesions"
    hypothesis_lesions: str = "hypothesis_lesions"

    def groups(self) -> list[str]:
        """Return the fields that say to which groups a sample belongs."""
        return [name for name in self.group.split(",") if name] or ["region"]


def named_fields(reference: str, hypothesis: str, patient: str, group: str, lesions: str) -> Fields:
    """Return the fields that a command line names; `lesions` are two, with a comma.

    Raises
    ------
    UsageError
        ``bad_option`` where `lesions` are not two.
    """
    names = [name.strip() for name in lesions.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError("bad_option", "--lesion-fields takes two names: of the reference's lesions, the hypothesis's")
    return Fields(reference, hypothesis, patient, group, *names)


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
        How many samples have each status other than ``ok``, how many ids were repeated (and left out), how many
        hypotheses are empty though nothing failed.
    groups
        Group of each item by the field that says it.
    with_ids
        Whether all samples say their ids; those of others are their places in the input.
    lost
        Ids of failed samples that do not say what would have been right.
    """

    items: list[Item] = field(default_factory=list)
    read: list[tuple[Item, Status]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=lambda: Counter(failed=0, missing=0))
    groups: list[Mapping[str, str]] = field(default_factory=list)
    with_ids: bool = True
    lost: set[str] = field(default_factory=set)

    def add(self, item: Item, status: Status, groups: Mapping[str, str]) -> None:
        """Take one more sample in; `groups` by field."""
        self.read.append((item, status))
        if status != "without_truth":
            self.items.append(item)
            self.groups.append(groups)
        if status != "ok":
            self.faults[status] += 1
        elif item.hypothesis_lesions is None and not any(char.isalnum() for char in item.hypothesis):
            self.faults["empty"] += 1

    def members(self) -> Iterator[tuple[str, list[int]]]:
        """Yield each group with the indices of its items, where a field parts the items in several."""
        by_field: dict[str, dict[str, list[int]]] = {}
        for index, groups in enumerate(self.groups):
            for name, group in groups.items():
                by_field.setdefault(name, {}).setdefault(group, []).append(index)
        for groups_of_field in by_field.values():
            if len(groups_of_field) > 1:
                yield from groups_of_field.items()


class InputCheck:
    """Says what is wrong with a record before it is scored, one after the other: an id may come once in a system.

    Parameters
    ----------
    fields
        Where the records keep what is scored.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._seen: set[tuple[str | None, str]] = set()

    def __call__(self, record: Record, system: str | None = None) -> BadLineError | None:
        """Return the fault of `record`, whose `system` is this if it says none; its own record goes on as failed.

        Codes: ``wrong_type``, ``several_references``, ``duplicate_id``. Nobody knows whose failure it is where the
        system is no name: that record does not go on.
        """
        value = values_of(record)
        if not _is_name(value.get("system")):
            return BadLineError("wrong_type", "field system is no name")
        if record.id and (key := (_system(value, system), record.id)) in self._seen:
            return _fault(record, REPEATED, "field id was in an earlier record of the same system")
        if record.id:
            self._seen.add(key)
        return None if record.error is not None else _value_fault(record, value, self._fields)


def _value_fault(record: Record, value: Mapping[str, Any], fields: Fields) -> BadLineError | None:
    lists = (fields.reference_lesions, fields.hypothesis_lesions)
    texts = {name: _at(value, name) for name in (fields.reference, fields.hypothesis) if name not in lists}
    if isinstance(texts.get(fields.reference), list):
        return _fault(record, "several_references", f"field {fields.reference} is a list: give one text")
    for name, found in texts.items():
        if found is not None and not isinstance(found, str):
            return _fault(record, "wrong_type", f"field {name} is no text")
    names = {fields.patient: _at(value, fields.patient)}
    for name, found in (names | {name: _group_value(value, name) for name in fields.groups()}).items():
        if not _is_name(found):
            return _fault(record, "wrong_type", f"field {name} is no name")
    return None


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def _fault(record: Record, code: str, message: str) -> BadLineError:
    return BadLineError(code, message, record.failed("score", code, message))


def read_items(records: Iterable[Record], fields: Fields, system: str | None) -> dict[str | None, SystemInput]:
    """Sort records by system; a failed or missing hypothesis is an empty one and counted.

    Records without a reference and without true lesions cannot be scored: they are counted as ``without_truth``. What
    `InputCheck` finds fails a record, and a repeated id leaves it out.
    """
    from petct_cli.metrics.families import Item

    check = InputCheck(fields)
    systems: dict[str | None, SystemInput] = {}
    for record in records:
        if (fault := check(record, system)) is not None:
            if fault.record is None:
                continue
            record = fault.record
        value = values_of(record)
        chosen = _system(value, system)
        found = systems.setdefault(chosen, SystemInput())
        if record.error is not None and record.error.code == REPEATED:
            found.faults[REPEATED] += 1
            continue
        reference, hypothesis = _worded(_at(value, fields.reference)), _text(_at(value, fields.hypothesis))
        truth = _facts(value.get("lesions"))
        lesions = _lesions(value, fields.reference_lesions, fields), _lesions(value, fields.hypothesis_lesions, fields)
        status: Status = "ok"
        if reference is None and truth is None and lesions[0] is None:
            status = "without_truth"
        elif record.error is not None:
            status = "failed"
        elif hypothesis is None and (lesions[1] is None or (lesions[1].lesions is None and fields.hypothesis in value)):
            # A record of lists alone has no field for a text: null is then an extraction that failed.
            status = "missing"
        identity = record.id or str(len(found.read))
        found.with_ids = found.with_ids and bool(record.id)
        if status == "without_truth" and record.error is not None:
            found.lost.add(identity)
        patient = _patient(value, fields.patient) or identity
        groups, asked = dict(_groups(value, fields, patient)), value.get("question")
        item = Item(
            id=identity,
            patient=patient,
            group=groups[fields.groups()[0]],
            system=chosen,
            reference=reference,
            hypothesis="" if record.error is not None else hypothesis or "",
            truth=truth,
            task=_text(value.get("task")),
            question=_question(value),
            # "Is there a lesion?" is another question in another region.
            asked={"region": _group_value(value, "region"), **asked} if isinstance(asked, Mapping) else None,
            reference_lesions=lesions[0],
            hypothesis_lesions=lesions[1] if record.error is None else None,
        )
        found.add(item, status, groups)
    return systems


def values_of(record: Record) -> Mapping[str, Any]:
    """Return the fields of `record` as JSON; what petct never wrote is in that form already."""
    if isinstance(record, AnyRecord):
        return {"id": record.id, "type": record.type, **(record.model_extra or {})}
    return record.to_json()


def with_promised_lesions(system: SystemInput) -> SystemInput:
    """Fill in failed extractions where other records of the system have lesions.

    A hypothesis that failed, or that is missing where others have a text, states no lesions: that is the system's
    doing, not the extractor's.
    """
    from petct_cli.metrics.families import LesionList

    true = any(item.reference_lesions is not None for item, _ in system.read)
    said = any(item.hypothesis_lesions is not None for item, _ in system.read)
    if not (true or said):
        return system
    texts = any(item.hypothesis for item, _ in system.read)

    def filled(item: Item, status: Status) -> Item:
        empty = status == "failed" or (status == "missing" and texts)
        true_lesions = item.reference_lesions or (LesionList(None) if true else None)
        said_lesions = item.hypothesis_lesions
        if said and (said_lesions is None or said_lesions.lesions is None):
            said_lesions = LesionList(() if empty else None)
        return replace(item, reference_lesions=true_lesions, hypothesis_lesions=said_lesions)

    read = [(filled(item, status), status) for item, status in system.read]
    return replace(system, read=read, items=[item for item, status in read if status != "without_truth"])


def _lesions(value: Mapping[str, Any], path: str, fields: Fields) -> LesionList | None:
    """Return lesions that came with a record; None where it does not have the field, or a text is kept there."""
    holder, _, key = path.rpartition(".") if path not in value else ("", "", path)
    found = _at(value, holder) if holder else value
    if not isinstance(found, Mapping) or key not in found:
        return None
    if isinstance(found[key], str) and path in (fields.reference, fields.hypothesis):
        return None
    from petct_cli.metrics.families import LesionList
    from petct_cli.metrics.lesion_lists import read_lesions

    return LesionList(read_lesions(found[key]))


def listed(given: LesionList | None) -> list[Any] | None:
    """Return lesions that came with a record as JSON, for a hash of the input."""
    return None if given is None else [given.lesions is None, *map(asdict, given.lesions or ())]


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


def _question(value: Mapping[str, Any]) -> str | None:
    """Return the text of a question: the record's own, or in petct's samples the last thing that the user says."""
    asked = value.get("question")
    if not isinstance(asked, Mapping):
        return _text(asked)
    messages = value.get("messages")
    texts = [
        part["text"]
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, Mapping) and message.get("role") == "user" and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]
    return texts[-1] if texts else None


def _worded(value: Any) -> str | None:
    """Return a reference; one without a word is none: nothing can be right or wrong against it."""
    return value if isinstance(value, str) and any(char.isalnum() for char in value) else None


def _name(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and str(value) else None


def _system(value: Mapping[str, Any], system: str | None) -> str | None:
    return _name(value.get("system")) or system


def _patient(value: Mapping[str, Any], name: str) -> str | None:
    return next((found for key in (name, "patient_id", "study") if (found := _name(_at(value, key)))), None)


def _group_value(value: Mapping[str, Any], name: str) -> Any:
    found = _at(value, name)
    return found.get("name") if isinstance(found, Mapping) else found


def _groups(value: Mapping[str, Any], fields: Fields, patient: str) -> Iterator[tuple[str, str]]:
    """Yield the group of a sample by field; the first field always says one, the others where they are there."""
    first, *others = fields.groups()
    group = patient if first == fields.patient else _name(_group_value(value, first)) or NO_GROUP
    task = value.get("task")
    yield first, f"{task}/{group}" if task in _TASKS_OF_THEIR_OWN and first != "task" else group
    for name in others:
        group = patient if name == fields.patient else _name(_group_value(value, name)) or ""
        if group:
            yield name, f"{name}={group}"


def _facts(value: Any) -> tuple[Fact, ...] | None:
    """Return true lesions in the form of a sample's ``lesions``, None when there are none in that form."""
    if not isinstance(value, list) or not all(
        isinstance(one, Mapping) and isinstance(one.get("site"), str) for one in value
    ):
        return None
    from petct_cli.metrics.families import Fact
    from petct_cli.report.sites import sides_of

    return tuple(
        Fact(one["site"], side, _number(one.get("size_mm")), _number(one.get("suv_max")))
        for one in value
        for side in sides_of(one["site"], _text(one.get("side")))
    )


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None
