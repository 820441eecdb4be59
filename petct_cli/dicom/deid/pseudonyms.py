"""Keyed pseudonyms: HMAC-SHA256 of identifiers, the same on every machine, not reversible without the key."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from petct_cli.core.errors import OutputError, UsageError

_MIN_KEY_BYTES = 16
_EARLIEST, _LATEST = -3650, -30
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class Key:
    """A secret key. Its bytes show in no representation; `key_id` may stand in records."""

    secret: bytes = field(repr=False)

    def digest(self, *parts: str) -> bytes:
        """Return the HMAC of `parts`, which cannot run into each other."""
        message = b"".join(
            len(part).to_bytes(8, "big") + part for part in (p.encode("utf-8", "replace") for p in parts)
        )
        return hmac.digest(self.secret, message, "sha256")

    @property
    def key_id(self) -> str:
        """Name of the key: 16 hex digits of a hash derived from it."""
        return self.digest("key-id").hex()[:16]

    def uid(self, uid: str) -> str:
        """Return the UID that replaces `uid`: 2.25 with an integer of 122 bits (PS3.5 B.2)."""
        number = int.from_bytes(self.digest("uid", uid)[:16], "big") >> 6
        return f"2.25.{number | 1 << 121}"

    def patient(self, patient: str) -> str:
        """Return the pseudonym of a patient: ``P`` and 12 base-32 characters (60 bits)."""
        return "P" + _base32(self.digest("patient", patient), 12)

    def accession(self, number: str, loosely: str) -> str:
        """Return the pseudonym of an accession number, nothing for none.

        ``A`` and 12 base-32 characters (60 bits) for the number however written, then 4 for the way it is written: so
        that a near miss of two numbers shows in their pseudonyms, and nothing else does.

        Parameters
        ----------
        number, loosely
            The number as matching compares it (`petct_cli.dataset.matching.writings`): as written, and without noughts
            and separators.
        """
        if not number:
            return ""
        alike, exact = self.digest("accession", loosely), self.digest("accession-writing", number)
        return f"A{_base32(alike, 12)}-{_base32(exact, 4)}"

    def study(self, identity: str) -> str:
        """Return the pseudonym of a study: 16 hex digits."""
        return self.digest("study", identity).hex()[:16]

    def day_offset(self, patient: str) -> int:
        """Return the whole days by which all dates of `patient` move: -3650..-30."""
        number = int.from_bytes(self.digest("day-offset", patient)[:8], "big")
        return _EARLIEST + number % (_LATEST - _EARLIEST + 1)

    def fingerprint(self, data: str) -> str:
        """Return a hash of `data` that only the holder of the key can confirm."""
        return self.digest("fingerprint", data).hex()


def _base32(digest: bytes, length: int) -> str:
    """Return the first 5 x `length` bits of a digest, 60 at most, the lowest first."""
    number = int.from_bytes(digest[:8], "big")
    return "".join(_BASE32[number >> shift & 31] for shift in range(0, 5 * length, 5))


def raw_study_id(study_instance_uid: str) -> str:
    """Return the id of a study that was never anonymised: first 16 hex digits of sha256(StudyInstanceUID)."""
    return sha256(study_instance_uid.encode()).hexdigest()[:16]


def load_key(path: Path, *, new: bool = False) -> Key:
    """Read the key file, or make it (mode 0600) when `new` and it is not there yet.

    Raises
    ------
    UsageError
        ``key_missing``, ``key_unreadable``, ``key_too_short`` or ``key_exposed`` (others than the owner may read it).
    OutputError
        ``key_unwritable``.
    """
    if new and not path.exists():
        return _make_key(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise UsageError("key_missing", f"{path}: no such key file", "--new-key makes it") from None
    except OSError as error:
        raise UsageError("key_unreadable", f"{path}: {error.strerror}") from None
    if len(secret) < _MIN_KEY_BYTES:
        raise UsageError("key_too_short", f"{path}: a key has at least {_MIN_KEY_BYTES} bytes", "--new-key makes one")
    if mode & 0o077:
        raise UsageError("key_exposed", f"{path}: others can read this key", f"chmod 600 {path}")
    return Key(secret)


def passing_key() -> Key:
    """Return a new key that is kept nowhere, for a dry run."""
    return Key(secrets.token_bytes(32))


def _make_key(path: Path) -> Key:
    secret = secrets.token_hex(32).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return load_key(path)
    except OSError as error:
        raise OutputError("key_unwritable", f"{path}: {error.strerror}") from None
    return Key(secret)
