"""Records that wait on disk until the last is in: memory does not grow with their number, nor does order matter."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petct_cli.core.errors import OutputError

_PAGES_KIB = 8192


@contextmanager
def scratch_faults() -> Iterator[None]:
    """Let a database in a temporary folder fail as any other file there does.

    Raises
    ------
    OutputError
        ``scratch_unwritable``: the disk is full, or refuses.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        message = f"cannot write temporary files: {error}"  # SQLite's own words: of files and disks, of no value
        raise OutputError("scratch_unwritable", message, "set TMPDIR to a folder with room") from None


class Spool:
    """Bodies by group, in an order drawn from a hash of their keys.

    Parameters
    ----------
    path
        A file of its own in a folder that goes away with the run; made with the first record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = sqlite3.connect(self._path, isolation_level=None)
            # A run that dies leaves nothing worth keeping, so that nothing needs to be safe.
            for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_PAGES_KIB}"):
                self._open.execute(f"PRAGMA {setting}")
            self._open.execute(
                "CREATE TABLE waiting (grp TEXT, place BLOB, key TEXT, body BLOB, PRIMARY KEY (grp, place, key))"
                " WITHOUT ROWID"
            )
        return self._open

    def add(self, group: str, key: str, body: bytes, order: str | None = None) -> None:
        """Keep `body`; of two with one key in a group the smaller stays, whichever came first.

        Parameters
        ----------
        order
            What the order within the group goes by, in place of a hash of `key`.

        Raises
        ------
        OutputError
            ``scratch_unwritable``.
        """
        place = hashlib.sha256(key.encode()).digest()[:16] if order is None else order.encode()
        with scratch_faults():
            self._database.execute(
                "INSERT INTO waiting VALUES (?, ?, ?, ?)"
                " ON CONFLICT (grp, place, key) DO UPDATE SET body = min(body, excluded.body)",
                (group, place, key, body),
            )

    def sizes(self) -> dict[str, int]:
        """Return the number of bodies in each group."""
        if self._open is None:
            return {}
        return dict(self._database.execute("SELECT grp, count(*) FROM waiting GROUP BY grp ORDER BY grp"))

    def first(self, group: str, number: int = -1) -> Iterator[bytes]:
        """Yield the first `number` bodies of `group` in order; all by default."""
        rows = self._database.execute(
            "SELECT body FROM waiting WHERE grp = ? ORDER BY place, key LIMIT ?", (group, number)
        )
        for (body,) in rows:
            yield body
