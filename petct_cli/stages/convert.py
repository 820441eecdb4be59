"""``convert``: the DICOM of a study to CT in HU and PET in SUV on one grid."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_array, sha256_bytes, sha256_file
from petct_cli.core.jsonl import encode
from petct_cli.core.provenance import entry
from petct_cli.core.records import Geometry, Record, Series, Study, Suv, Volume
from petct_cli.core.store import Store
from petct_cli.stages.convert_arrays import is_arrays, read_arrays
from petct_cli.stages.convert_input import as_named, named_in_messages, unpacked
from petct_cli.stages.convert_rules import check_pet_dtype, parse_crop, parse_grid
from petct_cli.volume.suv import SuvRule
from petct_cli.volume.suv_assume import parse_assumptions
from petct_cli.volume.suv_types import suv_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from petct_cli.dicom.read import Instance
    from petct_cli.volume.finish import Finished
    from petct_cli.volume.geometry import Grid
    from petct_cli.volume.series_choice import Candidate, Choice
    from petct_cli.volume.series_pick import SeriesPick
    from petct_cli.volume.series_volume import SeriesVolume
    from petct_cli.volume.suv import SuvResult

    Reader = Callable[[Sequence[Instance]], SeriesVolume]

_log = logging.getLogger(__name__)

SUFFIXES = {"b2nd": ".b2nd", "nifti": ".nii.gz"}
ENOUGH_OVERLAP = 0.9
MOST_VOXELS = 2_000_000_000
"""More is a slip of ``--grid iso``: a metre of body in cubes of 0.5 mm has this many."""
ROLES = ("ct", "pet")
_OBLIQUE_DEGREES = 0.1
_WORKED_ON = ("CT", "PT", "unknown")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Source:
    """One file that a series of the record names."""

    series: int
    path: Path
    sha256: str


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
    crop
        ``none``, ``body`` or ``body:MM``: keep the box around the body and a margin.
    pet_dtype
        ``float32`` or ``float16``.
    preview
        Whether to draw ``preview.png`` beside the volumes.
    scratch
        Where the archives that records name as ``archive!/member`` lie unpacked.
    ct_series, pet_series
        Which series to take where the rules would take another (`petct_cli.volume.series_pick`); empty for the rules.
    suv
        Type of the PET's values: ``bw``, ``lbm``, ``lbm-james``, ``bsa`` or ``ibw``.
    assume
        ``NAME=VALUE`` for what PET headers lack (`petct_cli.volume.suv_assume`).

    Raises
    ------
    UsageError
        ``bad_grid``, ``bad_format``, ``bad_crop``, ``bad_pet_dtype``, ``bad_series_pick``, ``bad_suv_type``,
        ``bad_assumption``.
    """

    name: ClassVar[str] = "convert"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    out: Path
    grid: str = "pet"
    format: str = "b2nd"
    scratch: Path | None = None
    crop: str = "none"
    pet_dtype: str = "float32"
    preview: bool = False
    ct_series: str = ""
    pet_series: str = ""
    suv: str = "bw"
    assume: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parse_grid(self.grid)
        parse_crop(self.crop)
        suv_type(self.suv)
        parse_assumptions(self.assume)
        if self.format not in SUFFIXES:
            raise UsageError("bad_format", "--format takes b2nd or nifti")
        check_pet_dtype(self.pet_dtype, self.format)
        picks_of(self.ct_series, self.pet_series)

    @property
    def options(self) -> dict[str, str | bool]:
        """What changes the content."""
        told: dict[str, str | bool] = {
            "grid": self.grid,
            "format": self.format,
            "crop": "none" if (margin := parse_crop(self.crop)) is None else f"body:{margin:g}",
            "pet_dtype": self.pet_dtype,
            "preview": self.preview,
            "ct_series": self.ct_series,
            "pet_series": self.pet_series,
            "suv": self.suv,
            "assume": str(parse_assumptions(self.assume)),
        }
        return {name: value for name, value in told.items() if value}

    def __call__(self, record: Study) -> Iterable[Record]:
        """Return the study with its volumes; one that has volumes already is returned as it is."""
        if record.ct is not None or record.pet is not None:
            return [record]
        if not _SAFE_NAME.fullmatch(record.id):
            raise RecordError("unsafe_id", "the id of the study cannot name a folder")
        with named_in_messages(self.scratch):
            return self._study(record)

    def _study(self, record: Study) -> list[Record]:
        here = record if self.scratch is None else unpacked(record, self.scratch)
        sources = _sources(here)
        if not sources:
            raise RecordError("no_image_series", "the study names no DICOM files of a CT or PET")
        hashes = [source.sha256 for source in sources]
        store = Store(self.out, self.name)
        key = store.key([sha256_bytes(encode(record)), *hashes], self.options, self.version)

        def build(temporary: Path) -> list[Record]:
            fields = self._convert(here, sources, temporary)
            if self.scratch is not None:
                fields["series"] = as_named(fields["series"], self.scratch)
            stamp = entry(self.name, self.version, self.options, hashes)
            return [record.with_fields(**fields, provenance=[*record.provenance, stamp])]

        return [self._at_home(found) for found in store.once(record.id, key, build)]

    def _at_home(self, record: Record) -> Record:
        """Name the files by the output folder as it was typed this time; finished ones may have had another."""
        if not isinstance(record, Study):
            return record
        made = {name: one for name in ("ct", "pet", "preview") if (one := getattr(record, name)) is not None}
        places = {name: str(self.out / record.id / Path(one.path).name) for name, one in made.items()}
        if all(made[name].path == place for name, place in places.items()):
            return record
        return record.with_fields(**{name: made[name].model_copy(update={"path": places[name]}) for name in made})

    def _convert(self, record: Study, sources: list[Source], temporary: Path) -> dict[str, Any]:
        from petct_cli.volume.finish import finish
        from petct_cli.volume.storage import save_volume

        read = read_arrays if is_arrays(record) else _read_study
        wanted = SuvRule(self.suv, parse_assumptions(self.assume))
        series, volumes = read(record, sources, picks_of(self.ct_series, self.pet_series), wanted)
        overlap = _overlap(volumes)
        fields: dict[str, Any] = {"series": series}
        placed = place_on_grid(volumes, self.grid)
        finished = finish(placed, volumes, parse_crop(self.crop), self.pet_dtype)
        for role, done in finished.items():
            file_name = role + SUFFIXES[self.format]
            save_volume(temporary / file_name, done.array, done.grid.affine if volumes[role].has_geometry else None)
            fields[role] = _volume_record(
                self.out / record.id / file_name, done, volumes[role], overlap if len(volumes) == 2 else None
            )
        if self.preview:
            from petct_cli.stages.convert_preview import write_preview

            fields["preview"] = write_preview(record.id, finished, fields, temporary, self.out / record.id)
        for role, volume in volumes.items():
            if volume.lacks is not None:
                _log.warning("%s: %s in %s, no SUV: %s", record.id, role.upper(), volume.unit, volume.lacks)
        if overlap < ENOUGH_OVERLAP:
            _log.warning("%s: the CT covers only %.0f %% of the PET along z", record.id, 100 * overlap)
        return fields


