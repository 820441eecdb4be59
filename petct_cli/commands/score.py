"""``petct score``."""

from __future__ import annotations

import sys
from shutil import get_terminal_size

from petct_cli.cli import score_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("seed",))
def main(
    files: opt.Files = None,
    metrics: opt.Metrics = None,
    preset: opt.Preset = "vi",
    as_written: opt.AsWritten = "",
    tokens: opt.Tokens = "syllable",
    bert_model: opt.BertModel = None,
    layer: opt.Layer = None,
    system: opt.System = None,
    reference_field: opt.ReferenceField = "reference",
    hypothesis_field: opt.HypothesisField = "hypothesis",
    patient_field: opt.PatientField = "patient",
    group_field: opt.GroupField = "region",
    lesion_fields: opt.LesionFields = "reference_lesions,hypothesis_lesions",
    scope: opt.Scope = None,
    tolerance: opt.Tolerance = "",
    severity: opt.Severity = None,
    by_organ: opt.ByOrgan = False,
    controls: opt.Controls = True,
    bootstrap: opt.Bootstrap = 1000,
    vqa_tolerance: opt.VqaTolerance = 10,
    extractor_url: opt.ExtractorUrl = None,
    extractor_model: opt.ExtractorModel = None,
    extractor_cache: opt.ExtractorCache = None,
    extractor_remote: opt.ExtractorRemote = False,
    per_sample: opt.PerSample = False,
    append: opt.Append = None,
    output: opt.Format = "auto",
    *,
    shared: Shared,
) -> None:
    """Score hypotheses against references, with null controls.

    Reads any JSONL with a reference and a hypothesis, all of it before the first score. Failed and missing hypotheses
    count as empty. Several FILEs are several systems, named after the files, unless the records have a field "system".
    Emits one score record per metric with a 95 % interval over patients: over all, per group, and per control
    (template, other_patient, shuffled, self, stock_removed, chance, frequent_site, majority). What the true order gains
    over shuffled is the image signal. Each two systems give a comparison record: paired randomisation, Holm corrected.

    Example:

        petct generate samples.jsonl --model model | petct score --format md
    """
    from petct_cli.stages.score import Score, Spelling
    from petct_cli.stages.score_clinical import read_choices
    from petct_cli.stages.score_input import named_fields, of_systems
    from petct_cli.stages.score_lesions import endpoint_extractor
    from petct_cli.stages.score_log import refuse_other_uses
    from petct_cli.stages.score_show import as_shown

    refuse_other_uses(append, *(files or []), shared.lock)
    fields = named_fields(reference_field, hypothesis_field, patient_field, group_field, lesion_fields)
    stage = Score(
        metrics=tuple(name for name in (metrics or "").split(",") if name),
        preset=preset,
        spelling=Spelling.except_for(as_written),
        tokens=tokens,
        bert_model=bert_model,
        layer=layer,
        fields=fields,
        system=system,
        controls=controls,
        resamples=bootstrap,
        seed=shared.seed,
        vqa_tolerance=vqa_tolerance / 100,
        extractor=endpoint_extractor(extractor_url, extractor_model, extractor_cache, extractor_remote, shared.seed),
        per_sample=per_sample,
        clinical=read_choices(scope, tolerance, severity, by_organ),
        append=append,
    )
    shown = as_shown(stage, output, sys.stdout.buffer.write, sys.stdout.isatty(), get_terminal_size((120, 24)).columns)
    run(shown, of_systems(files, system, fields, read_records), shared)
