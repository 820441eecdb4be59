"""De-identification under each option of PS3.15 switched on or off, and killed in the middle: nothing gets out."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conftest import Result, clean_environment
from dicom_factory import image
from plant import plant_image
from plant_people import PEOPLE, left_in

from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.anonymize import Anonymize

Petct = Callable[..., Result]
KEY = Key(b"a key of the tests, always the same")
PERSON = PEOPLE[0]
DAYS = {text for text in PERSON.secrets() if PERSON.study_day[:4] in text or text == "5-3-2024"} | {PERSON.birth}
SWITCHES = {
    "clean_graphics": (True, set[str]()),
    "clean_structured_content": (True, set[str]()),
    "clean_descriptors": (False, set[str]()),
    "clean_pixel_data": (False, set[str]()),
    "retain_device": (False, set[str]()),
    "retain_safe_private": (False, set[str]()),
    "retain_patient_characteristics": (False, set[str]()),
    "retain_modified_dates": (False, set[str]()),
    "retain_institution": (True, {PERSON.institution}),
    "retain_full_dates": (True, DAYS - {PERSON.uid} - {PERSON.birth}),
    "retain_uids": (True, {PERSON.uid, PERSON.study_day}),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switched")
    series = image("CT", np.arange(4096, dtype="<i2").reshape(64, 64), "1.2.3", 1)
    for number in range(40):
        plant_image(copy.deepcopy(series), PERSON, number + 1, folder / f"in/{PERSON.written[0]}/{number}", [])
    return folder


def everything_below(folder: Path) -> dict[str, bytes]:
    names = sorted(folder.rglob("*"))
    said = {"names": "\n".join(str(path.relative_to(folder)) for path in names).encode()}
    return said | {str(path): path.read_bytes() for path in names if path.is_file()}


@pytest.mark.parametrize("preset", ["tcia", "basic"])
@pytest.mark.parametrize("option", SWITCHES)
def test_no_switch_lets_out_what_it_does_not_name(option: str, preset: str, planted: Path, tmp_path: Path) -> None:
    on, kept = SWITCHES[option]
    (folder,) = (planted / "in").iterdir()
    few = tmp_path / "in"
    few.mkdir()
    for name in ("0", "1"):
        shutil.copy(folder / name, few / name)
    (study,) = scan_studies([few])
    (record,) = Anonymize(tmp_path / "out", KEY, preset, {option: on})(study)
    written = len(list((tmp_path / "out").rglob("*.dcm")))
    if option == "clean_graphics":
        # Curves and overlays stay, and these hold a number of the patient: the search afterwards refuses them.
        assert record.error is not None
        assert (record.error.code, written) == ("residual_identifier", 0)
        return
    assert record.error is None
    assert written == 2
    assert left_in(everything_below(tmp_path / "out"), PERSON.secrets() - kept) == []


def test_a_run_that_is_killed_leaves_nothing_of_the_patient(planted: Path, petct: Petct) -> None:
    """Killed as soon as a file is there: what lies below the output folder is clean, and the same command ends it."""
    (planted / "key").write_bytes(KEY.secret)
    (planted / "key").chmod(0o600)
    command = ("anonymize", "in", "-o", "killed", "--key-file", "key", "-q")
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", *command], cwd=planted, env=clean_environment(), stdout=subprocess.DEVNULL
    )
    for _ in count():
        if process.poll() is not None or any((planted / "killed").rglob("*.dcm")):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert left_in(everything_below(planted / "killed"), PERSON.secrets()) == []
    done = petct(*command, cwd=planted)
    whole = petct(*(part.replace("killed", "whole") for part in command), cwd=planted)
    assert done.stdout.replace(b"killed/", b"whole/") == whole.stdout
    assert [path.name for path in (planted / "killed").iterdir()] == [record["id"] for record in done.records]


def test_two_jobs_write_the_same_bytes(planted: Path, petct: Petct, tmp_path: Path) -> None:
    for person in PEOPLE[1:4]:
        series = image("CT", np.arange(4096, dtype="<i2").reshape(64, 64), "1.2.3", 1)
        plant_image(series, person, 1, tmp_path / f"in/{person.number}/0", [])
    (tmp_path / "key").write_bytes(KEY.secret)
    (tmp_path / "key").chmod(0o600)
    found = []
    for jobs in ("1", "2"):
        result = petct("anonymize", "in", "-o", "out", "--key-file", "key", "-j", jobs, cwd=tmp_path)
        assert result.code == 0, result.stderr
        found.append((result.stdout, everything_below(tmp_path / "out")))
        shutil.rmtree(tmp_path / "out")
    assert found[0] == found[1]
    assert len(found[0][0].splitlines()) == 3
