"""``petct score --append``: one line per run, whatever happens in between."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from petct_cli.core.errors import OutputError
from petct_cli.core.score_records import ScoreLog
from petct_cli.stages.score_log import LogFile, summary
from tests.conftest import REPOSITORY, clean_environment, environment_on_a_full_disk
from tests.samples import lines

RECORDS = lines(*({"id": f"i{n}", "patient": f"p{n}", "reference": f"x y {n}", "hypothesis": "x y"} for n in range(6)))
ARGUMENTS = ("score", "--metrics", "rouge1", "--bootstrap", "99")


def log_line(identity: str) -> ScoreLog:
    fields: dict[str, Any] = {"id": identity, "version": "0", "options": {}, "inputs": [], "scores": []}
    return ScoreLog(**fields)


def ids(path: Path) -> list[str]:
    return [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_a_run_is_one_line_and_the_same_run_adds_none(petct: Any, tmp_path: Path) -> None:
    kept = tmp_path / "results.jsonl"
    first = petct(*ARGUMENTS, "--append", kept, stdin=RECORDS)
    assert (first.code, first.stderr) == (0, "")
    line = orjson.loads(kept.read_bytes())
    own = first.records[0]
    assert line["type"] == "score_log"
    assert line["inputs"] == [
        {"system": None, "samples": 6, "sha256": line["inputs"][0]["sha256"]},
    ]
    assert line["options"]["resamples"] == 99
    score = line["scores"][0]
    assert (score["metric"], score["value"], score["ci95"], score["n"]) == ("rouge1", own["value"], own["ci95"], 6)
    shuffled = next(one for one in first.records if one.get("control") == "shuffled")
    assert score["image_signal"] == shuffled["counts"]["image_signal"]
    assert score["p_value"] == shuffled["counts"]["p_value"]

    before = kept.read_bytes()
    again = petct(*ARGUMENTS, "--append", kept, stdin=RECORDS)
    assert again.code == 0
    assert "has the same input and options already: nothing added" in again.stderr
    assert again.stdout == first.stdout
    assert kept.read_bytes() == before
    for arguments, stdin in ((("--seed", "1"), RECORDS), ((), RECORDS.replace(b"x y 3", b"x y 4"))):
        assert petct(*ARGUMENTS, *arguments, "--append", kept, stdin=stdin).code == 0
    assert len(set(ids(kept))) == 3
    assert b"/" not in kept.read_bytes()


def test_how_it_is_shown_does_not_make_another_run(petct: Any, tmp_path: Path) -> None:
    for form in ("csv", "table", "jsonl"):
        assert petct(*ARGUMENTS, "--append", "r.jsonl", "--format", form, stdin=RECORDS, cwd=tmp_path).code == 0
    assert len(ids(tmp_path / "r.jsonl")) == 1


def test_a_held_lock_is_75_and_adds_nothing(petct: Any, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = petct(*ARGUMENTS, "--append", "r.jsonl", "--lock", "lock", stdin=RECORDS, cwd=tmp_path)
    assert done.code == 75
    assert done.stdout == b""
    assert not (tmp_path / "r.jsonl").exists()
    assert petct(*ARGUMENTS, "--append", "r.jsonl", "--lock", "lock", stdin=RECORDS, cwd=tmp_path).code == 0
    assert len(ids(tmp_path / "r.jsonl")) == 1


@pytest.mark.parametrize("other", [("--lock", "r.jsonl"), ("r.jsonl",)])
def test_the_file_is_neither_input_nor_lock(petct: Any, tmp_path: Path, other: tuple[str, ...]) -> None:
    (tmp_path / "r.jsonl").write_bytes(RECORDS)
    done = petct(*ARGUMENTS, *other, "--append", tmp_path / "r.jsonl", stdin=RECORDS, cwd=tmp_path)
    assert done.code == 2
    assert (tmp_path / "r.jsonl").read_bytes() == RECORDS


def test_what_cannot_be_written_is_said_before_the_work(petct: Any, tmp_path: Path) -> None:
    done = petct(*ARGUMENTS, "--append", tmp_path / "no" / "r.jsonl", stdin=RECORDS)
    assert (done.code, done.stdout) == (74, b"")


def test_a_run_cut_off_by_a_closed_pipe_is_none(tmp_path: Path) -> None:
    many = RECORDS + lines(*({"id": f"j{n}", "reference": "x", "hypothesis": "x", "region": n} for n in range(3000)))
    (tmp_path / "in.jsonl").write_bytes(many)
    command = [sys.executable, "-m", "petct_cli", *ARGUMENTS, "in.jsonl", "--append", "r.jsonl", "--no-controls"]
    environment = clean_environment({"PYTHONPATH": str(REPOSITORY)})
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 141
    assert not (tmp_path / "r.jsonl").exists()


def test_half_a_line_is_taken_away_and_told(petct: Any, tmp_path: Path) -> None:
    kept = tmp_path / "r.jsonl"
    assert petct(*ARGUMENTS, "--append", kept, stdin=RECORDS).code == 0
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    done = petct(*ARGUMENTS, "--append", kept, stdin=RECORDS)
    assert done.code == 0
    assert "ended in half a line, which is removed" in done.stderr
    assert kept.read_bytes() == whole


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "r.jsonl"
    LogFile(kept).add(log_line("a"))
    kept.write_bytes(kept.read_bytes().rstrip(b"\n"))
    assert not LogFile(kept).add(log_line("a"))
    assert LogFile(kept).add(log_line("b"))
    assert ids(kept) == ["a", "b"]


def test_lines_of_others_stay(tmp_path: Path) -> None:
    kept = tmp_path / "r.jsonl"
    kept.write_bytes(b'# by hand\n{"id": "a"}\n[1]\n')
    assert LogFile(kept).add(log_line("a"))
    assert kept.read_bytes().startswith(b'# by hand\n{"id": "a"}\n[1]\n{')


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "r.jsonl"
    LogFile(kept).add(log_line("a"))
    before = kept.read_bytes()
    script = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2]);"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20}, {len(before) + 20}));"
        "from pathlib import Path; from tests.test_score_log import LogFile, log_line;"
        "LogFile(Path(sys.argv[1])).add(log_line('b'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, kept, REPOSITORY],
        capture_output=True,
        text=True,
        env=environment_on_a_full_disk(),
    )
    assert "output_failed" in done.stderr
    assert kept.read_bytes() == before


def test_runs_at_the_same_time_add_a_line_each(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]);"
        "from pathlib import Path; from tests.test_score_log import LogFile, log_line;"
        "[LogFile(Path(sys.argv[1])).add(log_line(f'{sys.argv[3]}-{n}')) for n in range(40)]"
    )
    kept = tmp_path / "r.jsonl"
    command = [sys.executable, "-c", script, str(kept), str(REPOSITORY)]
    running = [subprocess.Popen([*command, name], env=clean_environment()) for name in ("a", "b", "a")]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(ids(kept)) == sorted(f"{name}-{n}" for name in "ab" for n in range(40))


def test_a_text_encoder_is_named_without_its_place() -> None:
    from petct_cli.core.records import AnyRecord
    from petct_cli.stages.score import Score
    from petct_cli.stages.score_wording import Wording

    wording = Wording(bert_model="/home/someone/encoder")
    fields: dict[str, Any] = {"id": "a", "reference": "x", "hypothesis": "x"}
    run = Score(metrics=("rouge1",), wording=wording).run([AnyRecord(**fields)])
    line = summary(run, run.scores())
    assert line.options["wording"]["bert_model"] == "encoder"
    assert b"someone" not in orjson.dumps(line.to_json())


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        LogFile(tmp_path)
