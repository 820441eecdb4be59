"""Fixtures shared by all tests: the command as a user runs it, and the real material where it is at hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from petct_cli.cli.early import ENVIRONMENT

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """What a finished command left behind."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.stdout.splitlines()]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's environment without what would hide a fault of ours (unbuffered output, forced colours, our own)."""
    hidden = ("PYTHONUNBUFFERED", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS", "LINES", *ENVIRONMENT)
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "OMP_NUM_THREADS": "1", **(extra or {})}


def environment_on_a_full_disk() -> dict[str, str]:
    """Return it for a process whose files may not grow: Python would leave its own caches cut short."""
    return clean_environment({"PYTHONDONTWRITEBYTECODE": "1"})


def default_signals() -> None:
    """Run first in a process that a test will signal: whoever started the tests may ignore signals (nohup, a job)."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def petct() -> Callable[..., Result]:
    """Run ``petct ARGS`` in a real process: ``petct("pair", "-", stdin=b"...", cwd=..., env=...)``."""

    def call(
        *arguments: str | Path,
        stdin: bytes = b"",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        bare: bool = False,
        timeout: float = 300,
    ) -> Result:
        environment = dict(env or {}) if bare else clean_environment(env)
        done = subprocess.run(
            [sys.executable, "-m", "petct_cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=environment,
            timeout=timeout,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real material (``../shared/data`` or ``PETCT_DATA``); tests that use it are marked ``real``."""
    folder = Path(os.environ.get("PETCT_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the real material is not here: set PETCT_DATA to its folder")
    return folder
