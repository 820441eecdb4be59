"""What ``anonymize`` says of its input: never a value of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from petct_cli.cli.sources import BadLine, Item, is_manifest, read_records
from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.jsonl import BadLineError


def manifest_records(paths: Sequence[str]) -> Iterator[Item]:
    """Yield the records of the manifests among `paths`; messages name a file by its place among the arguments.

    Raises
    ------
    InputError
        ``no_such_file``.
    """
    shown = {path: f"argument {place}" for place, path in enumerate(paths, start=1)}
    manifests = [path for path in paths if is_manifest(path)]
    for path in manifests:
        if path != "-" and not Path(path).exists():
            raise InputError("no_such_file", f"{shown[path]}: no such file")
    return (_without_values(item, shown) for item in read_records(manifests))


def _without_values(item: Item, shown: Mapping[str, str]) -> Item:
    """Say of a bad line only what cannot quote it: names of files and fields may be the patient's."""
    if not isinstance(item, BadLine):
        return item
    file, _, line = item.place.rpartition(":")
    fault = item.fault
    if fault.code not in ("not_json", "schema_newer"):
        fault = BadLineError(fault.code, "the line is no record that petct can read", fault.record)
    return BadLine(f"{shown.get(file, file)}:{line}", fault)


def refuse_places(folders: Iterable[Path], out: Path, key_file: Path, *written: Path | None) -> None:
    """Refuse an output folder that the next run would read as input, and what would be written into the key file.

    Raises
    ------
    UsageError
        ``output_inside_input``, ``same_file``.
    """
    place = out.resolve()
    if any(folder.resolve() in (place, *place.parents) for folder in folders if folder.is_dir()):
        raise UsageError("output_inside_input", "-o must lie outside of the folders to read")
    if any(path is not None and path.resolve() == key_file.resolve() for path in written):
        raise UsageError("same_file", "the key file is for the key alone")


def with_face_warning(items: Iterable[Item], *, deface: bool) -> Iterator[Item]:
    """Say once, when there is something to de-identify, what stays recognisable."""
    for number, item in enumerate(items):
        if number == 0 and not deface:
            logging.getLogger(__name__).warning(
                "faces stay in the CT; the records say face: present (--deface takes them out)"
            )
        yield item
