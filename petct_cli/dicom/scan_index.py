"""What a scan has found, on disk: a hospital's export has millions of files, and memory must not grow with them."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import OutputError
from petct_cli.dicom.heads import Head

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE folders (
    id INTEGER PRIMARY KEY, path BLOB UNIQUE, shown BLOB, owner INTEGER, shared INTEGER DEFAULT 0,
    images INTEGER DEFAULT 0
);
CREATE TABLE studies (id INTEGER PRIMARY KEY, uid BLOB UNIQUE, has_uid INTEGER);
CREATE TABLE series (id INTEGER PRIMARY KEY, study INTEGER, uid BLOB, modality TEXT, UNIQUE (study, uid));
CREATE TABLE facts (study INTEGER, name TEXT, value BLOB, PRIMARY KEY (study, name)) WITHOUT ROWID;
CREATE TABLE images (
    study INTEGER, number INTEGER, series INTEGER, folder INTEGER, name BLOB, instance BLOB,
    PRIMARY KEY (study, number)
) WITHOUT ROWID;
CREATE TABLE shapes (folder INTEGER, shape BLOB, PRIMARY KEY (folder, shape)) WITHOUT ROWID;
CREATE TABLE stumps (id INTEGER PRIMARY KEY, folder INTEGER, name BLOB);
CREATE TABLE unreadable (id INTEGER PRIMARY KEY, folder INTEGER, name BLOB);
CREATE INDEX unreadable_of_folder ON unreadable (folder);
CREATE TABLE faults (id INTEGER PRIMARY KEY, shown BLOB, what TEXT, place INTEGER, code TEXT, message TEXT);
CREATE TABLE seen (device INTEGER, inode INTEGER, PRIMARY KEY (device, inode)) WITHOUT ROWID;
CREATE TABLE listing (level INTEGER, name BLOB, kind TEXT, PRIMARY KEY (level, name)) WITHOUT ROWID;
"""
_BATCH = 500
_REMEMBERED = 1000
SHARED = -1
"""An owner of a folder that is no series."""


@dataclass(frozen=True)
class ScannedSeries:
    """The files of one series, sorted by path."""

    uid: str
    modality: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ScannedStudy:
    """One study: `id` is what its record will be called, `facts` are the record's fields about the patient.

    Attributes
    ----------
    unreadable
        Damaged DICOM files that lie in the study's folders and so may belong to it.
    whole_folders
        Those of its folders that hold nothing but one series.
    """

    id: str
    uid: str
    series: tuple[ScannedSeries, ...]
    unreadable: tuple[Path, ...]
    facts: dict[str, Any]
    whole_folders: frozenset[Path]


@dataclass(frozen=True)
class Fault:
    """An archive or folder that gives nothing: `what` it is, its number among its like, and its path as typed."""

    what: str
    place: int
    shown: Path
    code: str
    message: str


