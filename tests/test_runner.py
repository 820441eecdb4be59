"""How every filter behaves, tried on `petct pair` in real pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from conftest import Result, clean_environment, default_signals
from samples import lines, study, volume

Petct = Callable[..., Result]


def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "petct_cli", *arguments],
        preexec_fn=default_signals,  # noqa: PLW1509  no thread holds a lock in these tests
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        **options,
    )


def test_a_bad_line_is_named_and_the_rest_goes_on(petct: Petct, tmp_path: Path) -> None:
    bad = study("s2", pet={**volume("pet"), "sha256": None})
    del bad["pet"]["sha256"]
    (tmp_path / "a.jsonl").write_bytes(lines(study("s1"), b"{oops", bad, study("s3")))
    result = petct("pair", "a.jsonl", cwd=tmp_path)
    assert result.code == 1
    assert "petct pair: a.jsonl:2: not JSON" in result.stderr
    assert "petct pair: a.jsonl:3: missing field pet.sha256" in result.stderr
    good = [record["study"] for record in result.records if "error" not in record]
    assert good == ["s1"] * 3 + ["s3"] * 3


def test_upstream_failures_pass_and_do_not_set_the_exit_code(petct: Petct) -> None:
    failed = study("s1", pet=None, error={"stage": "convert", "code": "no_pet", "message": "m"})
    result = petct("pair", stdin=lines(failed, study("s2")))
    assert result.code == 0
    inherited = [record for record in result.records if "error" in record]
    assert [record["id"] for record in inherited] == [
        f"s1/{name}/report" for name in ("head_neck", "chest", "abdomen_pelvis")
    ]
    assert {record["error"]["stage"] for record in inherited} == {"convert"}
    assert all(record["split"] and record["reference"] for record in inherited)


def test_a_study_without_pet_is_refused_by_pair(petct: Petct) -> None:
    result = petct("pair", stdin=lines(study("s1", pet=None)))
    assert result.code == 1
    assert {record["error"]["code"] for record in result.records} == {"no_pet"}


def test_a_record_from_a_later_schema_is_a_failed_record(petct: Petct) -> None:
    result = petct("pair", stdin=lines(study("s1", schema=9)))
    assert result.code == 1
    assert [(record["id"], record["error"]["code"]) for record in result.records] == [("s1", "schema_newer")]


@pytest.mark.parametrize(("limit", "code"), [("0", 1), ("1", 0), ("50%", 0), ("10%", 1)])
def test_max_failures(petct: Petct, limit: str, code: int) -> None:
    result = petct(
        "pair", "--regions", "whole", "--max-failures", limit, stdin=lines(study("s1"), study("s2", ct=None))
    )
    assert result.code == code


def test_fail_fast_stops(petct: Petct) -> None:
    result = petct("pair", "--fail-fast", stdin=lines(study("s1"), b"nonsense", study("s3")))
    assert result.code == 1
    assert {record["study"] for record in result.records} == {"s1"}


def test_output_does_not_depend_on_jobs(petct: Petct) -> None:
    stdin = lines(*(study(f"s{number}") for number in range(40)))
    assert petct("pair", stdin=stdin).stdout == petct("pair", "--jobs", "2", stdin=stdin).stdout


def test_each_record_is_flushed() -> None:
    process = start("pair", "--duplicates", "off")
    assert process.stdin and process.stdout
    process.stdin.write(lines(study("s1")))
    process.stdin.flush()
    first = orjson.loads(process.stdout.readline())
    process.stdin.close()
    process.stdout.read()
    assert first["study"] == "s1"
    assert process.wait() == 0


def test_a_closed_pipe_ends_in_silence(tmp_path: Path) -> None:
    many = tmp_path / "many.jsonl"
    many.write_bytes(lines(*(study(f"s{number}") for number in range(3000))))
    process = start("pair", str(many))
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""


def test_head_minus_one_in_a_shell(tmp_path: Path) -> None:
    many = tmp_path / "many.jsonl"
    many.write_bytes(lines(*(study(f"s{number}") for number in range(3000))))
    script = f'"{sys.executable}" -m petct_cli pair many.jsonl | head -1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True)
    assert done.stdout.splitlines()[-1] == b"141"
    assert done.stderr == b""


def test_interrupted() -> None:
    process = start("pair", "--jobs", "2", "--duplicates", "off")
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(lines(*(study(f"s{number}") for number in range(8))))
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    process.stdout.read()
    assert process.wait(timeout=60) == 130
    assert b"Traceback" not in process.stderr.read()


def test_a_bare_environment(petct: Petct) -> None:
    result = petct("pair", stdin=lines(study("s1")), env={"LC_ALL": "C"}, bare=True)
    assert result.code == 0
    assert "não" in result.stdout.decode()


def test_a_full_stdout_is_an_io_error() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "petct_cli", "pair"],
            input=lines(study("s1")),
            stdout=full,
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
    assert done.returncode == 74
    assert b"cannot write to stdout: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("closed", "code"), [("<&-", 65), ("2>&-", 0), (">&-", 74)])
def test_closed_streams(tmp_path: Path, closed: str, code: int) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines(study("s1")))
    source = "-" if closed == "<&-" else "in.jsonl"
    script = f'"{sys.executable}" -m petct_cli pair {source} {closed}'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


def test_a_held_lock(petct: Petct, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = petct("pair", "--lock", tmp_path / "lock", stdin=lines(study("s1")))
    assert (result.code, result.stdout) == (75, b"")
    assert petct("pair", "--lock", tmp_path / "lock", stdin=lines(study("s1"))).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pair", "missing.jsonl"], 65, "missing.jsonl: no such file"),
        (["pair", "--no-such-option"], 2, "No such option"),
        (["pair", "--split", "sideways"], 2, "--split takes"),
        (["pair", "--overlap", "wide"], 2, "--overlap takes"),
        (["pair", "--regions", "fractions:1,2"], 2, "--regions takes"),
        (["pair", "--max-failures", "some"], 2, "--max-failures takes"),
        (["pair", "--shard", "3/2"], 2, "--shard takes"),
        (["scor"], 2, "score"),
    ],
)
def test_usage(petct: Petct, arguments: list[str], code: int, message: str) -> None:
    result = petct(*arguments)
    assert result.code == code
    assert message in result.stderr


def test_shards_partition_the_records(petct: Petct) -> None:
    stdin = lines(*(study(f"s{number}") for number in range(30)))
    parts = [petct("pair", "--shard", f"{index}/3", stdin=stdin).stdout.splitlines() for index in (1, 2, 3)]
    assert all(parts)
    assert sorted(line for part in parts for line in part) == sorted(petct("pair", stdin=stdin).stdout.splitlines())


def test_dry_run_writes_nothing(petct: Petct) -> None:
    result = petct("pair", "--dry-run", stdin=lines(study("s1")))
    assert (result.code, result.stdout) == (0, b"")
    assert "would work on s1" in result.stderr


def test_json_logs(petct: Petct, tmp_path: Path) -> None:
    petct("pair", "--json-logs", tmp_path / "log", stdin=lines(study("s1", ct=None)))
    events = [orjson.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert events[-1]["event"] == "finish"
    assert [event["code"] for event in events if event["event"] == "fault"] == ["no_ct"] * 3


BUG = """
import sys
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records
from petct_cli.core.records import Study

