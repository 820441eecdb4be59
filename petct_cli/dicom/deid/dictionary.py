"""The data dictionary and the UIDs of PS3.6, as pydicom has them, without the rest of pydicom.

pydicom keeps each of the tables in a module of its own that imports nothing. Read by itself it costs a tenth of
importing pydicom, of which de-identification needs no more than this unless a value is PET's or in another script.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


@cache
def standard_uids() -> frozenset[str]:
    """Return the UIDs that the standard registers."""
    return frozenset(_table("_uid_dict", "uid").UID_dictionary)


def is_in_dictionary(tag: int) -> bool:
    """Say whether the dictionary has a tag, or a repeating one that it may stand for."""
    return _entry(tag) is not None


def dictionary_vr(tag: int) -> str | None:
    """Return the VR of a tag, retired and repeating groups included, such as ``OB or OW``; None where it has none."""
    entry = _entry(tag)
    odd_repeater = tag >> 16 & 1 and tag not in _dictionary().DicomDictionary
    return None if entry is None or odd_repeater else entry[0]


def _entry(tag: int) -> tuple[str, ...] | None:
    table = _dictionary()
    found: tuple[str, ...] | None = table.DicomDictionary.get(tag)
    if found is None:
        name = next((name for name, value, mask in _repeaters() if (tag ^ value) & mask == 0), None)
        found = None if name is None else table.RepeatersDictionary[name]
    return found


@cache
def _dictionary() -> Any:
    return _table("_dicom_dict", "datadict")


@cache
def _repeaters() -> tuple[tuple[str, int, int], ...]:
    """Return the repeating tags (``60xx0010``), their digits, and a mask of where these stand."""
    return tuple(
        (name, int(name.replace("x", "0"), 16), int("".join("0" if digit == "x" else "F" for digit in name), 16))
        for name in _dictionary().RepeatersDictionary
    )


def _table(name: str, public: str) -> Any:
    """Return a module of tables of pydicom; the `public` module that imports its tables where there is none."""
    package = None if "pydicom" in sys.modules else find_spec("pydicom")
    file = None if package is None or package.origin is None else Path(package.origin).with_name(f"{name}.py")
    if file is not None and file.exists():
        spec = spec_from_file_location(f"petct_cli.dicom.deid.{name}", file)
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    from importlib import import_module

    return import_module(f"pydicom.{public}")
