"""Records as lines: what is read is what is written, and what cannot be read is named by field, never by value."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.core.errors import RecordError
from petct_cli.core.jsonl import BadLineError, decode, encode
from petct_cli.core.records import AnyRecord, Study

STUDY = {"type": "study", "schema": 1, "id": "s1", "patient": "p1"}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), json_values, max_size=5))
def test_unknown_keys_pass_through(extra: dict[str, object]) -> None:
    known = set(Study.model_fields) | {"schema"}
    value = {key: item for key, item in extra.items() if key not in known} | STUDY
    assert orjson.loads(encode(decode(orjson.dumps(value)))) == value


def test_absent_fields_stay_absent() -> None:
    assert orjson.loads(encode(Study.model_validate({"id": "s1"}))) == {"type": "study", "schema": 1, "id": "s1"}


def test_null_stays_null_where_the_user_wrote_it() -> None:
    line = orjson.dumps({**STUDY, "sex": None})
    assert orjson.loads(encode(decode(line)))["sex"] is None


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        (b"{not json", "not_json", "column"),
        (b"[1]", "not_json", "object"),
        (b'{"id": NaN}', "not_json", "not JSON"),
        (b'{"id": "a"}', "unknown_type", "type"),
        (b'{"type": "study", "schema": 1}', "invalid_record", "missing field id"),
        (b'{"type": "study", "schema": 1, "id": "a", "weight_kg": "Tran"}', "invalid_record", "weight_kg"),
        (b'{"type": "study", "schema": 2, "id": "a"}', "schema_newer", "schema 2"),
        (b'{"type": "study", "schema": 1, "id": "a", "n": 18446744073709551616}', "number_range", "64 bits"),
    ],
)
def test_bad_lines_say_which_field(line: bytes, code: str, part: str) -> None:
    with pytest.raises(BadLineError) as caught:
        decode(line)
    assert caught.value.code == code
    assert part in caught.value.message
    assert "Tran" not in caught.value.message


def test_infinity_is_refused() -> None:
    with pytest.raises(BadLineError):
        decode(b'{"type": "study", "schema": 1, "id": "a", "x": 1e999}')


def test_nested_field_is_named_by_its_path() -> None:
    volume = {"path": "p", "shape": [1], "spacing_mm": [1.0], "unit": "HU", "dtype": "int16"}
    with pytest.raises(BadLineError, match=r"missing field ct\.sha256"):
        decode(orjson.dumps({**STUDY, "ct": volume}))


def test_a_key_of_the_users_own_is_not_shown() -> None:
    with pytest.raises(BadLineError) as caught:
        decode(orjson.dumps({**STUDY, "report": {"sections": {"Nguyễn Văn An": 3}}}))
    assert caught.value.message == "bad field report.sections.*: string_type"


def test_a_record_from_a_later_schema_keeps_its_identity() -> None:
    with pytest.raises(BadLineError) as caught:
        decode(orjson.dumps({**STUDY, "schema": 7}), "pair")
    record = caught.value.record
    assert record is not None
    assert (record.id, record.error and record.error.code) == ("s1", "schema_newer")


def test_a_failed_record_is_read_even_when_incomplete() -> None:
    error = {"stage": "convert", "code": "no_pet", "message": "m"}
    value = {"type": "sample", "schema": 1, "id": "s/chest/report", "error": error}
    record = decode(orjson.dumps(value))
    assert record.error is not None
    assert orjson.loads(encode(record)) == value


def test_any_json_is_taken_when_asked_for() -> None:
    value = {"reference": "a", "hypothesis": "b", "type": 3, "id": "x"}
    del value["type"]
    record = decode(orjson.dumps(value), any_json=True)
    assert isinstance(record, AnyRecord)
    assert orjson.loads(encode(record)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_has_no_word_for_is_not_written_as_null(value: float) -> None:
    with pytest.raises(RecordError, match="NaN or infinity"):
        encode(Study(id="s", weight_kg=value))
    assert encode(Study(id="s", weight_kg=None)) == b'{"type":"study","schema":1,"id":"s","weight_kg":null}'


@pytest.mark.parametrize("any_json", [False, True])
@pytest.mark.parametrize("number", [b"1", b"1234567890123456789"])
def test_deep_nesting_is_a_bad_line_and_no_crash(any_json: bool, number: bytes) -> None:
    line = b'{"type":"study","id":"s","x":' + b"[" * 1005 + number + b"]" * 1005 + b"}"
    with pytest.raises(BadLineError) as caught:
        decode(line, any_json=any_json)
    assert caught.value.code == "not_json"


def test_foreign_fields_of_the_same_name_do_not_cost_the_record() -> None:
    line = b'{"id":7,"type":3,"schema":"v2","provenance":"x","error":"boom","reference":"r"}'
    record = decode(line, any_json=True)
    assert record.id == "7"
    assert record.error is not None
    assert record.error.code == "foreign"
    assert record.to_json()["reference"] == "r"
    assert decode(b'{"error":"","reference":"r"}', any_json=True).error is None
