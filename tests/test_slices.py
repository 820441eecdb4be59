"""The manifest of slices: every slice once, in order, as a model would have written it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result, clean_environment, default_signals
from hypothesis import given
from hypothesis import strategies as st
from samples import AFFINE, lines, study, volume

from petct_cli.core.jsonl import decode, encode
from petct_cli.core.records import Image, SlicePair, SliceRegion, Study
from petct_cli.dataset.samples import slice_position_mm
from petct_cli.dataset.splits import SplitRule
from petct_cli.stages.pair_regions import RegionRule
from petct_cli.stages.pair_slices import PairSlices

Petct = Callable[..., Result]
PROVENANCE = [{"stage": "convert", "version": "1", "options_sha256": "a" * 64, "inputs_sha256": "b" * 64}]


def manifest(record: dict[str, Any], rule: str = "whole", split: str = "random:0") -> list[bytes]:
    stage = PairSlices(RegionRule.parse(rule, "20"), SplitRule.parse(split))
    return [line for made in stage(Study.model_validate(record)) for line in made.lines]


def by_models(record: dict[str, Any], rule: str = "whole") -> list[bytes]:
    """The same manifest in the plain way, one model a slice."""
    whole = Study.model_validate(record)
    assert whole.ct is not None
    assert whole.pet is not None
    stamp = orjson.loads(manifest(record, rule)[0])["provenance"][-1]
    bounds = RegionRule.parse(rule, "20").cut(whole, whole.ct)
    found = []
    for index in range(whole.pet.shape[0]):
        inside = [one for one in bounds if one.start <= index < one.stop]
        images = [(whole.ct, "CT"), (whole.pet, "PT")]
        pair = {
            "id": f"{whole.id}/slice/{index}",
            "provenance": [*(record.get("provenance") or []), stamp],
            "study": whole.id,
            "patient": whole.patient or whole.id,
            "split": SplitRule().split_of(whole.patient or whole.id),
            "z": index,
            "z_mm": slice_position_mm(whole.pet, index),
            "regions": [SliceRegion(name=one.name, method=one.method, partial=one.partial) for one in inside],
            "images": [
                Image(path=one.path, modality=name, sha256=one.sha256, z=[index, index + 1]) for one, name in images
            ],
        }
        found.append(encode(SlicePair.model_validate(pair)))
    return found


@pytest.mark.parametrize("rule", ["whole", "paper", "anatomy", "fractions:1,1,2"])
def test_a_line_is_what_a_model_would_write(rule: str) -> None:
    record = study("s1", provenance=PROVENANCE)
    assert manifest(record, rule) == by_models(record, rule)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.floats(-1e7, 1e7),
    st.floats(1e-4, 50),
    st.booleans(),
)
def test_any_name_and_any_place(identity: str, path: str, start: float, step: float, known: bool) -> None:
    matrix = [AFFINE[0], AFFINE[1], [step, 0.0, 0.0, start], AFFINE[3]] if known else None
    shared = {"shape": [7, 4, 4], "affine": matrix, "path": path, "spacing_mm": [step, 1.0, 1.0]}
    record = study(identity, ct=volume("ct", **shared), pet=volume("pet", **shared))
    found = manifest(record)
    assert found == by_models(record)
    assert [decode(line).id for line in found] == [f"{identity}/slice/{index}" for index in range(7)]


def test_every_slice_once_in_the_regions_that_it_lies_in(petct: Petct) -> None:
    given_records = [study("s1"), study("s2", report=None), study("s3", ct=None), study("s4", patient=None)]
    result = petct("pair", "--slices", "--regions", "anatomy", stdin=lines(*given_records))
    assert result.code == 1
    found = [record for record in result.records if record["type"] == "slice"]
    assert [record["id"] for record in found] == [
        f"{one}/slice/{index}" for one in ("s1", "s2", "s4") for index in range(110)
    ]
    (failed,) = (record for record in result.records if record["type"] != "slice")
    assert (failed["type"], failed["id"], failed["error"]["code"]) == ("study", "s3", "no_ct")
    samples = petct("pair", stdin=lines(study("s1"))).records
    for sample in samples:
        start, stop = sample["region"]["z"]
        inside = [
            record["z"]
            for record in found
            if record["study"] == "s1" and sample["region"]["name"] in [region["name"] for region in record["regions"]]
        ]
        assert inside == list(range(start, stop))
    assert {record["split"] for record in found if record["study"] == "s1"} == {samples[0]["split"]}
    assert [record["z_mm"] for record in found[:3]] == [-800.0, -792.0, -784.0]


def test_no_voxel_is_read_unless_anatomy_is_asked_for(petct: Petct) -> None:
    nowhere = study("s1", ct=volume("ct", path="nowhere.b2nd"))
    for rule in ([], ["--regions", "paper"]):
        result = petct("pair", "--slices", *rule, stdin=lines(nowhere))
        assert (result.code, len(result.records)) == (0, 110)
    result = petct("pair", "--slices", "--regions", "anatomy", stdin=lines(nowhere))
    assert (result.code, result.records[0]["error"]["code"]) == (1, "ct_unreadable")


def test_the_same_bytes_whatever_the_jobs(petct: Petct) -> None:
    given_records = lines(*(study(f"s{number}") for number in range(6)))
    one, three = (petct("pair", "--slices", "--jobs", jobs, stdin=given_records) for jobs in ("1", "3"))
    assert one.code == three.code == 0
    assert one.stdout == three.stdout
    assert one.stdout.count(b"\n") == 660
    again = petct("pair", "--slices", "--dry-run", stdin=given_records)
    assert again.stdout == b""


def test_what_failed_before_passes_on(petct: Petct) -> None:
    failed = study("s1", error={"stage": "convert", "code": "no_ct", "message": "none"})
    result = petct("pair", "--slices", stdin=lines(failed))
    assert (result.code, result.records) == (0, [failed])


def test_slices_are_no_studies(petct: Petct) -> None:
    (line,) = manifest(study("s1", ct=volume("ct", shape=[1, 4, 4]), pet=volume("pet", shape=[1, 4, 4])))
    result = petct("pair", stdin=line + b"\n")
    assert (result.code, result.records[0]["error"]["code"]) == (1, "wrong_type")
    assert result.records[0]["z_mm"] == -800.0


def test_positions_beyond_any_number_fail_the_study(petct: Petct) -> None:
    far = [AFFINE[0], AFFINE[1], [1e308, 0.0, 0.0, 1e308], AFFINE[3]]
    record = study("s1", ct=volume("ct", affine=far), pet=volume("pet", affine=far))
    result = petct("pair", "--slices", stdin=lines(record))
    assert [record["error"]["code"] for record in result.records] == ["number_range"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (None, 141)])
def test_a_manifest_stops_between_lines(tmp_path: Path, number: signal.Signals | None, code: int) -> None:
    big = {"shape": [4000, 4, 4]}
    path = tmp_path / "studies.jsonl"
    path.write_bytes(
        lines(*(study(f"s{n}", ct=volume("ct", path="x.b2nd", **big), pet=volume("pet", **big)) for n in range(200)))
    )
    command = [sys.executable, "-m", "petct_cli", "pair", "--slices", str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
        preexec_fn=default_signals,  # noqa: PLW1509  no thread holds a lock in these tests
    ) as running:
        assert running.stdout is not None
        first = [running.stdout.readline() for _ in range(500)]
        assert orjson.loads(first[-1])["id"] == "s0/slice/499"
        if number is None:
            running.stdout.close()
        else:
            os.kill(running.pid, number)
            rest = running.stdout.read()
            assert (first[-1] + rest).endswith(b"}]}\n")
            assert rest.count(b"\n") < 4000 * 200 - 500
        assert running.wait(60) == code
