"""Outputs appear whole or not at all, and once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from petct_cli.core.errors import OutputError, RecordError
from petct_cli.core.records import Record, Study
from petct_cli.core.store import Store, refuse_unwritable, write_atomically


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


def test_what_is_no_regular_file_is_never_replaced_and_a_link_stays_one(tmp_path: Path) -> None:
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    for place in (pipe, folder):
        for write in (lambda path: write_atomically(path, b"page"), refuse_unwritable):
            with pytest.raises(OutputError, match=place.name):
                write(place)
    assert pipe.is_fifo()
    link.symlink_to("deep/page.html")
    write_atomically(link, b"page")
    assert link.is_symlink() and (tmp_path / "deep/page.html").read_bytes() == b"page"


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "..", ".", "", ".hidden", "a\0b", "a\nb", "x" * 300])
def test_an_id_that_is_no_folder_name_fails_the_record_and_writes_nothing(tmp_path: Path, name: str) -> None:
    root = tmp_path / "deep" / "out"
    with pytest.raises(RecordError) as caught:
        Store(root, "convert").once(name, "k", lambda folder: study("s1"))
    assert caught.value.code == "bad_id"
    assert list(tmp_path.rglob("*")) == []


def test_a_name_with_wildcards_removes_no_other_work(tmp_path: Path) -> None:
    (tmp_path / ".s1.tmp-abc").mkdir()
    Store(tmp_path, "convert").once("*", "k", lambda folder: study("s1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["*", ".s1.tmp-abc"]


def test_two_runs_may_build_the_same_name_at_once(tmp_path: Path) -> None:
    def build(folder: Path) -> list[Record]:
        # Another run comes, sees this one's folder, and finishes first.
        Store(tmp_path, "convert").once("s1", "k", lambda other: study("s1"))
        (folder / "ct").write_bytes(b"x")
        return study("s1")

    Store(tmp_path, "convert").once("s1", "k", build)
    assert [path.name for path in tmp_path.iterdir()] == ["s1"]
    assert (tmp_path / "s1/ct").exists()


@pytest.mark.parametrize(
    "receipt", [b"[]", b"{}", b'{"key":"k"}', b'{"key":"k","files":{},"records":[{"type":"old"}]}']
)
def test_a_receipt_of_another_layout_is_work_to_do_again(tmp_path: Path, receipt: bytes) -> None:
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1/.petct-convert.json").write_bytes(receipt)
    made = Store(tmp_path, "convert").once("s1", "k", lambda folder: study("s1"))
    assert [record.id for record in made] == ["s1"]
    assert Store(tmp_path, "convert").lookup("s1", "k") is not None


def test_an_input_beside_a_root_of_like_name_is_an_input(tmp_path: Path) -> None:
    def build(folder: Path) -> list[Record]:
        (tmp_path / "vol_raw").mkdir()
        (tmp_path / "vol_raw/missing.dcm").read_bytes()
        return []

    with pytest.raises(RecordError) as caught:
        Store(tmp_path / "vol", "convert").once("s1", "k", build)
    assert caught.value.code == "input_unreadable"
