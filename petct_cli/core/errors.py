"""Faults as values: one exception type with a stable code, a message without patient values, and an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every ``petct`` command (sysexits.h where it has a word for it)."""

    OK = 0
    RECORDS_FAILED = 1
    USAGE = 2
    INPUT_UNUSABLE = 65
    BUG = 70
    IO = 74
    LOCK_HELD = 75
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class PetctError(Exception):
    """A fault that the user can act on.

    Parameters
    ----------
    code
        Stable machine-readable name, snake_case (``suv_missing_weight``).
    message
        One line for a person: names file, line and field, never a patient's value.
    hint
        What to try next, if there is something to try.

    Raised from inside a stage it fails the one record being worked on; raised outside of one it ends the command
    with `exit_code`.
    """

    exit_code: ExitCode = ExitCode.RECORDS_FAILED

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class RecordError(PetctError):
    """One record cannot be processed; the rest of the stream goes on."""


@dataclass(frozen=True)
class InputFault:
    """A part of the input that gives no record while others do: where it stands, and why as a code and a message."""

    place: str
    code: str
    message: str


class UsageError(PetctError):
    """The command line asks for something that cannot be meant."""

    exit_code = ExitCode.USAGE


class InputError(PetctError):
    """The input as a whole is unusable (no such file, not a folder of DICOM)."""

    exit_code = ExitCode.INPUT_UNUSABLE


class OutputError(PetctError):
    """Reading or writing failed in the operating system (disk full, no permission): the run cannot go on."""

    exit_code = ExitCode.IO


class LockHeldError(PetctError):
    """Another run holds the lock file."""

    exit_code = ExitCode.LOCK_HELD


class InternalError(PetctError):
    """A fault of petct itself."""

    exit_code = ExitCode.BUG