def picks_of(ct_series: str, pet_series: str) -> tuple[SeriesPick | None, SeriesPick | None]:
    """Read ``--ct-series`` and ``--pet-series``; an empty text picks nothing.

    Raises
    ------
    UsageError
        ``bad_series_pick``.
    """
    from petct_cli.volume.series_pick import SeriesPick

    given = {"--ct-series": ct_series, "--pet-series": pet_series}
    ct, pet = (SeriesPick.parse(text, option) if text else None for option, text in given.items())
    return ct, pet


def _sources(record: Study) -> list[Source]:
    """List and hash the files of every series that may be converted, in the order of the record."""
    from petct_cli.dicom.scan import UNNAMEABLE, series_files

    found: list[Source] = []
    for place, series in enumerate(record.series):
        if series.set_aside not in (None, UNNAMEABLE) or series.modality not in _WORKED_ON:
            continue
        try:
            found.extend(Source(place, path, sha256_file(path)) for path in series_files(series))
        except OSError as error:
            raise RecordError("input_unreadable", f"{series.dir}: {error.strerror}") from None
    return found


def _read_study(
    record: Study, sources: list[Source], picks: Sequence[SeriesPick | None], suv: SuvRule
) -> tuple[list[Series], dict[str, SeriesVolume]]:
    from petct_cli.dicom.read import quiet_pydicom
    from petct_cli.volume.series_choice import choose_series
    from petct_cli.volume.series_join import read_joined
    from petct_cli.volume.series_volume import read_ct, read_pet

    try:
        with quiet_pydicom():
            candidates, places = _candidates(sources, record)
            choice = choose_series(candidates, *picks)
            volumes = {}
            readers: list[Reader] = [read_ct, partial(read_pet, suv=suv)]
            for role, taken, reader, pick in zip(ROLES, choice.taken, readers, picks, strict=True):
                if taken is None:
                    continue
                volumes[role], places_joined = read_joined(candidates if pick is None else (), taken, reader)
                choice = choice.with_joined(role, places_joined)
    except OSError as error:
        raise RecordError("input_unreadable", f"{error.filename}: {error.strerror}") from None
    _require_whole(record, candidates, choice)
    return _series_told(record, sources, candidates, places, choice), volumes


