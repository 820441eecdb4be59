"""``pair --preview``: one picture a study with its regions drawn in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study, Volume
from petct_cli.core.store import check_name, write_atomically
from petct_cli.dataset.samples import slice_position_mm
from petct_cli.volume.regions import RegionBounds, ascends

_log = logging.getLogger(__name__)


def write_preview(folder: Path, study: Study, ct: Volume, pet: Volume, bounds: Sequence[RegionBounds]) -> None:
    """Write ``folder/ID.png``; a study whose volumes cannot be read has no picture, and is told of.

    Raises
    ------
    OutputError
        The operating system refused.
    """
    from petct_cli.volume.lungs import read_slabs
    from petct_cli.volume.preview import likely_grid
    from petct_cli.volume.region_preview import coronal_film, coronal_mip, draw_regions
    from petct_cli.volume.render import PET_WINDOW_SUV

    depth = pet.shape[0]
    try:
        check_name(study.id)
        upright = ascends(pet.affine)
        film = coronal_film(read_slabs(ct.path, tuple(ct.shape), "CT"), depth)
        window = PET_WINDOW_SUV if pet.unit.startswith("SUV") else None
        mip = coronal_mip(read_slabs(pet.path, tuple(pet.shape), "PET"), depth, window)
    except RecordError as error:
        _log.warning("%s: no preview: %s", study.id, error.message)
        return
    if pet.affine is not None and pet.affine[0][2] < 0:  # columns run to the patient's right
        film, mip = film[:, ::-1], mip[:, ::-1]
    positions = [slice_position_mm(pet, index) for index in range(depth)]
    step, _, across = pet.spacing_mm or likely_grid(tuple(pet.shape)).spacing_mm
    picture = draw_regions((film, mip), bounds, (step, across), positions, upright=upright)
    write_atomically(folder / f"{study.id}.png", picture)
