"""Small sets of samples of phantoms, on disk, for the tests of train and generate."""

from __future__ import annotations

from pathlib import Path

from petct_cli.core.hashing import sha256_array
from petct_cli.core.records import Sample, Study
from petct_cli.dataset.samples import make_report_sample
from petct_cli.report.compose import compose_report
from petct_cli.volume.phantom import make_phantom
from petct_cli.volume.regions import PAPER_FRACTIONS, Overlap, regions_by_fractions
from petct_cli.volume.storage import save_volume


def make_samples(root: Path, count: int, *, seed: int = 5, regions: tuple[str, ...] = ("chest",)) -> list[Sample]:
    """Return one sample per phantom and region; of each five phantoms one is val, one test, the rest train."""
    samples = []
    for number in range(count):
        phantom = make_phantom(seed, number)
        folder = root / f"p{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        depth, _, _ = phantom.pet_grid.shape
        x, y, z = phantom.pet_grid.origin_mm
        dz, dy, dx = phantom.pet_grid.spacing_mm
        affine = [[0.0, 0.0, dx, x], [0.0, dy, 0.0, y], [dz, 0.0, 0.0, z], [0.0, 0.0, 0.0, 1.0]]
        volumes = {}
        for name, array, unit in (("ct", phantom.render_ct(), "HU"), ("pet", phantom.render_pet(), "SUVbw")):
            save_volume(folder / f"{name}.b2nd", array, affine)
            volumes[name] = {
                "path": str(folder / f"{name}.b2nd"),
                "sha256": sha256_array(array),
                "shape": list(array.shape),
                "spacing_mm": [dz, dy, dx],
                "affine": affine,
                "unit": unit,
                "dtype": array.dtype.name,
            }
        study = Study.model_validate({"id": f"s{number:02d}", "patient": f"p{number:02d}", **volumes})
        sections = compose_report(phantom.lesions, phantom.rng("text"))
        split = {3: "val", 4: "test"}.get(number % 5, "train")
        for bounds in regions_by_fractions(depth, dz, PAPER_FRACTIONS, Overlap(65, "mm"), "paper"):
            if bounds.name in regions:
                samples.append(make_report_sample(study, bounds, split, sections, phantom.lesions))
    return samples
