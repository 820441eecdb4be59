"""The volumes of a study onto one grid."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.stages.convert_rules import parse_grid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from petct_cli.volume.geometry import Grid
    from petct_cli.volume.series_volume import SeriesVolume

MOST_VOXELS = 2_000_000_000
"""More is a slip of ``--grid iso``: a metre of body in cubes of 0.5 mm has this many."""


def overlap_of(volumes: dict[str, SeriesVolume]) -> float:
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


def place_on_grid(
    volumes: dict[str, SeriesVolume], grid: str, threads: int = 1
) -> dict[str, tuple[npt.NDArray[np.generic], Grid]]:
    """Return each volume (``ct``, ``pet``) as (array, grid) on what ``--grid`` asks for.

    A single volume is its own grid, whichever is asked for. Sheared stacks (gantry tilt) come out straight. Volumes
    without geometry stay as they are.

    Raises
    ------
    RecordError
        ``grid_too_large``. ``no_geometry``: voxels of so many mm are asked for, and nobody knows how large they are.
    """
    from petct_cli.volume.resample import is_parallel, is_same_grid, isotropic_grid, resample, straight_grid
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
        # Slices are weighted as they come from the file: a CT in full need not lie in memory.
        by_slice = not volume.is_in_memory and is_parallel(volume.grid, own) and not is_same_grid(volume.grid, own)
        voxels: Any = volume.slices if by_slice else volume.array
        placed[role] = (resample(voxels, volume.grid, own, fill, threads), own)
    return placed
