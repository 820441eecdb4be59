"""Exports for other trainers: each is loaded by the trainer's own loader where that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result, clean_environment

from petct_cli.core.records import Sample
from petct_cli.dataset.export import exported

Petct = Callable[..., Result]
COMMAND = ("pair", "--task", "report,vqa,compare", "--split", "random:0:60/0/40")


@pytest.fixture(scope="module")
def studies(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("export")
    made = petct("phantom", "--studies", "5", "--as", "volumes", "--seed", "2", "-o", "ph", cwd=folder)
    assert made.code == 0
    return folder, made.stdout


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def export(petct: Petct, studies: tuple[Path, bytes], form: str, *more: str, out: str | None = None) -> Result:
    folder, records = studies
    result = petct(*COMMAND, "--export", form, "--export-dir", out or form, *more, stdin=records, cwd=folder)
    assert result.code == 0, result.stderr
    return result


@pytest.mark.parametrize("form", ["trl", "swift", "llamafactory"])
def test_every_sample_is_in_the_manifest_of_its_split(petct: Petct, studies: tuple[Path, bytes], form: str) -> None:
    result = export(petct, studies, form)
    for split in ("train", "test"):
        found = rows(studies[0] / form / f"{split}.jsonl")
        assert [row["id"] for row in found] == [one["id"] for one in result.records if one["split"] == split]
        for row in found:
            assert len(row["images"]) == (6 if "/compare/" in row["id"] else 3)
            base = studies[0] / form if form == "llamafactory" else studies[0]
            assert all((base / path).is_file() for path in row["images"])
    assert not (studies[0] / form / "val.jsonl").exists()


def test_records_are_the_same_with_and_without_an_export(petct: Petct, studies: tuple[Path, bytes]) -> None:
    plain = petct(*COMMAND, stdin=studies[1], cwd=studies[0])
    assert plain.stdout == export(petct, studies, "trl", "--jobs", "2", out="jobs").stdout
    export(petct, studies, "trl", out="job")
    drawn = [path.relative_to(studies[0] / "job") for path in sorted((studies[0] / "job").rglob("*.png"))]
    assert len(drawn) == 5 * 3 * 3
    assert all((studies[0] / "job" / path).read_bytes() == (studies[0] / "jobs" / path).read_bytes() for path in drawn)


def test_a_rerun_draws_nothing_again_and_a_lost_split_goes(petct: Petct, studies: tuple[Path, bytes]) -> None:
    export(petct, studies, "swift", out="again")
    before = {path: path.stat().st_mtime_ns for path in (studies[0] / "again").rglob("*.png")}
    (studies[0] / "again/val.jsonl").write_bytes(b"{}\n")
    export(petct, studies, "swift", out="again")
    assert before
    assert {path: path.stat().st_mtime_ns for path in (studies[0] / "again").rglob("*.png")} == before
    assert not (studies[0] / "again/val.jsonl").exists()
    assert not [path for path in (studies[0] / "again").iterdir() if path.name.startswith(".")]


def test_a_run_that_stops_early_publishes_nothing(petct: Petct, studies: tuple[Path, bytes]) -> None:
    folder, records = studies
    (folder / "stopped").mkdir()
    for name in ("train.jsonl", "val.jsonl", "dataset_info.json"):
        (folder / "stopped" / name).write_bytes(b"of an earlier run")
    before = {path: path.read_bytes() for path in (folder / "stopped").glob("*.json*")}
    stdin = records.replace(b"/pet.b2nd", b"/gone.b2nd", 3)
    more = ("--fail-fast", "--export", "llamafactory", "--export-dir", "stopped")
    assert petct(*COMMAND, *more, stdin=stdin, cwd=folder).code == 1
    assert {path: path.read_bytes() for path in (folder / "stopped").glob("*.json*")} == before


def test_a_volume_that_is_gone_fails_its_study_and_leaves_the_export_whole(
    petct: Petct, studies: tuple[Path, bytes]
) -> None:
    folder, records = studies
    first, *others = [orjson.loads(line) for line in records.splitlines()]
    first["pet"]["path"] = "gone.b2nd"
    stdin = b"\n".join(orjson.dumps(one) for one in (first, *others))
    result = petct("pair", "--split", "train", "--export", "trl", "--export-dir", "lost", stdin=stdin, cwd=folder)
    assert result.code == 1
    assert {one["error"]["code"] for one in result.records if "error" in one} == {"volume_missing"}
    assert {row["id"].split("/")[0] for row in rows(folder / "lost/train.jsonl")} == {one["id"] for one in others}


def test_a_placeholder_in_a_report_counts_for_no_image() -> None:
    text = "Hạch <image> ở <video> cổ."
    sample = Sample.model_validate(
        {
            "id": "s/chest/report",
            "study": "s",
            "patient": "p",
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Mô tả."}]},
                {"role": "assistant", "content": [{"type": "text", "text": text}]},
            ],
        }
    )
    for form in ("swift", "llamafactory"):
        user, assistant = exported(sample, form, "x")["messages"]
        assert user["content"] == "<image><image><image>Mô tả."
        assert assistant["content"] == "Hạch < image> ở < video> cổ."
    row = exported(sample, "trl", "x")
    assert row["prompt"] == [{"role": "user", "content": "Mô tả."}]
    assert row["completion"] == [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    "options", [["--export", "trl"], ["--export-dir", "x"], ["--export", "csv", "--export-dir", "x"]]
)
def test_wrong_options(petct: Petct, options: list[str]) -> None:
    assert petct("pair", *options, stdin=b"").code == 2


# Each loader runs in a process of its own: the trainers change their libraries on import.
LOADERS = {
    "trl": """
        from datasets import Image, List, load_dataset
        from trl.data_utils import is_conversational, prepare_multimodal_messages
        data = load_dataset("json", data_files={"train": "trl/train.jsonl"}, split="train", cache_dir="cache")
        data = data.cast_column("images", List(Image()))
        for row in data:
            assert is_conversational(row)
            prompt = prepare_multimodal_messages(row["prompt"], images=row["images"])
            parts = prompt[0]["content"]
            assert [part["type"] for part in parts] == ["image"] * len(row["images"]) + ["text"]
            assert all(part["image"].size > (50, 50) for part in parts[:-1])
            assert row["completion"][0]["content"]
        print("loaded", len(data))
    """,
    "swift": """
        from swift.dataset import load_dataset
        data, _ = load_dataset(["swift/train.jsonl"], split_dataset_ratio=0.0, strict=True, load_from_cache_file=False)
        for row in data:
            assert row["messages"][0]["content"].count("<image>") == len(row["images"])
            assert row["messages"][-1]["role"] == "assistant"
        print("loaded", len(data))
    """,
    "llamafactory": """
        from types import SimpleNamespace
        from datasets import load_dataset
        from llamafactory.data.converter import get_dataset_converter
        from llamafactory.data.mm_plugin import BasePlugin
        from llamafactory.data.parser import get_dataset_list
        (attributes,) = get_dataset_list(["petct_train"], "llamafactory")
        files = "llamafactory/" + attributes.dataset_name
        data = load_dataset("json", data_files=files, split="train", cache_dir="cache")
        options = SimpleNamespace(media_dir="llamafactory")
        convert = get_dataset_converter(attributes.formatting, attributes, options)
        plugin = BasePlugin("<image>", None, None)
        for row in data:
            made = convert(row)
            plugin._validate_messages(made["_prompt"] + made["_response"], made["_images"], [], [])
            assert made["_response"] and all(path.startswith("llamafactory/") for path in made["_images"])
        print("loaded", len(data))
    """,
}


@pytest.mark.parametrize("form", sorted(LOADERS))
def test_the_trainers_own_loader_reads_it(petct: Petct, studies: tuple[Path, bytes], form: str) -> None:
    trainers = Path(os.environ.get("PETCT_TRAINERS") or Path(sys.prefix) / "trainers")
    if not (trainers / form).is_dir():
        pytest.skip(f"{form} is not installed: make trainers (or PETCT_TRAINERS)")
    export(petct, studies, form)
    script = "\n".join(line[8:] for line in LOADERS[form].splitlines())
    home = str(studies[0] / "home")
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": home, "MODELSCOPE_CACHE": home, "PYTHONPATH": str(trainers)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=studies[0],
        capture_output=True,
        text=True,
        env=clean_environment(environment),
        timeout=300,
    )
    assert f"loaded {len(rows(studies[0] / form / 'train.jsonl'))}" in done.stdout, done.stderr[-3000:]
