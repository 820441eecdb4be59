"""A private folder for what must lie on disk as long as a run, and no longer: patients' files and names."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from petct_cli.core.errors import OutputError

PREFIX = "petct-scratch-"
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_YOUNG_S = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder of mode 0700 below TMPDIR, and remove it when the body is done.

    It goes after an error, an interrupt (SIGINT), SIGTERM and SIGHUP too. The latter two, left to themselves, would end
    Python on the spot: here they interrupt the body, and `SystemExit` (143, 129) follows. Only SIGKILL and a power cut
    leave the folder, as ``$TMPDIR/petct-scratch-*``: the next run of the same user on the same machine removes it.
    Workers on other machines (Dask) see it only where TMPDIR is on a file system that they share.

    Raises
    ------
    OutputError
        ``scratch_unwritable``: there is no place for temporary files.
    """
    try:
        _remove_left(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        message = f"no place for temporary files: {error.strerror}"
        raise OutputError("scratch_unwritable", message, "set TMPDIR to a folder with room") from None
    try:
        # The kernel takes this mark off a killed process; a file system without locks has no removal of what is left.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _removed_on_signals(folder):
            yield folder
    finally:
        _remove(folder)
        os.close(descriptor)


@contextmanager
def _removed_on_signals(folder: Path) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    ended: list[int] = []

    def end(number: int, _frame: Any) -> None:
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        ended.append(number)
        _remove(folder)  # now: work in progress may take longer than the patience of whoever sent the signal
        raise KeyboardInterrupt

    # One that is ignored (nohup) or already handled stays as it is.
    before = {number: signal.signal(number, end) for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ended:  # said here, because an exception may get lost where a signal strikes (finalizers)
            raise SystemExit(128 + ended[0])


def _remove(folder: Path) -> None:
    """Remove `folder` though a thread may still write into it, and though a second interrupt may come."""
    gone = folder.with_name(folder.name + ".gone")
    with _no_interrupts():
        with suppress(OSError):
            folder.rename(gone)  # whoever still writes under the old name fails
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _remove_left(parent: Path) -> None:
    """Remove what killed runs of this user left: folders that no process holds a lock on."""
    for left in parent.glob(PREFIX + "*"):
        with suppress(OSError):
            status = left.lstat()
            # A run makes its folder a moment before it locks it: the young ones are let be.
            old = time.time() - status.st_mtime > _YOUNG_S
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and old and not _is_locked(left):
                shutil.rmtree(left, ignore_errors=True)


def _is_locked(folder: Path) -> bool:
    """Say whether a process holds the lock on `folder`, or nobody can tell."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
