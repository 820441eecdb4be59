"""``petct train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("jobs", "seed"))
def main(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets the model and a cache.")],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Sample records.")] = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="saliency, or pet-threshold: a baseline that learns from true lesions.")
    ] = "saliency",
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Training steps; by default as many as the samples are worth."),
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Train a vision-language model on samples.

    Reads all samples, learns from split "train", validates on "val", and leaves out (and counts) the failed ones. The
    default recipe runs on a CPU in minutes: it looks where PET uptake is unusual, describes those spots in numbers, and
    teaches a small LLaVA to write the report from them. It reads images and text only, never true lesions. Writes
    DIR/model, a folder that transformers can load, and emits one checkpoint record. Interrupted, the same command goes
    on; finished, it emits the record again. The same samples, options and seed give the same weights for any --jobs.

    Example:

        petct convert dicom/ -o vol | petct pair | petct train -o run -j 2
    """
    from petct_cli.stages.train import Train, refuse_several_processes

    refuse_several_processes(reads_stdin=not files or "-" in files)
    stage = Train(out=out, recipe=recipe, steps=steps, seed=shared.seed, jobs=shared.jobs)
    run(stage, read_records(files), shared)
