"""What the record tells of a volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.hashing import sha256_array
from petct_cli.core.records import Geometry, Suv, Volume
from petct_cli.volume.suv_types import suv_type

if TYPE_CHECKING:
    from petct_cli.volume.finish import Finished
    from petct_cli.volume.series_volume import SeriesVolume
    from petct_cli.volume.suv import SuvResult

_OBLIQUE_DEGREES = 0.1


def volume_record(path: Path, done: Finished, volume: SeriesVolume, overlap: float | None) -> Volume:
    """Return the entry of a finished volume, which will lie at `path`; `overlap` as of `overlap_of`."""
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
