"""The README's commands run as written, and that is the whole way from a DICOM folder to a score."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from conftest import REPOSITORY, clean_environment

README = (REPOSITORY / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """Run the shell block of the README in an empty folder; the scores are what its last line prints."""
    folder = tmp_path_factory.mktemp("readme")
    (block,) = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    script = f"set -euo pipefail\n{block}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, env=clean_environment({"PATH": path})
    )
    assert done.returncode == 0, done.stderr
    return folder, [orjson.loads(line) for line in done.stdout.splitlines()]


def test_the_way_ends_in_scores_with_controls(walked: tuple[Path, list[dict[str, object]]]) -> None:
    _, records = walked
    scores = [record for record in records if record["type"] == "score"]
    assert {"bleu4", "site_f1"} <= {score["metric"] for score in scores}
    assert {"template", "shuffled", "self"} <= {score.get("control") for score in scores}


def test_nothing_of_the_patients_is_left_behind_the_first_stage(walked: tuple[Path, list[dict[str, object]]]) -> None:
    folder, _ = walked
    patients = [orjson.loads(line)["patient"] for line in (folder / "raw.jsonl").read_bytes().splitlines()]
    later = [folder / "samples.jsonl", *(path for path in (folder / "clean").rglob("*") if path.is_file())]
    text = b"".join(path.read_bytes() for path in later)
    assert len(patients) == 16
    assert not [patient for patient in patients if patient.encode() in text]


def test_every_command_stands_in_the_readme() -> None:
    from petct_cli.app import COMMANDS

    assert all(f"| `petct {name}` |" in README for name in COMMANDS)
    assert README.index("make demo") < README.index("make test") < 400


def test_the_library_example_is_right(walked: tuple[Path, list[dict[str, object]]]) -> None:
    folder, _ = walked
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    path = next((folder / "vol").glob("*/pet.b2nd"))
    told = {}
    exec(block.replace("vol/0a1b2c3d4e5f6789/pet.b2nd", str(path)), told)
    assert told["path"] == path
    assert (told["patch"] == told["pet"][40:60, 8:40, 16:48]).all()
    record = next(orjson.loads(line) for line in (path.parent / ".petct-convert.json").read_bytes().splitlines())[
        "records"
    ][0]
    affine = record["pet"]["affine"]
    assert told["z_mm"] == pytest.approx(affine[2][0] * 40 + affine[2][3])
