"""``petct pair``."""

from __future__ import annotations

from contextlib import nullcontext

from petct_cli.cli import pair_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import once_each, read_records
from petct_cli.core.scratch import scratch_folder


@command(uses=("jobs", "executor", "shard"))
def main(
    files: opt.Files = None,
    regions: opt.Regions = None,
    overlap: opt.Overlap = "20",
    split: opt.Split = "random:0",
    duplicates: opt.Duplicates = "move",
    near: opt.Near = 0.95,
    template: opt.Template = 50,
    leakage: opt.Leakage = None,
    reports: opt.Reports = None,
    report_pattern: opt.ReportPattern = None,
    report_index: opt.ReportIndex = None,
    report_columns: opt.ReportColumns = None,
    key_file: opt.KeyFile = None,
    unmatched: opt.Unmatched = None,
    slices: opt.Slices = False,
    preview: opt.Preview = None,
    task: opt.Task = "report",
    compare_pairs: opt.ComparePairs = 1,
    export: opt.Export = None,
    export_dir: opt.ExportDir = None,
    card: opt.Card = None,
    *,
    shared: Shared,
) -> None:
    """Pair images with report text: one sample per study, region and task.

    Reads study records that `petct convert` wrote and emits three samples a study: head-neck, chest, abdomen-pelvis,
    each with its slices, findings and split. Regions go by the lungs that the CT shows; without lungs by the paper's
    fractions, and a scan shorter than 700 mm is one sample of region "unknown". A study without CT, PET or report gives
    failed samples, an id seen before none (130 bytes each are kept). --slices lists CT slices with their PET slices.

    Splits are by patient, and patients whose reports say the same (exactly, or nearly) come to one split, so all
    studies are read before the first sample is written. It streams with --duplicates off and a random split, and when
    all go to one split, unless reports must be matched: a report that two studies claim is given to neither.

    --task vqa asks what the true lesions, or else the report, state of a region; what is not mentioned is not asked.
    Its yes/no questions (as many yes as no in each run or --shard: shards keep fewer), and comparisons (--task compare:
    of one patient's studies by date, and of two patients, within a split), follow the last study: they wait in TMPDIR.

    Example:

        petct convert dicom/ -o vol | petct pair > samples.jsonl

        petct pair studies.jsonl --task report,vqa --export trl --export-dir trl --card card.md > samples.jsonl
    """
    from petct_cli.core.errors import UsageError
    from petct_cli.core.gather import Chain
    from petct_cli.dataset.placement import DuplicateRule
    from petct_cli.dataset.split_rules import parse_split
    from petct_cli.dataset.tasks import TaskRule
    from petct_cli.stages.pair import Pair
    from petct_cli.stages.pair_outputs import Outputs
    from petct_cli.stages.pair_plan import Placing
    from petct_cli.stages.pair_regions import RegionRule
    from petct_cli.stages.pair_reports import Ledger, ReportSource
    from petct_cli.stages.pair_slices import PairSlices

    rule, alike = parse_split(split), DuplicateRule.parse(duplicates, near, template)
    source = ReportSource.of(reports, report_pattern, report_index, key_file, report_columns)
    placing = Placing(rule, alike, leakage, Ledger(source, unmatched), writes=not shared.dry_run)
    tasks, outputs = TaskRule.parse(task, compare_pairs), Outputs(export, export_dir, card)
    outputs.refuse_parts(tasks, shared.shard)
    stage: Pair | PairSlices
    if slices:
        if preview is not None or outputs or tasks.names != ("report",):
            raise UsageError("bad_option", "--preview, --task, --export and --card go with samples: not with --slices")
        stage = PairSlices(RegionRule.parse(regions or "whole", overlap), rule.for_workers, alike, source)
    else:
        cut = RegionRule.parse(regions or "anatomy", overlap)
        stage = Pair(cut, rule.for_workers, alike, source, preview, tasks, outputs.pictures)
    with placing.folder() as folder, scratch_folder() if tasks.waits or outputs else nullcontext() as scratch:
        written = outputs.gather(scratch, stage.about(), placing.counts) if scratch else []
        studies = outputs.watched(placing.place(once_each(read_records(files)), stage, folder), written, shared.shard)
        run(stage, studies, shared, placing, Chain([*stage.gather(scratch), *written]) if scratch else None)
