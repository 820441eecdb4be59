"""The preview of a study: drawn when it is converted, or later from what its record says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import InputError
from petct_cli.core.records import Preview, Study, Volume

if TYPE_CHECKING:
    import numpy.typing as npt

    from petct_cli.volume.finish import Finished
    from petct_cli.volume.preview import Shown

FILE_NAME = "preview.png"


def write_preview(
    study: str, finished: Mapping[str, Finished], fields: Mapping[str, Any], temporary: Path, final: Path
) -> Preview:
    """Draw ``preview.png`` of finished volumes (``ct``, ``pet``) into `temporary`; return its entry for the record."""
    from petct_cli.volume.preview import render_preview

    shown = {role: _on_its_grid(done.array, fields[role]) for role, done in finished.items()}
    picture = render_preview(study, shown.get("ct"), shown.get("pet"))
    (temporary / FILE_NAME).write_bytes(picture.png)
    return Preview(path=str(final / FILE_NAME), sha256=picture.sha256)


def preview_of(study: Study) -> bytes | None:
    """Return the PNG of a converted study that has none yet; None where there is no volume.

    Raises
    ------
    InputError
        ``bad_volume``, and what `load_volume` raises.
    """
    from petct_cli.volume.preview import render_preview

    ct, pet = (_shown(volume) for volume in (study.ct, study.pet))
    return render_preview(study.id, ct, pet).png if ct is not None or pet is not None else None


def _shown(volume: Volume | None) -> Shown | None:
    from petct_cli.volume.storage import load_volume

    if volume is None:
        return None
    return _on_its_grid(load_volume(volume.path), volume)


def _on_its_grid(array: npt.NDArray[Any], volume: Volume) -> Shown:
    """Return a volume as its record places it; where nobody knows how large its voxels are, on a likely grid."""
    import numpy as np

    from petct_cli.volume.geometry import Grid
    from petct_cli.volume.preview import Shown, likely_grid

    if array.ndim != 3:
        raise InputError("bad_volume", "shape or affine are not those of a volume")
    if volume.affine is None and volume.spacing_mm is None:
        return Shown(array, likely_grid(array.shape), volume.unit, to_scale=False)
    affine = np.array(volume.affine if volume.affine is not None else _bare(volume.spacing_mm or []), np.float64)
    if affine.shape != (4, 4) or not abs(np.linalg.det(affine)) > 0:
        raise InputError("bad_volume", "shape or affine are not those of a volume")
    return Shown(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine), volume.unit)


def _bare(spacing_mm: list[float]) -> list[list[float]]:
    """Return the affine of a volume whose place is unknown, from its spacing alone."""
    dz, dy, dx = spacing_mm
    return [[0.0, 0.0, dx, 0.0], [0.0, dy, 0.0, 0.0], [dz, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
