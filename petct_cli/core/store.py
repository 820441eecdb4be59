"""Outputs that appear whole or not at all, and are not made twice.

Each study (or model) owns one folder below the output root. It is written under a temporary name beside its place,
synced once and renamed. The finished records lie inside, under the key they were made from, so that a rerun re-emits
them without work; a killed run leaves at most a temporary folder, which the next one removes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import OutputError, PetctError, RecordError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.jsonl import decode, encode
from petct_cli.core.records import Record

_TRIES = 8
_LONGEST_NAME = 200


class Store:
    """The output folder of one stage.

    Parameters
    ----------
    root
        The ``-o`` argument as the user typed it.
    stage
        Name of the stage; two stages may share a root.
    """

    def __init__(self, root: Path, stage: str) -> None:
        self.root = root
        self.stage = stage

    def key(self, inputs: Sequence[str], options: Mapping[str, Any], version: str) -> str:
        """Return the key under which work on `inputs` (hashes) with `options` is finished or not."""
        return sha256_json([self.stage, version, list(inputs), dict(options)])

    def lookup(self, name: str, key: str) -> list[Record] | None:
        """Return the records of finished work, or None when it was never finished under this key.

        Raises
        ------
        RecordError
            ``bad_id`` when `name` cannot be the name of a folder.
        """
        check_name(name)
        try:
            saved = orjson.loads(self._receipt(self.root / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
            return None
        except OSError as error:
            raise OutputError("output_unreadable", f"cannot read {self.root}: {error.strerror}") from None
        try:
            if saved["key"] != key or not _all_there(self.root / name, saved["files"]):
                return None
            return [decode(orjson.dumps(record)) for record in saved["records"]]
        except (AttributeError, KeyError, TypeError, RecordError):
            return None  # a receipt of another make: the work is done anew

    def once(self, name: str, key: str | Callable[[], str], build: Callable[[Path], list[Record]]) -> list[Record]:
        """Return the records of `name`, building it only when it is not finished under `key`.

        Parameters
        ----------
        name
            Folder below the root, a single path component (an id from outside may be none).
        key
            The key, or what finds it out. The latter is asked before the work only where there is something finished to
            hold against it, else after: inputs that the work reads anyway need not be read for their hashes first.
        build
            Writes the outputs into the temporary folder it is given and returns the records, which speak of the final
            place (``root / name``).

        Raises
        ------
        OutputError
            The operating system refused (disk full, no permission); nothing half-made stays.
        RecordError
            ``bad_id`` when `name` cannot be the name of a folder, ``input_unreadable`` when `build` could not read.
        """
        if isinstance(key, str) or self._is_finished(name):
            earlier = self.lookup(name, key if isinstance(key, str) else key())
            if earlier is not None:
                return earlier
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_stale(name)
            temporary = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=self.root))
            with _in_use(temporary):
                try:
                    temporary.chmod(0o777 & ~_umask())
                    records = build(temporary)
                    finished = [orjson.loads(encode(record)) for record in records]
                    receipt = {
                        "key": key if isinstance(key, str) else key(),
                        "files": _sizes(temporary),
                        "records": finished,
                    }
                    self._receipt(temporary).write_bytes(orjson.dumps(receipt))
                    sync_filesystem(temporary)
                    self._replace(temporary, self.root / name)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise
        except OSError as error:
            raise self._explain(error) from None
        return records

    def _is_finished(self, name: str) -> bool:
        check_name(name)
        return self._receipt(self.root / name).exists()

    def withdraw(self, name: str) -> None:
        """Remove the finished work of `name`, whatever key it was finished under; nothing when there is none."""
        if self._is_finished(name):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def _explain(self, error: OSError) -> PetctError:
        """Tell a full or forbidden output, which ends the run, from one unreadable input, which fails one record."""
        own = error.filename is None or _is_below(os.fsdecode(error.filename), self.root)
        if own or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return OutputError("output_failed", f"cannot write below {self.root}: {error.strerror}")
        return RecordError("input_unreadable", f"cannot read an input file: {error.strerror}")

    def _receipt(self, folder: Path) -> Path:
        return folder / f".petct-{self.stage}.json"

    def _remove_stale(self, name: str) -> None:
        for left in self.root.glob(f".{glob.escape(name)}.tmp-*"):
            if not _is_in_use(left):
                shutil.rmtree(left, ignore_errors=True)

    @staticmethod
    def _replace(new: Path, target: Path) -> None:
        """Put `new` in the place of `target`, also when another process does the same at this moment."""
        old = new.with_name(new.name + ".old")
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                target.rename(old)
            try:
                new.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                break
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def check_name(name: str) -> None:
    """Refuse what is no folder of its own below the root: an id may come from anywhere."""
    plain = name.isprintable() and "/" not in name and not name.startswith(".")
    if not name or not plain or len(os.fsencode(name)) > _LONGEST_NAME:
        raise RecordError("bad_id", "the id cannot be the name of a folder", "no slash, no leading dot, not too long")


def _is_below(path: str, root: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Mark `folder` as being written while the body runs; the kernel takes the mark off a killed process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # A file system may have no locks: two runs into one folder are then the user's to avoid.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_in_use(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of every file below `folder`, by its path in there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def _all_there(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Say whether the files that were written are still as long as they were: a receipt alone is no output."""
    try:
        return all(os.stat(folder / name).st_size == size for name, size in sizes.items())
    except OSError:
        return False


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write one small file whole or not at all, synced; a link stays one.

    Raises
    ------
    OutputError
        The operating system refused, or `path` is a device, pipe or folder: a rename would replace it.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.tmp-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, mode if mode is not None else 0o666 & ~_umask())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError("output_failed", f"cannot write {path}: {error.strerror}") from None


def refuse_unwritable(path: Path) -> None:
    """Say at once, not after an hour of work, that no file can be written at `path`.

    Raises
    ------
    OutputError
        ``output_failed``: a device, pipe or folder is there, or its folder, or the nearest there is, takes no file.
    """
    target = Path(os.path.realpath(path))
    above = next(folder for folder in target.parents if folder.exists())
    there = target.exists()
    if (there and not target.is_file()) or not above.is_dir() or not os.access(target if there else above, os.W_OK):
        raise OutputError("output_failed", f"cannot write {path}")


def sync_filesystem(folder: Path) -> None:
    """Bring everything written below `folder` to the disk with one call, not one per file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs = _libc_function("syncfs")
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def start_writing_back(descriptor: int) -> None:
    """Let the disk begin on an open file's bytes, so that `sync_filesystem` has little left to wait for.

    A hint: where the system knows no such call, nothing happens.
    """
    start = _libc_function("sync_file_range")
    if start is not None:
        start(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _libc_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
