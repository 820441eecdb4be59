"""``petct pair``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("jobs", "executor", "shard"))
def main(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Study records.")] = None,
    regions: Annotated[
        str, typer.Option(metavar="RULE", help="paper, whole, or fractions:A,B,C counted from the head.")
    ] = "paper",
    overlap: Annotated[
        str, typer.Option(metavar="N|Nmm", help="What two neighbouring regions share, in slices or mm.")
    ] = "20",
    split: Annotated[
        str,
        typer.Option(metavar="RULE", help="random:SEED[:A/B/C] by patient, or one of train, val, test for all."),
    ] = "random:0",
    reports: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Clean reports for studies that carry none (JSON, JSONL, CSV, text)."),
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Pair images with report text: one sample per study, region and task.

    Reads study records that `petct convert` wrote and emits three samples a study: head-neck, chest, abdomen-pelvis,
    each with its slices, its findings and its split. A scan shorter than 700 mm is one sample of region "unknown".
    A study without CT, PET or report becomes failed samples. Streams.

    Example:

        petct convert dicom/ -o vol | petct pair > samples.jsonl
    """
    from petct_cli.dataset.splits import SplitRule
    from petct_cli.stages.pair import Pair, RegionRule

    stage = Pair(RegionRule.parse(regions, overlap), SplitRule.parse(split), reports)
    run(stage, read_records(files), shared)
