"""``convert``: the DICOM of a study to CT in HU and PET in SUV on one grid."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.jsonl import encode
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, Study
from petct_cli.core.store import Store
from petct_cli.core.threads import in_threads
from petct_cli.stages.convert_arrays import is_arrays, read_arrays
from petct_cli.stages.convert_dicom import Source, read_study, sources_of
from petct_cli.stages.convert_input import as_named, named_in_messages, unpacked
from petct_cli.stages.convert_place import overlap_of, place_on_grid
from petct_cli.stages.convert_record import volume_record
from petct_cli.stages.convert_rules import check_pet_dtype, parse_crop, parse_grid
from petct_cli.volume.suv import SuvRule
from petct_cli.volume.suv_assume import parse_assumptions
from petct_cli.volume.suv_types import suv_type

if TYPE_CHECKING:
    from petct_cli.dicom.input_files import InputFiles
    from petct_cli.volume.series_pick import SeriesPick

_log = logging.getLogger(__name__)

SUFFIXES = {"b2nd": ".b2nd", "nifti": ".nii.gz"}
ENOUGH_OVERLAP = 0.9
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


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
    threads
        How many may work on one study; nothing that is written depends on it.

    Raises
    ------
    UsageError
        ``bad_grid``, ``bad_format``, ``bad_crop``, ``bad_pet_dtype``, ``bad_series_pick``, ``bad_suv_type``,
        ``bad_assumption``.
    """

    name: ClassVar[str] = "convert"
    version: ClassVar[str] = "4"
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
    threads: int = 1

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
        from petct_cli.dicom.read import quiet_pydicom

        with named_in_messages(self.scratch), quiet_pydicom():
            return self._study(record)

    def _study(self, record: Study) -> list[Record]:
        here = record if self.scratch is None else unpacked(record, self.scratch)
        sources = sources_of(here)
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
        """Name the files by the output folder as it was typed this time; finished ones may have had another."""
        if not isinstance(record, Study):
            return record
        made = {name: one for name in ("ct", "pet", "preview") if (one := getattr(record, name)) is not None}
        places = {name: str(self.out / record.id / Path(one.path).name) for name, one in made.items()}
        if all(made[name].path == place for name, place in places.items()):
            return record
        return record.with_fields(**{name: made[name].model_copy(update={"path": places[name]}) for name in made})

    def _convert(self, record: Study, sources: list[Source], files: InputFiles, temporary: Path) -> dict[str, Any]:
        from petct_cli.volume.finish import finish
        from petct_cli.volume.storage import save_volume

        picks = picks_of(self.ct_series, self.pet_series)
        wanted = SuvRule(self.suv, parse_assumptions(self.assume))
        if is_arrays(record):
            # Read apart from their hashes, which come first: a file that changes between is converted anew next time.
            with suppress(RecordError):  # reading says in its own words what is missing
                _hashes(sources, files)
            fields, volumes = read_arrays(record, sources, picks, wanted)
        else:
            fields, volumes = read_study(record, sources, files, picks, wanted)
        if record.scanner is not None:
            fields.pop("scanner", None)  # what somebody wrote there has its reason
        margin = parse_crop(self.crop)
        if margin is not None:
            # The body is looked for in all voxels, so that they are read once, whole.
            for volume in volumes.values():
                volume.load()
        overlap = overlap_of(volumes)
        placed = place_on_grid(volumes, self.grid, self.threads)
        finished = finish(placed, volumes, margin, self.pet_dtype)
        for role, done in finished.items():
            file_name = role + SUFFIXES[self.format]
            affine = done.grid.affine if volumes[role].has_geometry else None
            save_volume(temporary / file_name, done.array, affine, self.threads)
            fields[role] = volume_record(
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


def _hashes(sources: list[Source], files: InputFiles) -> list[str]:
    return in_threads(files.sha256, [source.path for source in sources], files.threads)
