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
    regions: opt.Regions = "paper",
    overlap: opt.Overlap = "20",
    split: opt.Split = "random:0",
    duplicates: opt.Duplicates = "move",
    near: opt.Near = 0.95,
    template: opt.Template = 50,
    leakage: opt.Leakage = None,
    reports: opt.Reports = None,
    report_pattern: opt.ReportPattern = None,
    report_index: opt.ReportIndex = None,
    key_file: opt.KeyFile = None,
    unmatched: opt.Unmatched = None,
    *,
    shared: Shared,
) -> None:
    """Pair images with report text: one sample per study, region and task.

    Reads study records that `petct convert` wrote and emits three samples a study: head-neck, chest, abdomen-pelvis,
    each with its slices, its findings and its split. A scan shorter than 700 mm is one sample of region "unknown".
    A study without CT, PET or report becomes failed samples.

    Splits are by patient, and patients whose reports say the same (exactly, or nearly) come to one split, so all
    studies are read before the first sample is written. It streams with --duplicates off and a random split, and when
    all go to one split, unless reports must be matched: a report that two studies claim is given to neither.

    Example:

        petct convert dicom/ -o vol | petct pair > samples.jsonl
    """
    from petct_cli.dataset.placement import DuplicateRule
    from petct_cli.dataset.split_rules import parse_split
    from petct_cli.dicom.deid.pseudonyms import load_key
    from petct_cli.stages.pair import Pair, RegionRule
    from petct_cli.stages.pair_plan import Placing
    from petct_cli.stages.pair_reports import Ledger, ReportSource

    rule, alike = parse_split(split), DuplicateRule.parse(duplicates, near, template)
    key = None if key_file is None else load_key(key_file)
    source = ReportSource.of(reports, report_pattern, report_index, key)
    placing = Placing(rule, alike, leakage, Ledger(source, unmatched))
    stage = Pair(RegionRule.parse(regions, overlap), rule.for_workers, alike, source)
    with placing.folder() as folder:
        run(stage, placing.place(read_records(files), stage, folder), shared, placing)
