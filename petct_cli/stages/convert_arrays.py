"""Studies whose CT and PET are arrays in files (NIfTI, numpy) and not DICOM: which file is what, and reading it.

A series of a record that names such a file, and beside it perhaps the JSON with the facts for the SUV, is all that is
needed: ``{"modality": "PT", "dir": "a", "files": ["PET.nii.gz", "PET.json"], "unit": "Bq/ml"}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Series, Study
from petct_cli.stages.convert_scanner import scanner_of

if TYPE_CHECKING:
    from petct_cli.stages.convert_dicom import Source
    from petct_cli.volume.series_pick import SeriesPick
    from petct_cli.volume.series_rank import Criterion
    from petct_cli.volume.series_volume import SeriesVolume
    from petct_cli.volume.suv import SuvRule

_ARRAYS = (".nii", ".nii.gz", ".npz", ".npy")
_SIDECAR = ".json"
_UNCORRECTED = re.compile(r"(?:^|[_.\-])(?:rec-)?nac", re.IGNORECASE)
_MODALITIES = {"CT": "ct", "PT": "pet"}


@dataclass(frozen=True)
class ArraySeries:
    """One series of a record that is an array file.

    Attributes
    ----------
    place
        Of the series in the record.
    sidecar
        The JSON beside it, if the record names one.
    """

    place: int
    series: Series
    image: Path
    sidecar: Path | None

    @property
    def uid(self) -> str:
        """Arrays have no Series Instance UID."""
        return ""

    @property
    def number(self) -> int | None:
        """Arrays have no Series Number."""
        return None

    @property
    def description(self) -> str:
        """Name of the file without its suffix: what a pick by description looks at."""
        return array_stem(self.image.name)

    @property
    def is_resampled(self) -> bool:
        """Whether it is the CT on the grid of the PET (``CTres``)."""
        return self.description.lower().endswith("ctres")

    @property
    def is_called_uncorrected(self) -> bool:
        """Whether its name says that it is not corrected for attenuation."""
        return _UNCORRECTED.search(self.description) is not None

    @cached_property
    def unit(self) -> str:
        """What the values of a PET are taken for: what its series says, else what the names of the layouts mean."""
        told = (self.series.model_extra or {}).get("unit")
        return str(told) if told in ("SUVbw", "Bq/ml", "stored") else unit_of_name(self.image.name)

    def facts(self, record: Study) -> dict[str, Any]:
        """Return what is known about a PET: its sidecar, the ``facts`` of its series, the patient of the record.

        Raises
        ------
        RecordError
            ``sidecar_unreadable``.
        """
        found: Any = {}
        if self.sidecar is not None:
            try:
                found = orjson.loads(self.sidecar.read_bytes())
            except orjson.JSONDecodeError:
                found = None
        inline = (self.series.model_extra or {}).get("facts", {})
        if not isinstance(found, dict) or not isinstance(inline, dict):
            raise RecordError("sidecar_unreadable", f"{self.sidecar or self.image}: the facts are no JSON object")
        patient = {"PatientWeight": record.weight_kg, "PatientSize": record.height_m, "PatientSex": record.sex}
        told = {key: value for key, value in patient.items() if value is not None}
        if "BodyWeight" in found or "BodyWeight" in inline:
            told.pop("PatientWeight", None)
        return {**told, **found, **inline}


def array_stem(name: str) -> str:
    """Return the name of an array file without its suffix."""
    return name.removesuffix(".gz").removesuffix(".nii").removesuffix(".npz").removesuffix(".npy")


def unit_of_name(name: str) -> str:
    """Return the unit of a PET file by its name: autoPET's and nnU-Net's; ``stored`` for any other."""
    stem = array_stem(name).lower()
    if name.endswith((".npz", ".npy")):
        return "stored"
    if stem.endswith(("suv", "_0001")):
        return "SUVbw"
    return "Bq/ml" if stem.endswith("pet") else "stored"


def is_arrays(record: Study) -> bool:
    """Say whether a series of the record that may be converted is an array file."""
    return bool(_arrays(record))


def _arrays(record: Study) -> list[ArraySeries]:
    found = []
    for place, series in enumerate(record.series):
        if series.set_aside is not None or series.modality not in _MODALITIES:
            continue
        paths = [Path(series.dir or "") / name for name in series.files or []]
        images = [path for path in paths if path.name.endswith(_ARRAYS)]
        sidecars = [path for path in paths if path.name.endswith(_SIDECAR)]
        if images:
            if len(images) > 1 or len(sidecars) > 1 or len(paths) > len(images) + len(sidecars):
                raise RecordError("array_series", "a series of an array file names more than it and one JSON")
            found.append(ArraySeries(place, series, images[0], sidecars[0] if sidecars else None))
    return found


def read_arrays(
    record: Study, sources: Sequence[Source], picks: Sequence[SeriesPick | None], suv: SuvRule
) -> tuple[dict[str, Any], dict[str, SeriesVolume]]:
    """Return what becomes of fields of the record, and the volumes by role (``ct``, ``pet``).

    The fields are its series with role or reason, and the scanner that the PET's sidecar names.

    Of several CT the one that is not resampled is taken, of several PET the one in SUV.

    Raises
    ------
    RecordError
        ``mixed_inputs``: DICOM beside arrays in one record. ``array_series``, ``sidecar_unreadable``, ``series_pick_*``
        and what reading raises (`petct_cli.volume.array_input`). ``slices_differ``: CT and PET without geometry have
        different numbers of slices, so that nothing says which belong together.
    """
    from petct_cli.volume.array_input import read_ct_array, read_pet_array
    from petct_cli.volume.series_rank import take_one

    arrays = _arrays(record)
    if {source.series for source in sources} - {one.place for one in arrays}:
        raise RecordError("mixed_inputs", "the record names DICOM and array files", "give one study of each")
    told, made = list(record.series), {}
    volumes: dict[str, SeriesVolume] = {}
    for modality, pick in zip(_MODALITIES, picks, strict=True):
        some = [one for one in arrays if one.series.modality == modality]
        what, role = ("CT", "ct") if modality == "CT" else ("PET", "pet")
        if pick is not None:
            taken, because = pick.only(some, what), f"--{role}-series"
            reasons = {one.place: f"--{role}-series names another" for one in some if one is not taken}
        elif some:
            verdict = take_one(some, _criteria())
            taken, because = verdict.taken, "; ".join(verdict.merits) or f"the only {what}"
            reasons = {some[i].place: reason for i, reason in verdict.why_not.items()}
        else:
            continue
        for place, reason in reasons.items():
            told[place] = told[place].model_copy(update={"set_aside": reason})
        told[taken.place] = told[taken.place].model_copy(update={"role": role, "chosen_because": because})
        if role == "ct":
            volumes[role] = read_ct_array(taken.image)
        else:
            facts = taken.facts(record)
            made = scanner_of([(facts.get("Manufacturer"), facts.get("ManufacturersModelName"))])
            volumes[role] = read_pet_array(taken.image, taken.unit, facts, suv)
    for place, series in enumerate(told):
        if series.role is None and series.set_aside is None:
            told[place] = series.model_copy(update={"set_aside": f"modality {series.modality}"})
    _require_paired(volumes)
    return {"series": told, **made}, volumes


def _criteria() -> list[Criterion[ArraySeries]]:
    from petct_cli.volume.series_rank import Criterion, each

    return [
        Criterion(
            "not resampled", each(lambda one: not one.is_resampled), lambda *_: "resampled image, the original is there"
        ),
        Criterion(
            "corrected for attenuation",
            each(lambda one: not one.is_called_uncorrected),
            lambda *_: "no attenuation correction",
        ),
        Criterion("in SUV", each(lambda one: one.unit == "SUVbw"), lambda *_: "the SUV of it is there"),
        Criterion(
            "with facts for the SUV", each(lambda one: one.sidecar is not None), lambda *_: "another one has a sidecar"
        ),
    ]


def _require_paired(volumes: dict[str, SeriesVolume]) -> None:
    if len(volumes) == 2 and not any(volume.has_geometry for volume in volumes.values()):
        ct, pet = (volumes[role].grid.shape[0] for role in ("ct", "pet"))
        if ct != pet:
            raise RecordError("slices_differ", f"CT and PET without geometry have {ct} and {pet} slices")
