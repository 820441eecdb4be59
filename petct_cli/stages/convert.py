"""``convert``: the DICOM of a study to CT in HU and PET in SUVbw on one grid."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_array, sha256_bytes
from petct_cli.core.jsonl import encode
from petct_cli.core.provenance import entry
from petct_cli.core.records import Geometry, Record, Series, Study, Suv, Volume
from petct_cli.core.store import Store
from petct_cli.core.threads import in_threads
from petct_cli.stages.convert_input import as_named, named_in_messages, unpacked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from petct_cli.dicom.input_files import InputFiles
    from petct_cli.volume.geometry import Grid
    from petct_cli.volume.series_choice import Candidate, Choice
    from petct_cli.volume.series_volume import SeriesVolume
    from petct_cli.volume.suv import SuvResult

_log = logging.getLogger(__name__)

SUFFIXES = {"b2nd": ".b2nd", "nifti": ".nii.gz"}
ENOUGH_OVERLAP = 0.9
_WORKED_ON = ("CT", "PT", "unknown")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Source:
    """One file that a series of the record names."""

    series: int
    path: Path


@dataclass(frozen=True)
class Convert:
    """Convert study records: each gets ``ct`` and ``pet`` as far as it has the series, in ``out / id``.

    Parameters
    ----------
    out
        Output folder, as the user typed it.
    grid
        ``pet``, ``ct``, ``native`` (each on its own) or ``iso:MM``.
    format
        ``b2nd`` or ``nifti``.
    scratch
        Where the archives that records name as ``archive!/member`` lie unpacked.
    threads
        How many may work on one study; nothing that is written depends on it.

    Raises
    ------
    UsageError
        ``bad_grid``, ``bad_format``.
    """

    name: ClassVar[str] = "convert"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    out: Path
    grid: str = "pet"
    format: str = "b2nd"
    scratch: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        parse_grid(self.grid)
        if self.format not in SUFFIXES:
            raise UsageError("bad_format", "--format takes b2nd or nifti")

    @property
    def options(self) -> dict[str, str]:
        """What changes the content."""
        return {"grid": self.grid, "format": self.format}

    def __call__(self, record: Study) -> Iterable[Record]:
        """Return the study with its volumes; one that has volumes already is returned as it is."""
        if record.ct is not None or record.pet is not None:
            return [record]
        if not _SAFE_NAME.fullmatch(record.id):
            raise RecordError("unsafe_id", "the id of the study cannot name a folder")
        from petct_cli.dicom.read import quiet_pydicom

        with named_in_messages(self.scratch), quiet_pydicom():
            return self._study(record)

    def _study(self, record: Study) -> list[Record]:
        here = record if self.scratch is None else unpacked(record, self.scratch)
        sources = _sources(here)
        if not sources:
            raise RecordError("no_image_series", "the study names no DICOM files of a CT or PET")
        from petct_cli.dicom.input_files import InputFiles

        store = Store(self.out, self.name)
        files = InputFiles(self.threads)

        def hashes() -> list[str]:
            return _hashes(sources, files)

        def key() -> str:
            return store.key([sha256_bytes(encode(record)), *hashes()], self.options, self.version)

        def build(temporary: Path) -> list[Record]:
            fields = self._convert(here, sources, files, temporary)
            if self.scratch is not None:
                fields["series"] = as_named(fields["series"], self.scratch)
            stamp = entry(self.name, self.version, self.options, hashes())
            return [record.with_fields(**fields, provenance=[*record.provenance, stamp])]

        return [self._at_home(found) for found in store.once(record.id, key, build)]

    def _at_home(self, record: Record) -> Record:
        """Name the volumes by the output folder as it was typed this time; finished ones may have had another."""
        if not isinstance(record, Study):
            return record
        volumes = {role: volume for role in ("ct", "pet") if (volume := getattr(record, role)) is not None}
        places = {role: str(self.out / record.id / Path(volume.path).name) for role, volume in volumes.items()}
        if all(volumes[role].path == place for role, place in places.items()):
            return record
        moved = {role: volumes[role].model_copy(update={"path": place}) for role, place in places.items()}
        return record.with_fields(**moved)

    def _convert(self, record: Study, sources: list[Source], files: InputFiles, temporary: Path) -> dict[str, Any]:
        from petct_cli.volume.storage import save_volume

        series, volumes = _read_study(record, sources, files)
        overlap = _overlap(volumes)
        fields: dict[str, Any] = {"series": series}
        for role, (array, grid) in place_on_grid(volumes, self.grid, self.threads).items():
            file_name = role + SUFFIXES[self.format]
            save_volume(temporary / file_name, array, grid.affine, self.threads)
            fields[role] = _volume_record(
                self.out / record.id / file_name, array, grid, volumes[role], overlap if len(volumes) == 2 else None
            )
        if overlap < ENOUGH_OVERLAP:
            _log.warning("%s: the CT covers only %.0f %% of the PET along z", record.id, 100 * overlap)
        return fields


def parse_grid(text: str) -> tuple[str, float | None]:
    """Read ``--grid`` as (pet, ct, native or iso; mm or None).

    Raises
    ------
    UsageError
        ``bad_grid``.

    Examples
    --------
    >>> parse_grid("iso:4")
    ('iso', 4.0)
    """
    kind, _, size = text.partition(":")
    if kind in ("pet", "ct", "native") and not size:
        return kind, None
    try:
        millimetres = float(size)
    except ValueError:
        millimetres = 0.0
    if kind != "iso" or not 0.2 <= millimetres <= 50.0:
        raise UsageError("bad_grid", "--grid takes pet, ct, native or iso:MM with MM from 0.2 to 50")
    return kind, millimetres


def _sources(record: Study) -> list[Source]:
    """List the files of every series that may be converted, in the order of the record."""
    from petct_cli.dicom.scan import UNNAMEABLE, series_files

    found: list[Source] = []
    for place, series in enumerate(record.series):
        if series.set_aside not in (None, UNNAMEABLE) or series.modality not in _WORKED_ON:
            continue
        try:
            found.extend(Source(place, path) for path in series_files(series))
        except OSError as error:
            raise RecordError("input_unreadable", f"{series.dir}: {error.strerror}") from None
    return found


def _hashes(sources: list[Source], files: InputFiles) -> list[str]:
    return in_threads(files.sha256, [source.path for source in sources], files.threads)


def _read_study(
    record: Study, sources: list[Source], files: InputFiles
) -> tuple[list[Series], dict[str, SeriesVolume]]:
    from petct_cli.volume.series_choice import choose_series
    from petct_cli.volume.series_volume import read_ct, read_pet

    try:
        candidates, places = _candidates(sources, record, files)
    except OSError as error:
        raise RecordError("input_unreadable", f"{error.filename}: {error.strerror}") from None
    choice = choose_series(candidates)
    volumes = {}
    if choice.ct is not None:
        volumes["ct"] = read_ct(choice.ct.instances, files)
    if choice.pet is not None:
        volumes["pet"] = read_pet(choice.pet.instances, files)
    _require_whole(record, choice)
    return _series_told(record, sources, candidates, places, choice), volumes


def _require_whole(record: Study, choice: Choice) -> None:
    """Refuse a series beside whose files lies a damaged one of the same kind of name: it may be an outer slice.

    Raises
    ------
    RecordError
        ``dicom_truncated``.
    """
    from petct_cli.dicom.scan import UNREADABLE, name_shape, series_files

    damaged = [path for series in record.series if series.set_aside == UNREADABLE for path in series_files(series)]
    if not damaged:
        return
    for candidate in (choice.ct, choice.pet):
        kinds = {(one.path.parent, name_shape(one.path)) for one in candidate.instances} if candidate else set()
        for path in damaged:
            if (path.parent, name_shape(path)) in kinds:
                message = f"{path}: damaged, and may be a slice of the {candidate.modality if candidate else ''}"
                raise RecordError("dicom_truncated", message, "copy the series again, or take the file away")


def _candidates(sources: list[Source], record: Study, files: InputFiles) -> tuple[list[Candidate], list[list[int]]]:
    """Group the files by series, scouts apart; return the groups and the sources of each.

    A byte-identical copy of an image that was read already is left out.
    """
    from petct_cli.dicom.read import Instance, NotDicomError, UnreadableDicomError, read_instance
    from petct_cli.dicom.scan import is_stump
    from petct_cli.dicom.values import text, texts
    from petct_cli.volume.series_choice import Candidate

    groups: dict[tuple[str, bool], list[Instance]] = defaultdict(list)
    places: dict[tuple[str, bool], list[int]] = defaultdict(list)
    seen: dict[tuple[str | None, int], list[Path]] = defaultdict(list)
    for number, source in enumerate(sources):
        try:
            instance = read_instance(source.path)
        except NotDicomError:
            if record.series[source.series].files is not None:
                raise RecordError("not_dicom", f"{source.path}: the record names it, yet it is no DICOM") from None
            if is_stump(source.path) and _is_slice_name(source, sources):
                raise _damaged(source, number, len(sources)) from None
            continue
        except UnreadableDicomError:
            raise _damaged(source, number, len(sources)) from None
        header = instance.header
        if not instance.is_image:
            continue
        if text(header, "SeriesInstanceUID") is None and instance.is_truncated:
            raise _damaged(source, number, len(sources))  # it cannot say which series lacks a slice
        scout = "LOCALIZER" in {value.upper() for value in texts(header, "ImageType")}
        key = (text(header, "SeriesInstanceUID") or f"folder {source.path.parent}", scout)
        places[key].append(number)
        alike = seen[text(header, "SOPInstanceUID"), instance.file_bytes]
        if not any(files.sha256(path) == files.sha256(source.path) for path in alike):
            groups[key].append(instance)
        alike.append(source.path)
    kept = [key for key in groups if groups[key]]
    found = [
        Candidate(key[0], text(groups[key][0].header, "Modality") or "unknown", tuple(groups[key])) for key in kept
    ]
    return found, [places[key] for key in kept]


def _is_slice_name(source: Source, sources: list[Source]) -> bool:
    """Whether a file is named like others of its series."""
    from petct_cli.dicom.scan import name_shape

    shape = name_shape(source.path)
    return any(one is not source and one.series == source.series and name_shape(one.path) == shape for one in sources)


def _damaged(source: Source, number: int, count: int) -> RecordError:
    message = f"{source.path}: file {number + 1} of {count} is damaged DICOM"
    return RecordError("dicom_truncated", message, "copy the series again")


def _series_told(
    record: Study, sources: list[Source], candidates: list[Candidate], places: list[list[int]], choice: Choice
) -> list[Series]:
    """Return the series of the record with role or reason, one entry per series that was really there."""
    told: list[Series] = []
    for entry_place, series in enumerate(record.series):
        own = sum(source.series == entry_place for source in sources)
        if not own:
            known = series.set_aside or (None if series.modality in _WORKED_ON else f"modality {series.modality}")
            told.append(series if known is None else series.model_copy(update={"set_aside": known}))
            continue
        for place, candidate in enumerate(candidates):
            files = [sources[i].path for i in places[place] if sources[i].series == entry_place]
            if not files:
                continue
            fields = series.model_dump(exclude_unset=True, exclude={"role", "set_aside"})
            fields["modality"] = candidate.modality
            if len(files) != own:
                fields["files"] = [_within(series.dir, path) for path in files]
            role = {id(choice.ct): "ct", id(choice.pet): "pet"}.get(id(candidate))
            fields |= {"role": role} if role else {"set_aside": choice.set_aside.get(place, "not taken")}
            told.append(Series(**fields))
    return told


def _within(folder: str | None, path: Path) -> str:
    """Name a file as its series may: relative to the folder, where it lies in it."""
    return str(path.relative_to(folder) if folder is not None and path.is_relative_to(folder) else path)


def _overlap(volumes: dict[str, SeriesVolume]) -> float:
    """Return the share of the PET's z-extent that the CT covers; 1 for a single volume.

    Raises
    ------
    RecordError
        ``no_overlap``.
    """
    import numpy as np

    from petct_cli.volume.geometry import extent_mm

    if len(volumes) < 2:
        return 1.0
    (ct_low, ct_high), (pet_low, pet_high) = (extent_mm(volumes[role].grid) for role in ("ct", "pet"))
    shared = np.minimum(ct_high, pet_high) - np.maximum(ct_low, pet_low)
    if (shared <= 0).any():
        raise RecordError("no_overlap", "CT and PET do not overlap")
    return float(min(1.0, shared[2] / (pet_high - pet_low)[2]))


def place_on_grid(
    volumes: dict[str, SeriesVolume], grid: str, threads: int = 1
) -> dict[str, tuple[npt.NDArray[np.generic], Grid]]:
    """Return each volume (``ct``, ``pet``) as (array, grid) on what ``--grid`` asks for.

    A single volume is its own grid, whichever is asked for. Sheared stacks (gantry tilt) come out straight.
    """
    from petct_cli.volume.resample import is_parallel, is_same_grid, isotropic_grid, resample, straight_grid
    from petct_cli.volume.series_volume import AIR_HU

    kind, millimetres = parse_grid(grid)
    straight = {
        role: straight_grid(volume.grid) if volume.stack.tilt_deg else volume.grid for role, volume in volumes.items()
    }
    base = straight.get("ct" if kind == "ct" else "pet") or next(iter(straight.values()))
    target = isotropic_grid(base, millimetres) if millimetres is not None else base
    placed = {}
    for role, volume in volumes.items():
        own = straight[role] if kind == "native" else target
        fill = AIR_HU if role == "ct" else 0.0
        # Slices are weighted as they come from the file: a CT in full need not lie in memory.
        by_slice = is_parallel(volume.grid, own) and not is_same_grid(volume.grid, own)
        voxels: Any = volume.slices if by_slice else volume.array
        placed[role] = (resample(voxels, volume.grid, own, fill, threads), own)
    return placed


def _volume_record(
    path: Path, array: npt.NDArray[Any], grid: Grid, volume: SeriesVolume, overlap: float | None
) -> Volume:
    from petct_cli.volume.resample import is_same_grid

    stack = volume.stack
    geometry: dict[str, Any] = {
        "verdict": stack.verdict,
        "deviation_mm": round(stack.deviation_mm, 4),
        "native_shape": list(volume.grid.shape),
        "native_spacing_mm": _rounded(volume.grid.spacing_mm),
        "resampled": not is_same_grid(volume.grid, grid) or stack.verdict == "uneven",
    }
    if stack.tilt_deg:
        geometry["tilt_deg"] = round(stack.tilt_deg, 3)
    if overlap is not None:
        geometry["z_overlap"] = round(overlap, 4)
    fields: dict[str, Any] = {} if volume.suv is None else {"suv": _suv_record(volume.suv)}
    return Volume(
        path=str(path),
        sha256=sha256_array(array),
        shape=list(array.shape),
        spacing_mm=_rounded(grid.spacing_mm),
        affine=[[float(value) for value in row] for row in grid.affine],
        unit="HU" if volume.suv is None else "SUVbw",
        dtype=str(array.dtype),
        geometry=Geometry(**geometry),
        **fields,
    )


def _suv_record(suv: SuvResult) -> Suv:
    scale: dict[str, Any] = {"factor": suv.factor} if suv.per_slice is None else {"per_slice": list(suv.per_slice)}
    return Suv(type=suv.type, branch=suv.branch, **scale, inputs=suv.inputs, assumed=list(suv.assumed))


def _rounded(millimetres: tuple[float, float, float]) -> list[float]:
    return [round(value, 9) for value in millimetres]
