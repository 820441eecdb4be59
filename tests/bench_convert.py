"""The part of ``make bench`` about `petct convert`: studies of clinical size, beside dcm2niix, in one run."""

from __future__ import annotations

from pathlib import Path

from petct_cli.dicom.synthesise import Stack, draw_protocol, write_study
from petct_cli.dicom.synthesise_identity import draw_identity
from petct_cli.volume.phantom import make_phantom
from petct_cli.volume.phantom_raster import Grid

STUDIES = 10
CT_SHAPE, CT_SPACING = (300, 512, 512), (3.27, 0.9766, 0.9766)
PET_SHAPE, PET_SPACING = (300, 200, 200), (3.27, 4.0728, 4.0728)


def clinical_studies(folder: Path, count: int = STUDIES) -> list[Path]:
    """Write studies of one phantom in clinical size (CT 512x512x300, PET 200x200x300), each with its own names and UIDs."""
    phantom = make_phantom(0, 0)
    stacks = {}
    for name, shape, spacing in (("ct", CT_SHAPE, CT_SPACING), ("pet", PET_SHAPE, PET_SPACING)):
        lowest = phantom.pet_grid.origin_mm[2]
        origin = (-spacing[2] * (shape[2] - 1) / 2, -spacing[1] * (shape[1] - 1) / 2, lowest)
        grid = Grid(shape, spacing, origin)
        voxels = phantom.render_ct(grid) if name == "ct" else phantom.render_pet(grid)
        stacks[name] = Stack(voxels, spacing, origin)
    protocol = draw_protocol(phantom.rng("protocol"), phantom.weight_kg)
    made = []
    for number in range(count):
        identity = draw_identity(make_phantom(0, number).rng("identity"), phantom.sex, phantom.age_years)
        place = folder / f"study_{number:02d}"
        place.mkdir(parents=True)
        write_study(
            place, (0, number), identity, protocol, height_m=phantom.height_m, weight_kg=phantom.weight_kg, **stacks
        )
        made.append(place)
    return made
