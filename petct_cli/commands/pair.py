"""``petct pair``."""

from __future__ import annotations

from petct_cli.cli import pair_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("jobs", "executor", "shard"))
def main(
    files: opt.Files = None,
    regions: opt.Regions = None,
    overlap: opt.Overlap = "20",
    split: opt.Split = "random:0",
    reports: opt.Reports = None,
    slices: opt.Slices = False,
    preview: opt.Preview = None,
    *,
    shared: Shared,
) -> None:
    """Pair images with report text: one sample per study, region and task.

    Reads study records that `petct convert` wrote and emits three samples a study: head-neck, chest, abdomen-pelvis,
    each with its slices, its findings and its split. Regions go by the lungs that the CT shows; without lungs by the
    paper's fractions, and a scan shorter than 700 mm is one sample of region "unknown".
    A study without CT, PET or report becomes failed samples. --slices lists each CT slice with its PET slice instead,
    whether there is a report or not. Streams.

    Example:

        petct convert dicom/ -o vol | petct pair > samples.jsonl
    """
    from petct_cli.core.errors import UsageError
    from petct_cli.dataset.splits import SplitRule
    from petct_cli.stages.pair import Pair
    from petct_cli.stages.pair_regions import RegionRule
    from petct_cli.stages.pair_slices import PairSlices

    patients = SplitRule.parse(split)
    stage: Pair | PairSlices
    if slices and preview is not None:
        raise UsageError("bad_option", "--preview goes with samples, not with --slices")
    if slices:
        stage = PairSlices(RegionRule.parse(regions or "whole", overlap), patients)
    else:
        stage = Pair(RegionRule.parse(regions or "anatomy", overlap), patients, reports, preview)
    run(stage, read_records(files), shared)
