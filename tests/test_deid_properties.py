"""Properties of de-identification over random nested data sets, in every layout, sound and damaged."""

from __future__ import annotations

import io
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_trees import PATIENT_ID, PIXELS, SYNTAXES, UID, Tree, body_of, encoded, file_of, trees
from hostile_files import anonymized, images
from hypothesis import given, settings
from hypothesis import strategies as st
from plant_people import left_in
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from petct_cli.dicom.deid.pseudonyms import Key

KEY, OTHER = Key(b"one key of the tests, never changed"), Key(b"another key of the tests")
PRESETS = st.sampled_from(("tcia", "basic"))
LAYOUTS = st.sampled_from(SYNTAXES)
_FAILURE = re.compile(r"[a-z][a-z0-9_]+")


class Refused(Exception):
    """What the record of a failed study tells: its code, and all of it."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(str(record))
        self.code = str(record["error"]["code"])


def deidentified(data: bytes, key: Key = KEY, preset: str = "tcia") -> bytes:
    """Return what becomes of a study of one file."""
    with tempfile.TemporaryDirectory() as folder:
        record, outputs = anonymized(Path(folder), data, preset=preset, key=key)
    if "error" in record:
        raise Refused(record)
    written = images(outputs)
    if not written:
        raise Refused({"error": {"code": record["deid"]["quarantined"][0]["reason"]}})
    return written[0]


def read(data: bytes) -> Dataset:
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(data))
        # Every value is decoded.
        assert str(dataset)
        return dataset


@settings(max_examples=60, deadline=None)
@given(tree=trees(), syntax=LAYOUTS, preset=PRESETS)
def test_nothing_planted_survives_and_the_rest_keeps_its_bytes(tree: Tree, syntax: str, preset: str) -> None:
    data = file_of(tree, syntax)
    out = deidentified(data, preset=preset)
    body = body_of(out, syntax)
    assert left_in({"file": out, "data set": body}, set(tree.secrets)) == []
    result = read(out)
    assert result.file_meta.TransferSyntaxUID == syntax
    assert result.get_item(0x7FE00010).value == PIXELS
    assert result.PatientID not in ("", PATIENT_ID)
    assert result.StudyInstanceUID != UID
    tags = [int(element.tag) for element in result]
    assert tags == sorted(set(tags))
    if preset == "tcia":
        assert [node for node in tree.untouched if encoded(node, syntax) not in body] == []


@settings(max_examples=25, deadline=None)
@given(tree=trees(), syntax=LAYOUTS)
def test_the_same_bytes_every_time_and_again_under_another_key(tree: Tree, syntax: str) -> None:
    data = file_of(tree, syntax)
    once = deidentified(data)
    assert deidentified(data) == once
    first, second = read(once), read(deidentified(once, OTHER))
    assert first.PatientID != second.PatientID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.get_item(0x7FE00010).value == second.get_item(0x7FE00010).value


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """Where (as a share of the file) bytes are changed, taken out, put in or cut off."""
    kinds = st.sampled_from(("set", "remove", "insert", "cut"))
    change = st.tuples(kinds, st.floats(0, 1), st.binary(min_size=1, max_size=6))
    return draw(st.lists(change, min_size=1, max_size=4))


def damaged(data: bytes, damage: list[tuple[str, float, bytes]]) -> bytes:
    for kind, share, more in damage:
        # Beyond the preamble: in front of it there is nothing to break.
        at = 128 + int(share * max(0, len(data) - 128))
        end = at + len(more)
        middle, rest = {"set": (more, end), "remove": (b"", end), "insert": (more, at), "cut": (b"", len(data))}[kind]
        data = data[:at] + middle + data[rest:]
    return data


@settings(max_examples=150, deadline=None)
@given(tree=trees(), syntax=LAYOUTS, damage=damages())
def test_damage_is_an_error_with_a_code_or_a_file_that_can_be_read(
    tree: Tree, syntax: str, damage: list[tuple[str, float, bytes]]
) -> None:
    data = damaged(file_of(tree, syntax), damage)
    refused: Refused | None = None
    out = b""
    try:
        out = deidentified(data)
    except Refused as error:
        refused = error
    if refused is not None:
        assert _FAILURE.fullmatch(refused.code)
        assert refused.code != "internal_fault"
        assert PATIENT_ID not in str(refused)
        return
    assert out[:132] == bytes(128) + b"DICM"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_cut_is_an_error(syntax: str) -> None:
    tree = Tree(tuple(node for node in _whole().nodes), (), frozenset())
    data = file_of(tree, syntax)
    for size in range(140, len(data) - 1, 5):
        try:
            out = deidentified(data[:size])
        except Refused:
            continue
        assert left_in({"file": out}, {PATIENT_ID}) == []


def _whole() -> Tree:
    from hypothesis import find

    return find(trees(), lambda tree: any(node.vr == "SQ" and node.value for node in tree.nodes))
