"""Pictures of a region for trainers that read no volumes: projections of the PET, sections of the CT, fused slices.

Three PNGs a region: ``pet`` (coronal and sagittal maximum-intensity projection), ``ct`` (coronal and sagittal section
through the middle of the body) and ``axial`` (nine fused slices from the top down), as 2.5D baselines use them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import PetctError, RecordError
from petct_cli.core.records import Record, Study
from petct_cli.core.store import Store
from petct_cli.dataset.samples import check_volumes
from petct_cli.volume.regions import RegionBounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES = ("pet", "ct", "axial")
FOLDER = "images"
VERSION = "1"
_ROWS = 3
_GAP_PX = 4
_BODY_HU = -300


def picture_path(study: str, region: str, picture: str) -> str:
    """Return where a picture lies below the folder of the export."""
    return f"{FOLDER}/{study}/{region}_{picture}.png"


def draw_pictures(folder: Path, study: Study, regions: Sequence[RegionBounds]) -> None:
    """Draw the pictures of every region of `study` below `folder`; finished ones are not drawn again.

    Raises
    ------
    RecordError
        ``volume_missing``, ``bad_volume`` and what else reading says; ``bad_id``; ``grids_differ``.
    """
    ct, pet = check_volumes(study)
    store = Store(folder / FOLDER, "export")
    options: dict[str, Any] = {"regions": [[bounds.name, bounds.start, bounds.stop] for bounds in regions]}
    if not pet.unit.startswith("SUV"):
        options["unit"] = pet.unit
    key = store.key([ct.sha256, pet.sha256], options, VERSION)

    def build(temporary: Path) -> list[Record]:
        import numpy as np

        from petct_cli.volume.preview import likely_grid
        from petct_cli.volume.render import pet_window

        dz, dy, dx = pet.spacing_mm or likely_grid(tuple(pet.shape)).spacing_mm
        voxels = [_read(volume.path) for volume in (ct, pet)]
        if any(list(array.shape) != pet.shape for array in voxels):
            raise RecordError("grids_differ", "the volumes on disk have another shape than the record says")
        # Of the whole scan: its regions are seen in one window.
        window = pet_window(pet.unit, np.nan_to_num(voxels[1].astype(np.float32), posinf=0.0, neginf=0.0).max(axis=1))
        for bounds in regions:
            ct_part, pet_part = (array[bounds.start : bounds.stop] for array in voxels)
            for name, data in region_pictures(ct_part, pet_part, (dz, dy, dx), window).items():
                (temporary / f"{bounds.name}_{name}.png").write_bytes(data)
        return []

    store.once(study.id, key, build)


def _read(path: str) -> NDArray[Any]:
    from petct_cli.volume.storage import load_volume

    try:
        return load_volume(path)
    except PetctError as error:
        raise RecordError(error.code, error.message) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise RecordError("bad_volume", f"{path}: cannot be read: {type(error).__name__}") from None


def region_pictures(
    ct: NDArray[Any],
    pet: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    window: tuple[float, float] = (0.0, 8.0),
) -> dict[str, bytes]:
    """Return the PNGs of one region by name.

    Parameters
    ----------
    ct, pet
        ``(z, y, x)``, HU and SUVbw on one grid, z ascending towards the head.
    spacing_mm
        Voxel edge lengths ``(z, y, x)``.
    window
        PET values of the lightest and the darkest, in the unit of `pet` (`petct_cli.volume.render.pet_window`).
    """
    import numpy as np

    from petct_cli.volume.render import fuse, fused_axial, pet_mip, to_png

    pet = np.nan_to_num(np.asarray(pet, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    depth, height, width = spacing_mm
    row, column = _middle(ct)
    nothing = np.zeros_like
    coronal, sagittal = ct[::-1, row], ct[::-1, :, column]
    slices = np.linspace(len(ct) - 1, 0, _ROWS * _ROWS).round().astype(int)
    tiles = {
        "pet": [
            [
                to_png(pet_mip(pet, window), (depth, width)),
                to_png(pet_mip(pet.transpose(0, 2, 1), window), (depth, height)),
            ]
        ],
        "ct": [
            [
                to_png(fuse(coronal, nothing(coronal)), (depth, width)),
                to_png(fuse(sagittal, nothing(sagittal)), (depth, height)),
            ]
        ],
        "axial": [
            [to_png(fused_axial(ct, pet, int(z), window), (height, width)) for z in slices[first : first + _ROWS]]
            for first in range(0, _ROWS * _ROWS, _ROWS)
        ],
    }
    return {name: _montage(rows) for name, rows in tiles.items()}


def _middle(ct: NDArray[Any]) -> tuple[int, int]:
    """Return the row and column through the middle of what is denser than air and the table's foam."""
    import numpy as np

    dense = (ct > _BODY_HU).sum(axis=0)
    if not dense.any():
        return ct.shape[1] // 2, ct.shape[2] // 2
    rows, columns = np.arange(dense.shape[0]), np.arange(dense.shape[1])
    total = dense.sum()
    return int((dense.sum(axis=1) * rows).sum() / total), int((dense.sum(axis=0) * columns).sum() / total)


def _montage(rows: Sequence[Sequence[bytes]]) -> bytes:
    """Lay equal tiles of a row side by side, rows one below the other, on black."""
    from PIL import Image

    opened = [[Image.open(io.BytesIO(tile)).convert("RGB") for tile in row] for row in rows]
    width = max(sum(tile.width for tile in row) + _GAP_PX * (len(row) - 1) for row in opened)
    height = sum(max(tile.height for tile in row) for row in opened) + _GAP_PX * (len(opened) - 1)
    sheet = Image.new("RGB", (width, height))
    y = 0
    for row in opened:
        x = 0
        for tile in row:
            sheet.paste(tile, (x, y))
            x += tile.width + _GAP_PX
        y += max(tile.height for tile in row) + _GAP_PX
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