def _require_whole(record: Study, candidates: list[Candidate], choice: Choice) -> None:
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
    for candidate in (*choice.taken, *(candidates[place] for place in choice.joined)):
        kinds = {(one.path.parent, name_shape(one.path)) for one in candidate.instances} if candidate else set()
        for path in damaged:
            if (path.parent, name_shape(path)) in kinds:
                message = f"{path}: damaged, and may be a slice of the {candidate.modality if candidate else ''}"
                raise RecordError("dicom_truncated", message, "copy the series again, or take the file away")


def _candidates(sources: list[Source], record: Study) -> tuple[list[Candidate], list[list[int]]]:
    """Group the images by series, scouts and stacks apart; return the groups and the sources of each.

    A byte-identical copy of an image that was read already is left out.
    """
    from petct_cli.dicom.multiframe import frames_of
    from petct_cli.dicom.read import NotDicomError, UnreadableDicomError, read_instance
    from petct_cli.dicom.scan import is_stump
    from petct_cli.dicom.values import text, texts
    from petct_cli.volume.frame_stacks import split_stacks
    from petct_cli.volume.series_choice import Candidate

    groups: dict[tuple[str, bool], list[Instance]] = defaultdict(list)
    places: dict[tuple[str, bool], list[int]] = defaultdict(list)
    seen: set[str] = set()
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
        for image in frames_of(instance):
            scout = "LOCALIZER" in {value.upper() for value in texts(image.header, "ImageType")}
            key = (text(header, "SeriesInstanceUID") or f"folder {source.path.parent}", scout)
            if number not in places[key][-1:]:
                places[key].append(number)
            if source.sha256 not in seen:
                groups[key].append(image)
        seen.add(source.sha256)
    stacks = [(key, stack) for key in groups if groups[key] for stack in split_stacks(groups[key])]
    found = [Candidate(key[0], text(stack[0].header, "Modality") or "unknown", stack) for key, stack in stacks]
    return found, [places[key] for key, _ in stacks]


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
            fields = series.model_dump(exclude_unset=True, exclude={"role", "set_aside", "chosen_because"})
            fields["modality"] = candidate.modality
            if len(files) != own:
                fields["files"] = [_within(series.dir, path) for path in files]
            role = choice.joined.get(place) or {id(choice.ct): "ct", id(choice.pet): "pet"}.get(id(candidate))
            if role:
                because = "continues the one taken" if place in choice.joined else choice.because[role]
                fields |= {"role": role, "chosen_because": because}
            else:
                fields["set_aside"] = choice.set_aside.get(place, "not taken")
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

    if len(volumes) < 2 or not all(volume.has_geometry for volume in volumes.values()):
        return 1.0
    (ct_low, ct_high), (pet_low, pet_high) = (extent_mm(volumes[role].grid) for role in ("ct", "pet"))
    shared = np.minimum(ct_high, pet_high) - np.maximum(ct_low, pet_low)
    if (shared <= 0).any():
        raise RecordError("no_overlap", "CT and PET do not overlap")
    return float(min(1.0, shared[2] / (pet_high - pet_low)[2]))


