"""Records as lines of UTF-8 JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ValidationError

from petct_cli.core import records, score_records
from petct_cli.core.errors import RecordError
from petct_cli.core.records import SCHEMA, AnyRecord, Checkpoint, Crosswalk, Record, Sample, SlicePair, Study
from petct_cli.core.score_records import Comparison, SampleScore, Score, ScoreLog

MODELS: dict[str, type[Record]] = {
    model.TYPE: model
    for model in (Study, Sample, SlicePair, Checkpoint, Score, Comparison, SampleScore, ScoreLog, Crosswalk)
}

_MAYBE_BIG_INTEGER = re.compile(rb"\d{19}")
_INT64 = range(-(2**63), 2**64)
_DEEPEST = 100
BAD_LINE_CODES = frozenset({"not_json", "number_range", "unknown_type", "schema_newer", "invalid_record"})


class BadLineError(RecordError):
    """A line that is no usable record.

    Attributes
    ----------
    record
        The line's record marked as failed, when enough of it could be read to keep its identity, else None.
    """

    def __init__(self, code: str, message: str, record: Record | None = None) -> None:
        super().__init__(code, message)
        self.record = record


@dataclass(frozen=True)
class Lines:
    """Records that their stage has written as lines of JSON, without newlines, where a model for each takes too long.

    What is in them has not failed.
    """

    lines: tuple[bytes, ...]
    error: ClassVar[None] = None


def encode(record: Record) -> bytes:
    """Return `record` as one line of JSON, without the newline.

    Raises
    ------
    RecordError
        ``number_range`` when a value is NaN, infinite or an integer beyond 64 bits.
    """
    value = record.to_json()
    try:
        line = orjson.dumps(value)
    except TypeError as error:
        raise RecordError("number_range", f"a value cannot be written as JSON: {error}") from None
    # orjson writes NaN and infinity as null: look again where there is one.
    if b"null" in line and any(isinstance(part, float) and not math.isfinite(part) for part, _ in _parts(value)):
        raise RecordError("number_range", "a value cannot be written as JSON: NaN or infinity")
    return line


def _parts(value: Any) -> Iterator[tuple[Any, int]]:
    """Yield `value` and everything in it with its depth, without recursion."""
    left = [(value, 1)]
    while left:
        part, depth = left.pop()
        yield part, depth
        if isinstance(part, dict):
            left += [(inner, depth + 1) for inner in part.values()]
        elif isinstance(part, list | tuple):
            left += [(inner, depth + 1) for inner in part]


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLineError("not_json", f"not JSON: {error.msg.split(':')[0]} at column {error.colno}") from None
    if not isinstance(value, dict):
        raise BadLineError("not_json", "not a JSON object")
    # Far less than any library refuses, and each refuses in its own way.
    if line.count(b"[") + line.count(b"{") > _DEEPEST and any(depth > _DEEPEST for _, depth in _parts(value)):
        raise BadLineError("not_json", f"nested more than {_DEEPEST} deep")
    if _MAYBE_BIG_INTEGER.search(line):
        _refuse_big_integers(line)
    return value


def _refuse_big_integers(line: bytes) -> None:
    """Look again with the standard library, which keeps integers exact where orjson makes floats of them."""
    import json

    def checked(literal: str) -> int:
        number = int(literal)
        if number not in _INT64:
            raise BadLineError("number_range", "an integer beyond 64 bits")
        return number

    json.loads(line, parse_int=checked)


@cache
def _field_names() -> frozenset[str]:
    kinds = [*vars(records).values(), *vars(score_records).values()]
    parts = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    fields = [item for part in parts for item in part.model_fields.items()]
    return frozenset(name for name, _ in fields) | frozenset(info.alias for _, info in fields if info.alias)


def _field(location: tuple[int | str, ...]) -> str:
    """Name the place of a fault; a key of the user's own may be a name, so it is not shown."""
    return ".".join(str(part) if isinstance(part, int) or part in _field_names() else "*" for part in location)


