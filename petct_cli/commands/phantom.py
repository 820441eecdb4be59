"""``petct phantom``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared


class Kind(StrEnum):
    """What ``--as`` takes."""

    dicom = "dicom"
    volumes = "volumes"


class CtGrid(StrEnum):
    """What ``--ct-grid`` takes."""

    fine = "fine"
    pet = "pet"


@command(uses=("jobs", "seed"))
def main(
    studies: Annotated[int, typer.Option(metavar="N", min=1, help="How many studies to make.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the studies.")],
    kind: Annotated[Kind, typer.Option("--as", help="DICOM with invented identities, or converted volumes.")] = (
        Kind.dicom
    ),
    ct_grid: Annotated[
        CtGrid, typer.Option(help="CT pixels of the DICOM: fine (3 mm), or the PET's for studies of half the size.")
    ] = CtGrid.fine,
    *,
    shared: Shared,
) -> None:
    """Make synthetic PET/CT studies: images, Vietnamese reports and the true lesions.

    Each study is a whole-body FDG PET/CT of a schematic patient with 0 to 3 lesions at 16 places, in DIR/study_0001
    and so on: CT and PET slices as DICOM with invented names and numbers in headers and report, report.json, and
    lesions.json with site, side, size, SUVmax and centre of every lesion. With --as volumes the studies are written as
    convert would write them. The same seed gives the same bytes, and study 7 is the same however many are made. A
    study that is already there is not made again. Good results on phantoms show that a pipeline works, not that a model
    reads patients.

    Example:

        petct phantom --studies 3 --seed 1 -o demo | petct convert - -o vol
    """
    from petct_cli.stages.phantom import MakePhantom, phantom_jobs

    run(MakePhantom(out, kind.value, ct_grid.value), phantom_jobs(studies, shared.seed), shared)