def place_on_grid(volumes: dict[str, SeriesVolume], grid: str) -> dict[str, tuple[npt.NDArray[np.generic], Grid]]:
    """Return each volume (``ct``, ``pet``) as (array, grid) on what ``--grid`` asks for.

    A single volume is its own grid, whichever is asked for. Sheared stacks (gantry tilt) come out straight. Volumes
    without geometry stay as they are.

    Raises
    ------
    RecordError
        ``grid_too_large``. ``no_geometry``: voxels of so many mm are asked for, and nobody knows how large they are.
    """
    from petct_cli.volume.resample import isotropic_grid, resample, straight_grid
    from petct_cli.volume.series_volume import AIR_HU

    kind, millimetres = parse_grid(grid)
    if not all(volume.has_geometry for volume in volumes.values()):
        if millimetres is not None:
            raise RecordError("no_geometry", "the data have no geometry: --grid iso:MM cannot be met", "take native")
        return {role: (volume.array, volume.grid) for role, volume in volumes.items()}
    straight = {
        role: straight_grid(volume.grid) if volume.stack.tilt_deg else volume.grid for role, volume in volumes.items()
    }
    base = straight.get("ct" if kind == "ct" else "pet") or next(iter(straight.values()))
    target = isotropic_grid(base, millimetres) if millimetres is not None else base
    if prod(target.shape) > MOST_VOXELS:
        raise RecordError("grid_too_large", f"--grid {grid} gives {' x '.join(map(str, target.shape))} voxels")
    placed = {}
    for role, volume in volumes.items():
        own = straight[role] if kind == "native" else target
        fill = AIR_HU if role == "ct" else 0.0
        placed[role] = (resample(volume.array, volume.grid, own, fill), own)
    return placed


def _volume_record(path: Path, done: Finished, volume: SeriesVolume, overlap: float | None) -> Volume:
    from petct_cli.volume.geometry import axis_names

    stack, array, grid = volume.stack, done.array, done.grid
    geometry: dict[str, Any] = {
        "verdict": stack.verdict,
        "deviation_mm": round(stack.deviation_mm, 4),
        "native_shape": list(volume.grid.shape),
        "native_spacing_mm": _rounded(volume.grid.spacing_mm),
        "resampled": done.geometry["resampled"] or stack.verdict == "uneven",
    }
    if "crop" in done.geometry:
        geometry["crop"] = done.geometry["crop"]
    geometry["native_axes"], oblique = axis_names(stack.grid)
    if oblique >= _OBLIQUE_DEGREES:
        geometry["oblique_deg"] = round(oblique, 3)
    if stack.tilt_deg:
        geometry["tilt_deg"] = round(stack.tilt_deg, 3)
    if stack.verdict == "given":
        del geometry["deviation_mm"]
    if not volume.has_geometry:
        shape = list(volume.grid.shape)
        geometry = {"verdict": stack.verdict, "native_shape": shape, "resampled": False, "first_slice_was": "head"}
    elif overlap is not None:
        geometry["z_overlap"] = round(overlap, 4)
    fields: dict[str, Any] = {} if volume.suv is None else {"suv": _suv_record(volume.suv)}
    if volume.lacks is not None:
        fields["suv_lacks"] = volume.lacks
    return Volume(
        path=str(path),
        sha256=sha256_array(array),
        shape=list(array.shape),
        spacing_mm=_rounded(grid.spacing_mm) if volume.has_geometry else None,
        affine=[[float(value) for value in row] for row in grid.affine] if volume.has_geometry else None,
        unit=(volume.unit or "HU") if volume.suv is None else suv_type(volume.suv.type).unit,
        dtype=str(array.dtype),
        geometry=Geometry(**geometry),
        **fields,
    )


def _suv_record(suv: SuvResult) -> Suv:
    scale: dict[str, Any] = {"factor": suv.factor} if suv.per_slice is None else {"per_slice": list(suv.per_slice)}
    return Suv(type=suv.type, branch=suv.branch, **scale, inputs=suv.inputs, assumed=list(suv.assumed))


def _rounded(millimetres: tuple[float, float, float]) -> list[float]:
    return [round(value, 9) for value in millimetres]