def _explain(error: ValidationError) -> str:
    """Say what is wrong with a record in terms of fields only; pydantic's own text would show the value."""
    faults = error.errors(include_input=False, include_context=False, include_url=False)
    first = faults[0]
    field = _field(first["loc"])
    message = f"missing field {field}" if first["type"] == "missing" else f"bad field {field}: {first['type']}"
    return message if len(faults) == 1 else f"{message} and {len(faults) - 1} more"


def _salvage(value: dict[str, Any], stage: str, code: str, message: str) -> Record | None:
    """Keep the identity of a record that cannot be read in full."""
    if not isinstance(value.get("id"), str):
        return None
    kept = {key: value[key] for key in ("type", "schema", "id", "study", "patient", "split") if key in value}
    try:
        record = AnyRecord.model_validate(kept)
    except ValidationError:
        return None
    return record.failed(stage, code, message)


def decode(line: bytes, stage: str = "read", *, any_json: bool = False) -> Record:
    """Read one line as the record that its ``type`` says it is.

    Parameters
    ----------
    line
        UTF-8 JSON of one object.
    stage
        Name to put in the ``error`` of a record that can only be kept as failed.
    any_json
        Accept objects of unknown ``type`` (or none) as `AnyRecord`.

    Raises
    ------
    BadLineError
        ``not_json``, ``number_range``, ``unknown_type``, ``schema_newer`` or ``invalid_record``; the message names the
        field and never its value.
    """
    try:
        value = _parse_object(line)
    except BadLineError as fault:
        raise (_told_apart(fault, line, stage) if any_json else fault) from None
    kind = value.get("type")
    model = MODELS.get(kind) if isinstance(kind, str) else None
    schema = value.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA and (model is not None or not any_json):
        message = f"schema {schema} is newer than {SCHEMA}, the newest that this petct reads"
        raise BadLineError("schema_newer", message, _salvage(value, stage, "schema_newer", message))
    if any_json:
        return _foreign(value, stage)
    if model is None:
        message = "missing field type" if kind is None else "unknown record type"
        raise BadLineError("unknown_type", message, _salvage(value, stage, "unknown_type", message))
    return _validate(model, line, value, stage)


def _told_apart(fault: BadLineError, line: bytes, stage: str) -> BadLineError:
    """Tell NaN and infinity, which other programs write, from what is no JSON at all; the record is kept as failed."""
    if fault.code != "not_json" or not (b"NaN" in line or b"Infinity" in line):
        return fault
    import json

    try:
        value = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return fault
    if not isinstance(value, dict):
        return fault
    code, message = "number_range", "NaN or infinity, which JSON does not have"
    return BadLineError(code, message, _foreign(value, stage).failed(stage, code, message))


def _foreign(value: dict[str, Any], stage: str) -> AnyRecord:
    """Take an object that petct did not write.

    A number as its id becomes text. Its maker may mean something else by ``type``, ``schema`` or ``provenance``: what
    is not in petct's form is left out; an ``error`` in another form still says that it failed.
    """
    own = dict(value)
    if isinstance(own.get("id"), int | float):
        own["id"] = str(own["id"])
    for name, kind in (("id", str), ("type", str), ("schema", int), ("provenance", list)):
        if name in own and (not isinstance(own[name], kind) or isinstance(own[name], bool)):
            del own[name]
    try:
        return AnyRecord.model_validate(own)
    except ValidationError as error:
        faulty = {str(fault["loc"][0]) for fault in error.errors(include_input=False, include_context=False)}
        message = _explain(error)
    failed = "error" in faulty and own["error"]
    own = {name: item for name, item in own.items() if name not in faulty}
    try:
        record = AnyRecord.model_validate(own)
    except ValidationError:
        raise BadLineError("invalid_record", message, _salvage(own, stage, "invalid_record", message)) from None
    return record.failed("unknown", "foreign", "failed before petct read it") if failed else record


def _validate(model: type[Record], line: bytes, value: dict[str, Any], stage: str) -> Record:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        message = _explain(error)
    if "error" in value and model is not AnyRecord:
        # An upstream failure may lack what only success would have filled in: its identity still travels.
        return _validate(AnyRecord, line, value, stage)
    raise BadLineError("invalid_record", message, _salvage(value, stage, "invalid_record", message))
