"""``petct ARGS`` inside of the test's own process: for tests of what it does, not of how a process ends."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest.mock import patch

from conftest import Result

from petct_cli.app import main


def petct_here(*arguments: str | Path, cwd: Path, stdin: bytes = b"") -> Result:
    """Run the command in `cwd` and return what a process would have left behind."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    code = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "argv", ["petct", *map(str, arguments)]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
    ):
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
    out.flush()
    err.flush()
    return Result(code, out.buffer.getvalue(), err.buffer.getvalue().decode())