def study_id(name: str) -> str:
    """Return the record id of a study that was never anonymised: 16 hex of the hash of its Study Instance UID."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def name_shape(path: Path) -> str:
    """Return what the names of one series' files have in common: the name without its numbers.

    Examples
    --------
    >>> name_shape(Path("IM0007.dcm"))
    'IM#.dcm'
    """
    return re.sub(r"\d+", "#", path.name)


@contextmanager
def disk_faults() -> Iterator[None]:
    """Say of a full or failing disk what an `OSError` would.

    Raises
    ------
    OutputError
        ``scratch_unwritable``.
    """
    try:
        yield
    except sqlite3.Error:
        message = "the index of the scan cannot be written or read"
        raise OutputError("scratch_unwritable", message, "set TMPDIR to a folder with room") from None


class ScanIndex:
    """The index of one scan; the images of one study at a time come back from it.

    It is a temporary database of SQLite: a small one stays in memory, a large one goes to a file below TMPDIR (else
    /var/tmp; mode 0600) that has no name, so that not even a killed run leaves what stands in it.

    A path is kept twice: as it lies on disk, and as `shown` to the user, who knows an archive and not where it lies
    unpacked.
    """

    def __init__(self) -> None:
        # The scan may run in a thread of its own, and end in another.
        self._data = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._data.executescript(_TABLES)
        self._data.execute("BEGIN")  # never ended: nobody else reads it
        self._waiting: list[tuple[Any, ...]] = []
        self._known: dict[tuple[int, bytes], int] = {}
        self._said: tuple[Any, ...] = ()
        self._owned = (0, 0)
        self.images = 0
        self.damaged = 0

    def first_visit(self, status: os.stat_result) -> bool:
        """Say whether this file or folder was never seen before, under whatever name."""
        mark = (_signed(status.st_dev), _signed(status.st_ino))
        return self._data.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", mark).rowcount == 1

    def listed(self, level: int, entries: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, str]]:
        """Yield the (name, kind) of a folder's entries by name, however many they are; `level` is a new number."""
        rows = ((level, name, kind) for name, kind in entries)
        self._data.executemany("INSERT OR IGNORE INTO listing VALUES (?, ?, ?)", rows)
        return self._by_name(level)

    def _by_name(self, level: int) -> Iterator[tuple[bytes, str]]:
        last = b""
        query = "SELECT name, kind FROM listing WHERE level = ? AND name > ? ORDER BY name LIMIT ?"
        while batch := self._data.execute(query, (level, last, _BATCH)).fetchall():
            yield from batch
            last = batch[-1][0]
        self._data.execute("DELETE FROM listing WHERE level = ?", (level,))

    def folder(self, path: str, shown: str) -> int:
        """Return the number of a folder."""
        raw = os.fsencode(path)
        self._data.execute("INSERT OR IGNORE INTO folders (path, shown) VALUES (?, ?)", (raw, os.fsencode(shown)))
        return int(self._data.execute("SELECT id FROM folders WHERE path = ?", (raw,)).fetchone()[0])

    def own(self, folder: int, owner: int) -> None:
        """Note that something of a series (or else: `SHARED`) lies in a folder."""
        if self._owned == (folder, owner):
            return
        self._owned = (folder, owner)
        self._data.execute(
            "UPDATE folders SET shared = shared OR ?1 < 0 OR (owner IS NOT NULL AND owner != ?1), "
            "owner = coalesce(owner, ?1), images = images OR ?1 > 0 WHERE id = ?2",
            (owner, folder),
        )

    def add_image(self, folder: int, name: bytes, head: Head) -> None:
        """Add one DICOM file; without a Study or Series Instance UID it is grouped by its folder (and modality)."""
        study = self._number_of(
            "studies", 0, (head.study_uid or f"folder {folder}").encode(), {"has_uid": head.study_uid is not None}
        )
        series_uid = (head.series_uid or f"folder {folder} {head.modality}").encode()
        series = self._number_of("series", study, series_uid, {"study": study, "modality": head.modality})
        if self._said != (study, head.facts):
            self._said = (study, head.facts)
            rows = [(study, key, orjson.dumps(value)) for key, value in head.facts]
            self._data.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", rows)
        self.images += 1
        instance = None if head.study_uid is not None else (head.instance_uid or "").encode() or name
        self._waiting.append((study, self.images, series, folder, name, instance))
        if len(self._waiting) >= _BATCH:
            self._flush()
        self.own(folder, series)

    def _number_of(self, table: str, parent: int, uid: bytes, fields: dict[str, Any]) -> int:
        key = (parent, uid)
        if key in self._known:
            return self._known[key]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        names = ["uid", *fields]
        marks = ", ".join("?" * len(names))
        self._data.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608  our own names
            (uid, *fields.values()),
        )
        query = (
            "SELECT id FROM studies WHERE uid = ?2"
            if not parent
            else ("SELECT id FROM series WHERE study = ?1 AND uid = ?2")
        )
        number = int(self._data.execute(query, key).fetchone()[0])
        self._known[key] = number
        return number

    def _flush(self) -> None:
        self._data.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)", self._waiting)
        self._waiting.clear()

    def add_unreadable(self, folder: int, name: bytes) -> None:
        """Add a damaged file."""
        self._data.execute("INSERT INTO unreadable (folder, name) VALUES (?, ?)", (folder, name))
        self.damaged += 1
        self.own(folder, SHARED)

    def add_stump(self, folder: int, name: bytes) -> None:
        """Add a file too short to be anything: beside images with such a name it is what is left of one."""
        self._data.execute("INSERT INTO stumps (folder, name) VALUES (?, ?)", (folder, name))

    def add_fault(self, what: str, place: int, shown: str, code: str, message: str) -> None:
        """Add what gives nothing (`Fault`)."""
        self._data.execute(
            "INSERT INTO faults (what, place, shown, code, message) VALUES (?, ?, ?, ?, ?)",
            (what, place, os.fsencode(shown), code, message),
        )

    def finish(self) -> int:
        """Call stumps unreadable where images with such a name lie; return how many they were."""
        self._flush()
        beside = self._data.execute(
            "SELECT folder, name FROM images WHERE folder IN (SELECT DISTINCT folder FROM stumps)"
        )
        rows = ((folder, _shape(name)) for folder, name in beside)
        self._data.executemany("INSERT OR IGNORE INTO shapes VALUES (?, ?)", rows)
        before = self.damaged
        for folder, name in self._data.execute("SELECT folder, name FROM stumps ORDER BY id"):
            shape = _shape(name)
            if self._data.execute("SELECT 1 FROM shapes WHERE folder = ? AND shape = ?", (folder, shape)).fetchone():
                self.add_unreadable(folder, name)
        return self.damaged - before

    def faults(self) -> Iterator[Fault]:
        """Yield what gives nothing, in the order in which it was met."""
        query = "SELECT what, place, shown, code, message FROM faults ORDER BY id"
        for what, place, shown, code, message in self._data.execute(query):
            yield Fault(what, place, Path(os.fsdecode(shown)), code, message)

    def unreadable(self, *, named: bool, lost: bool = False) -> Iterator[Path]:
        """Yield the damaged files; `lost`: only those in whose folder no image lies, so that no study has them."""
        query = (
            "SELECT path, shown, name FROM unreadable JOIN folders ON folders.id = folder "
            "WHERE NOT (?1 AND images) ORDER BY unreadable.id"
        )
        for path, shown, name in self._data.execute(query, (lost,)):
            yield _join(shown if named else path, name)

    def studies(self, *, named: bool) -> Iterator[ScannedStudy]:
        """Yield the studies in the order of their first files, with paths as on disk or as `named` to the user."""
        for number, uid, has_uid in self._data.execute("SELECT id, uid, has_uid FROM studies ORDER BY id"):
            yield self._study(number, _text(uid), bool(has_uid), "shown" if named else "path")

    def _study(self, number: int, uid: str, has_uid: bool, column: str) -> ScannedStudy:
        files: dict[int, list[Path]] = {}
        folders: dict[int, tuple[bytes, bool]] = {}
        instances: list[str] = []
        query = "SELECT series, folder, name, instance FROM images WHERE study = ? ORDER BY number"
        for series, folder, name, instance in self._data.execute(query, (number,)):
            if folder not in folders:
                told = f"SELECT {column}, shared FROM folders WHERE id = ?"  # noqa: S608  path or shown
                path, shared = self._data.execute(told, (folder,)).fetchone()
                folders[folder] = (path, not shared)
            files.setdefault(series, []).append(_join(folders[folder][0], name))
            if not has_uid and instance is not None:
                instances.append(_text(instance))
        heads = self._data.execute("SELECT id, uid, modality FROM series WHERE study = ?", (number,))
        series = {key: (_text(own), str(modality)) for key, own, modality in heads}
        facts = self._data.execute("SELECT name, value FROM facts WHERE study = ?", (number,))
        return ScannedStudy(
            # Without a UID of its own a study is named by its images, wherever they lie.
            study_id(uid if has_uid else "\n".join(sorted(instances))),
            uid,
            tuple(ScannedSeries(series[key][0], series[key][1], tuple(sorted(some))) for key, some in files.items()),
            tuple(path for folder, (own, _) in folders.items() for path in self._unreadable_in(folder, own)),
            {name: orjson.loads(value) for name, value in facts},
            frozenset(_path(path) for path, whole in folders.values() if whole),
        )

    def _unreadable_in(self, folder: int, path: bytes) -> Iterator[Path]:
        query = "SELECT name FROM unreadable WHERE folder = ? ORDER BY id"
        return (_join(path, name) for (name,) in self._data.execute(query, (folder,)))


def _signed(number: int) -> int:
    """Return a number of 64 bits as SQLite takes it."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _shape(name: bytes) -> bytes:
    return os.fsencode(name_shape(_path(name)))


def _path(raw: bytes) -> Path:
    return Path(os.fsdecode(raw))


def _join(folder: bytes, name: bytes) -> Path:
    return _path(os.path.join(folder, name))
