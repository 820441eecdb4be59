"""CT and PET as NIfTI files side by side: which belong together, and what their study is called.

Three layouts are known. autoPET: a folder per study with ``CT``, ``CTres``, ``PET``, ``SUV``, ``SEG`` (``.nii.gz`` or
``.nii``, in any case, also behind a prefix: ``case7_CT.nii.gz``). nnU-Net: ``case7_0000.nii.gz`` is the CT and
``case7_0001.nii.gz`` the SUV. BIDS: ``sub-1/ses-2/pet/sub-1_ses-2_pet.nii.gz`` and the same with ``ct``. A JSON of a
PET's name beside it holds the facts for its SUV.

A study is called after its folder (or prefix). Patient and study are one, unless the folder is called by a date,
``ses-2``, ``visit1`` and the like, or several studies have the same name: then the folder around it is the patient.
Names that no output folder can have are replaced by 16 hex of their hash.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petct_cli.core.errors import InputFault
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.records import Series, Study
from petct_cli.stages.convert_arrays import array_stem, unit_of_name

_SUFFIXES = (".nii", ".nii.gz")
_OWN_OUTPUT = ".petct-"
_ROLE = re.compile(r"(?P<prefix>.*?)(?:^|[_.\- ]+)(?P<role>ctres|ct|suv|pet|pt|seg)", re.IGNORECASE)
_CHANNEL = re.compile(r"(?P<prefix>.+)_(?P<role>000[01])")
_MODALITIES = {
    "ctres": "CT",
    "ct": "CT",
    "0000": "CT",
    "suv": "PT",
    "pet": "PT",
    "pt": "PT",
    "0001": "PT",
    "seg": "SEG",
}
_DATE = r"(?:\d{2}-\d{2}-\d{4}|\d{4}-\d{2}-\d{2}|\d{8})(?!\d)"
_ONE_OF_SEVERAL = re.compile(rf"{_DATE}|ses-|(?:study|visit|exam|scan|baseline|follow-?up|tp|pet-?ct)[ _-]?\d*$", re.I)
_BIDS = re.compile(r"(?P<patient>sub-[A-Za-z0-9]+)(?:_(?P<study>ses-[A-Za-z0-9]+))?(?:_.*)?")
_PREFIX_WITH_DATE = re.compile(rf"(?P<patient>.+?)_(?P<study>{_DATE}.*)")
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass
class _Group:
    """The files of one study: by role, each with the folder that it lies in."""

    folder: Path
    prefix: str
    files: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)

    @property
    def own_name(self) -> str:
        return self.prefix or self.folder.resolve().name

    def names(self, ambiguous: bool) -> tuple[str, str]:
        """Return what patient and study are called."""
        if self.prefix:
            dated = _BIDS.fullmatch(self.prefix) or _PREFIX_WITH_DATE.fullmatch(self.prefix)
            if dated is not None:
                return dated["patient"], dated["study"] or dated["patient"]
        elif _ONE_OF_SEVERAL.match(self.own_name) or ambiguous:
            return self.folder.resolve().parent.name, self.own_name
        if ambiguous:
            return self.folder.resolve().name, self.own_name
        return self.own_name, self.own_name


def nifti_studies(paths: Iterable[Path]) -> Iterator[Study | InputFault]:
    """Yield a record per study of NIfTI files below `paths`, in the order of their folders and names."""
    groups = [group for group in _groups(paths) if _is_study(group)]
    count = Counter(group.own_name for group in groups)
    for group in groups:
        if not _is_nameable(group):
            yield InputFault(_shown(group.folder), "file_name_encoding", "a file or folder name is not UTF-8")
            continue
        yield _study(group, ambiguous=count[group.own_name] > 1)


def _study(group: _Group, *, ambiguous: bool) -> Study:
    patient, study = group.names(ambiguous)
    series = []
    for role, modality in _MODALITIES.items():
        for folder, name in group.files.get(role, ()):
            fields: dict[str, Any] = {"modality": modality, "dir": str(folder), "files": [name]}
            if modality == "PT":
                sidecar = f"{array_stem(name)}.json"
                fields["files"] += [sidecar] if (folder / sidecar).is_file() else []
                fields["unit"] = unit_of_name(name)
            series.append(Series.model_validate(fields))
    return Study.model_validate({"id": _id(patient, study), "patient": _safe(patient), "series": series})


def _id(patient: str, study: str) -> str:
    """Join the names of patient and study; 8 hex of its hash stand for a study that no folder can be called after."""
    if patient == study:
        return _safe(patient)
    whole = f"{_safe(patient)}_{study}"
    return whole if _SAFE.fullmatch(whole) else f"{_safe(patient)}_{sha256_bytes(study.encode())[:8]}"


def _safe(name: str) -> str:
    return name if _SAFE.fullmatch(name) else sha256_bytes(name.encode())[:16]


def _is_study(group: _Group) -> bool:
    roles = set(group.files)
    if roles & {"0000", "0001"}:
        return roles >= {"0000", "0001"}  # one channel may be anything
    return bool(roles - {"seg"})


def _groups(paths: Iterable[Path]) -> list[_Group]:
    groups: dict[tuple[str, str], _Group] = {}
    for folder, name in _files(paths):
        stem = array_stem(name)
        match = _CHANNEL.fullmatch(stem) or _ROLE.fullmatch(stem)
        if match is None:
            continue
        channels = "channels" if match["role"].isdigit() else ""
        prefix, around = match["prefix"], folder
        bids = None if channels else _BIDS.fullmatch(prefix)
        if bids is not None:  # one folder for each kind of image
            prefix = "_".join(filter(None, bids.groups()))
            around = folder.parent
        key = (f"{around}\0{channels}", prefix.lower())
        group = groups.setdefault(key, _Group(around, prefix))
        group.files.setdefault(match["role"].lower(), []).append((folder, name))
    return list(groups.values())


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield (folder, name) of every NIfTI file below `paths` once, by name, links followed; not petct's own output."""
    seen: set[tuple[int, int]] = set()
    for given in paths:
        if not given.is_dir():
            if given.name.endswith(_SUFFIXES):
                yield given.parent, given.name
            continue
        for place, folders, names in os.walk(given, followlinks=True):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen or any(name.startswith(_OWN_OUTPUT) for name in names):
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            for name in sorted(names):
                if name.endswith(_SUFFIXES) and not name.startswith("."):
                    yield Path(place), name


def _is_nameable(group: _Group) -> bool:
    paths = (str(folder / name) for some in group.files.values() for folder, name in some)
    try:
        "\n".join([group.own_name, *paths]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
