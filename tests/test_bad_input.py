"""Bad input is input: each fault has a code, a message and an exit code, and nothing already done is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from conftest import Result, clean_environment, default_signals, environment_on_a_full_disk
from samples import lines

Petct = Callable[..., Result]


@pytest.fixture(scope="module")
def raw(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom studies in a folder with their manifest."""
    folder = tmp_path_factory.mktemp("raw")
    made = petct("phantom", "--studies", "2", "--seed", "11", "-o", "studies", cwd=folder)
    assert made.code == 0, made.stderr
    (folder / "raw.jsonl").write_bytes(made.stdout)
    return folder


@pytest.fixture
def copy(raw: Path, tmp_path: Path) -> Path:
    shutil.copytree(raw, tmp_path / "copy")
    return tmp_path / "copy"


def codes(result: Result) -> list[str | None]:
    return [record["error"]["code"] if "error" in record else None for record in result.records]


def slices(folder: Path, number: int, modality: str) -> list[Path]:
    return sorted((folder / f"studies/study_{number:04d}" / modality).iterdir())


def rewrite(path: Path, keyword: str, value: object) -> None:
    import pydicom

    dataset = pydicom.dcmread(path)
    if value is None:
        delattr(dataset, keyword)
    else:
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_an_empty_folder(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = petct("convert", "empty", "-o", "vol", cwd=tmp_path)
    assert result.code == 65
    assert "empty" in result.stderr
    assert not (tmp_path / "vol").exists()


def test_files_that_are_not_dicom_do_not_stop_the_rest(petct: Petct, copy: Path) -> None:
    (copy / "studies/notes.txt").write_text("nothing to see")
    (copy / "studies/study_0001/CT/broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    result = petct("convert", "studies", "-o", "vol", "--max-failures", "5", cwd=copy)
    assert [record["id"] for record in result.records if "error" not in record], result.stderr
    assert "Traceback" not in result.stderr


def test_only_files_that_are_not_dicom(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.txt").write_text("nothing to see")
    assert petct("convert", "in", "-o", "vol", cwd=tmp_path).code == 65


def test_a_truncated_slice_fails_its_study_only(petct: Petct, copy: Path) -> None:
    victim = slices(copy, 1, "CT")[3]
    victim.write_bytes(victim.read_bytes()[:-1000])
    result = petct("convert", "raw.jsonl", "-o", "vol", cwd=copy)
    assert result.code == 1
    assert codes(result) == ["dicom_truncated", None]
    assert len(list((copy / "vol").iterdir())) == 1


def test_a_pet_without_weight(petct: Petct, copy: Path) -> None:
    for path in slices(copy, 1, "PET"):
        rewrite(path, "PatientWeight", None)
    result = petct("convert", "raw.jsonl", "-o", "vol", cwd=copy)
    assert result.code == 1
    assert codes(result) == ["suv_missing_weight", None]


def test_a_study_without_pet_converts_and_is_refused_by_pair(petct: Petct, copy: Path) -> None:
    shutil.rmtree(copy / "studies/study_0001/PET")
    converted = petct("convert", "studies/study_0001", "-o", "vol", cwd=copy)
    assert converted.code == 0, converted.stderr
    (study,) = converted.records
    assert "ct" in study
    assert "pet" not in study
    paired = petct("pair", stdin=converted.stdout, cwd=copy)
    assert paired.code == 1
    assert set(codes(paired)) == {"no_pet"}


@pytest.mark.parametrize(
    "command", [["convert"], ["anonymize", "--key-file", "key", "--new-key"], ["phantom", "--studies", "1"]]
)
def test_an_output_that_cannot_be_made(petct: Petct, copy: Path, command: list[str]) -> None:
    (copy / "file").write_bytes(b"")
    source = [] if command[0] == "phantom" else ["raw.jsonl"]
    result = petct(*command, *source, "-o", "file/out", cwd=copy)
    assert result.code == 74, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["convert"], ["anonymize", "--key-file", "key", "--new-key"]])
def test_a_full_disk_ends_the_run_and_a_larger_one_goes_on(petct: Petct, copy: Path, command: list[str]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    arguments = [*command, "raw.jsonl", "-o", "out"]
    full = subprocess.run(
        [sys.executable, "-m", "petct_cli", *arguments],
        cwd=copy,
        env=environment_on_a_full_disk(),
        capture_output=True,
        preexec_fn=limit,
    )
    assert full.returncode == 74, full.stderr
    assert b"Traceback" not in full.stderr
    assert not [path for path in (copy / "out").iterdir() if not path.name.startswith(".")]
    again = petct(*arguments, cwd=copy)
    assert again.code == 0, again.stderr
    assert len(again.records) == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("command", [["convert"], ["anonymize", "--key-file", "key", "--new-key"]])
def test_stopped_in_the_middle(petct: Petct, raw: Path, copy: Path, command: list[str], sent: signal.Signals) -> None:
    """Stop after the first finished study; the same command then gives the very bytes of an undisturbed run."""
    if command[0] == "anonymize":
        (copy / "key").write_bytes(b"k" * 32)
        (copy / "key").chmod(0o600)
        command = command[:-1]
    manifest = (copy / "raw.jsonl").read_bytes().splitlines(keepends=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", *command, "-", "-o", "out"],
        cwd=copy,
        env=clean_environment(),
        preexec_fn=default_signals,  # noqa: PLW1509  no thread holds a lock in these tests
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(manifest[0])
    process.stdin.flush()
    first = process.stdout.readline()
    process.stdin.write(manifest[1])
    process.stdin.flush()
    _wait_for_temporary_folder(copy / "out")
    process.send_signal(sent)
    process.stdin.close()
    process.stdout.read()
    code = process.wait(timeout=60)
    assert code == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert b"Traceback" not in process.stderr.read()
    again = petct(*command, "raw.jsonl", "-o", "out", cwd=copy)
    assert again.code == 0, again.stderr
    assert again.stdout.splitlines(keepends=True)[0] == first
    undisturbed = petct(*command, "raw.jsonl", "-o", "out", cwd=_fresh(copy))
    assert again.stdout == undisturbed.stdout
    assert _tree(copy / "out") == _tree(copy.parent / "fresh/out")


def _wait_for_temporary_folder(out: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not list(out.glob(".*.tmp-*")):
        time.sleep(0.001)


def _fresh(copy: Path) -> Path:
    fresh = copy.parent / "fresh"
    shutil.copytree(copy, fresh)
    shutil.rmtree(fresh / "out")
    return fresh


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_bare_environment_for_the_whole_way(petct: Petct, copy: Path) -> None:
    bare = {"env": {"LC_ALL": "C"}, "bare": True, "cwd": copy}
    clean = petct("anonymize", "raw.jsonl", "-o", "clean", "--key-file", "key", "--new-key", **bare)
    assert clean.code == 0, clean.stderr
    volumes = petct("convert", "-", "-o", "vol", stdin=clean.stdout, **bare)
    assert volumes.code == 0, volumes.stderr
    assert len(petct("pair", stdin=volumes.stdout, **bare).records) == 6


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_records_do_not_depend_on_jobs(petct: Petct, copy: Path, jobs: str) -> None:
    result = petct("convert", "raw.jsonl", "-o", f"vol{jobs}", "--jobs", jobs, cwd=copy)
    assert [record["id"] for record in result.records] == [
        orjson.loads(line)["id"] for line in (copy / "raw.jsonl").read_bytes().splitlines()
    ]


def test_a_newer_study_fails_and_the_rest_converts(petct: Petct, copy: Path) -> None:
    first, second = [orjson.loads(line) for line in (copy / "raw.jsonl").read_bytes().splitlines()]
    result = petct("convert", "-", "-o", "vol", stdin=lines({**first, "schema": 2}, b"not json", second), cwd=copy)
    assert result.code == 1
    assert codes(result) == ["schema_newer", None]
    assert "stdin:2: not JSON" in result.stderr
    assert os.listdir(copy / "vol") == [second["id"]]
