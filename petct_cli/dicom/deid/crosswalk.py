"""The re-identification table: which pseudonym is whom, sealed line by line with a key derived from the key file.

Each line is a record of its own (`petct_cli.core.records.Crosswalk`) that stands under its pseudonyms: what is sealed
can be found by pseudonym and read by nobody without the key file. AES-256-GCM (NIST SP 800-38D) under a fresh nonce, so
that two lines of the same study differ and a changed line does not open.
"""

from __future__ import annotations

import base64
import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from petct_cli.core.errors import OutputError, RecordError
from petct_cli.core.jsonl import encode
from petct_cli.core.records import Crosswalk
from petct_cli.dicom.deid.pseudonyms import Key

_NONCE_BYTES = 12


def seal(key: Key, study: str, patient: str, values: dict[str, Any]) -> Crosswalk:
    """Return a line of the table with `values` sealed to the pseudonyms it stands under."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(key).encrypt(nonce, orjson.dumps(values), _bound_to(key, study, patient))
    return Crosswalk.model_validate(
        {"id": study, "patient": patient, "key_id": key.key_id, "sealed": base64.b64encode(sealed).decode()}
    )


def unseal(key: Key, line: Crosswalk) -> Crosswalk:
    """Return a line with its values open.

    Raises
    ------
    RecordError
        ``crosswalk_other_key`` (sealed with another key file), ``crosswalk_damaged`` (changed, or cut short).
    """
    from cryptography.exceptions import InvalidTag

    if line.key_id != key.key_id:
        raise RecordError("crosswalk_other_key", "the line was sealed with another key")
    try:
        sealed = base64.b64decode(line.sealed or "", validate=True)
        bound = _bound_to(key, line.id, line.patient)
        values = orjson.loads(_cipher(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound))
    except (InvalidTag, ValueError):
        raise RecordError("crosswalk_damaged", "the line does not open: it is not as it was written") from None
    return Crosswalk.model_validate({"id": line.id, "patient": line.patient, "key_id": line.key_id, **values})


def _cipher(key: Key) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key.digest("crosswalk"))


def _bound_to(key: Key, study: str, patient: str) -> bytes:
    return orjson.dumps(["petct crosswalk 1", key.key_id, study, patient])


@dataclass
class CrosswalkFile:
    """A table on disk (mode 0600) that processes append to: a study once, and again when its patient is another."""

    path: Path
    _known: set[tuple[str, str]] | None = field(default=None, init=False)

    def add(self, key: Key, study: str, patient: str, values: dict[str, Any]) -> None:
        """Append a study that is not in the table yet.

        Raises
        ------
        OutputError
            ``crosswalk_unwritable``.
        """
        try:
            if self._known is None:
                self._known = self._ids(key)
            if (study, patient) in self._known:
                return
            line = encode(seal(key, study, patient, values)) + b"\n"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                os.fchmod(descriptor, 0o600)
                size = os.fstat(descriptor).st_size
                # A run killed while it wrote leaves half a line: it must not swallow this one.
                begun = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
                os.write(descriptor, begun + line)
                os.fsync(descriptor)
        except OSError as error:
            raise OutputError("crosswalk_unwritable", f"cannot write the crosswalk: {error.strerror}") from None
        self._known.add((study, patient))

    def _ids(self, key: Key) -> set[tuple[str, str]]:
        found = set()
        try:
            with open(self.path, "rb") as file:
                for line in file:
                    try:
                        value = orjson.loads(line)
                        if value["key_id"] == key.key_id:
                            found.add((str(value["id"]), str(value["patient"])))
                    except (orjson.JSONDecodeError, KeyError, TypeError):
                        continue
        except FileNotFoundError:
            pass
        return found
