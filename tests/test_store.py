"""Outputs appear whole or not at all, and once."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from petct_cli.core.errors import OutputError, RecordError
from petct_cli.core.records import Record, Study
from petct_cli.core.store import Store, write_atomically


def study(name: str) -> list[Record]:
    return [Study.model_validate({"id": name, "patient": "p"})]


def test_finished_work_is_not_done_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "out", "convert")
    calls = []

    def build(folder: Path) -> list[Record]:
        calls.append(folder)
        (folder / "ct.b2nd").write_bytes(b"voxels")
        return study("s1")

    first = store.once("s1", "key", build)
    second = store.once("s1", "key", build)
    assert len(calls) == 1
    assert [record.to_json() for record in first] == [record.to_json() for record in second]
    assert (tmp_path / "out/s1/ct.b2nd").read_bytes() == b"voxels"


def test_other_options_replace_the_old_output(tmp_path: Path) -> None:
    store = Store(tmp_path, "convert")

    def build(name: str):
        def write(folder: Path) -> list[Record]:
            (folder / name).write_bytes(b"x")
            return study("s1")

        return write

    store.once("s1", "one", build("old"))
    store.once("s1", "two", build("new"))
    assert sorted(path.name for path in (tmp_path / "s1").iterdir()) == [".petct-convert.json", "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["s1"]


def test_a_failure_leaves_nothing_and_the_old_output_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, "convert")
    store.once("s1", "one", lambda folder: study("s1"))

    def fail(folder: Path) -> list[Record]:
        (folder / "half").write_bytes(b"x")
        raise RecordError("bad", "bad input")

    with pytest.raises(RecordError):
        store.once("s1", "two", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["s1"]
    assert store.lookup("s1", "one") is not None


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".s1.tmp-abc"
    left.mkdir()
    (left / "half").write_bytes(b"x")
    Store(tmp_path, "convert").once("s1", "k", lambda folder: study("s1"))
    assert [path.name for path in tmp_path.iterdir()] == ["s1"]


def test_an_output_that_was_damaged_since_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path, "convert")

    def build(folder: Path) -> list[Record]:
        (folder / "deep").mkdir()
        (folder / "deep/ct").write_bytes(b"voxels")
        return study("s1")

    store.once("s1", "k", build)
    (tmp_path / "s1/deep/ct").write_bytes(b"vox")
    assert store.lookup("s1", "k") is None
    store.once("s1", "k", build)
    assert (tmp_path / "s1/deep/ct").read_bytes() == b"voxels"


def test_a_full_disk_ends_the_run_and_an_unreadable_input_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path, "convert")

    def full(folder: Path) -> list[Record]:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "ct"))

    def unreadable(folder: Path) -> list[Record]:
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/1.dcm")

    with pytest.raises(OutputError, match="No space left"):
        store.once("s1", "k", full)
    with pytest.raises(RecordError, match="Permission denied"):
        store.once("s1", "k", unreadable)


def test_the_output_root_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        Store(tmp_path / "file", "convert").once("s1", "k", lambda folder: study("s1"))


def test_small_files_are_written_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "key", b"secret", mode=0o600)
    assert (tmp_path / "deep/key").read_bytes() == b"secret"
    assert (tmp_path / "deep/key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["key"]