class Broken:
    name, version, consumes = "broken", "1", (Study,)
    def __call__(self, record):
        if record.id == "s1":
            raise ValueError("Nguyen Van A, born 1950")
        return [record]

run(Broken(), read_records(None), Shared())
"""


def test_a_bug_fails_one_record_and_shows_no_value() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUG], input=lines(study("s1"), study("s2")), capture_output=True, env=clean_environment()
    )
    assert done.returncode == 70
    records = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [record.get("error", {}).get("code") for record in records] == ["bug", None]
    assert b"Nguyen" not in done.stdout + done.stderr


def test_a_terminal_on_stdin_prints_help() -> None:
    import pty

    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "petct_cli", "pair"], stdin=slave, capture_output=True, env=clean_environment()
    )
    os.close(master)
    os.close(slave)
    assert done.returncode == 2
    assert b"Usage:" in done.stderr
    assert done.stdout == b""


def test_progress_on_a_terminal_is_a_bar_and_stdout_stays_data(tmp_path: Path) -> None:
    import pty

    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "petct_cli", "pair"],
        input=lines(study("s1")),
        stdout=subprocess.PIPE,
        stderr=slave,
        env=clean_environment({"TERM": "xterm"}),
    )
    os.close(slave)
    shown = os.read(master, 1 << 16)
    os.close(master)
    assert b"petct pair" in shown
    assert [orjson.loads(line)["study"] for line in done.stdout.splitlines()] == ["s1"] * 3


def test_a_record_under_jobs_does_not_wait_for_the_next_line() -> None:
    process = start("pair", "--jobs", "2", "--duplicates", "off")
    assert process.stdin
    assert process.stdout
    process.stdin.write(lines(study("s1")))
    process.stdin.flush()
    assert b"s1/head_neck/report" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert b"Fatal" not in process.communicate()[1]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_fail_fast_keeps_what_came_before_a_bad_line(petct: Petct, jobs: str) -> None:
    result = petct("pair", "--fail-fast", "--jobs", jobs, stdin=lines(study("s1"), study("s2"), b"nonsense"))
    assert result.code == 1
    assert {record["study"] for record in result.records} == {"s1", "s2"}


def test_a_percentage_is_of_the_records_given(petct: Petct) -> None:
    inherited = study("s0", pet=None, error={"stage": "convert", "code": "no_pet", "message": "m"})
    assert petct("pair", "--max-failures", "10%", stdin=lines(inherited)).code == 0
    own = [study(f"s{number}") for number in range(1, 10)]
    # One study of ten is three failed samples of thirty.
    assert petct("pair", "--max-failures", "10%", stdin=lines(*own, study("s10", pet=None))).code == 0
    assert petct("pair", "--max-failures", "9%", stdin=lines(*own, study("s10", pet=None))).code == 1
    assert petct("pair", "--max-failures", "100%", stdin=lines(study("s1", schema=9))).code == 0


def test_a_named_pipe_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(study("s1")))
    script = f"{sys.executable} -m petct_cli pair <(cat a.jsonl)"
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b"\n") == 3


def test_an_id_gives_no_command_to_the_terminal(petct: Petct) -> None:
    result = petct("pair", stdin=lines(study("a\x1b[31m\nb", pet=None)))
    assert "\x1b" not in result.stderr
    assert len(result.stderr.splitlines()) == 4


def test_byte_order_marks_and_other_line_ends(petct: Petct) -> None:
    one = lines(study("s1"))
    for stdin in (b"\xef\xbb\xbf" + one, b"\xef\xbb\xbf\n" + one, one.replace(b"\n", b"\r\n"), one.rstrip(b"\n")):
        result = petct("pair", stdin=stdin)
        assert (result.code, len(result.records)) == (0, 3)


def test_a_bad_line_with_an_id_belongs_to_one_shard(petct: Petct) -> None:
    stdin = lines(study("s1", schema=9))
    assert sorted(petct("pair", "--shard", f"{part}/3", stdin=stdin).code for part in (1, 2, 3)) == [0, 0, 1]
