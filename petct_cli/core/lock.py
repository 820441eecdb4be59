"""One run at a time, for cron."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petct_cli.core.errors import LockHeldError, OutputError


@contextmanager
def exclusive(path: Path | None) -> Iterator[None]:
    """Hold an advisory lock on `path` while the body runs; None locks nothing.

    Raises
    ------
    LockHeldError
        ``lock_held`` when another process holds it. The kernel frees the lock of a killed process.
    """
    if path is None:
        yield
        return
    try:
        file = path.open("a")
    except OSError as error:
        raise OutputError("output_failed", f"cannot open the lock {path}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeldError("lock_held", f"another run holds {path}") from None
        yield
