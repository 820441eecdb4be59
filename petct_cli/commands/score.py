"""``petct score``."""

from __future__ import annotations

import sys
from functools import partial
from shutil import get_terminal_size

from petct_cli.cli import score_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("jobs", "seed"))
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
    html: opt.Html = None,
    append: opt.Append = None,
    output: opt.Format = "auto",
    *,
    shared: Shared,
) -> None:
    """Score hypotheses against references, with null controls.

    Reads any JSONL with a reference and a hypothesis, all of it before the first score; failed and missing hypotheses
    count as empty. Several FILEs, or values of a field "system", are compared in pairs. Emits a score record per metric
    with a 95 % interval over patients: over all, per group, per control: template (one text for all), other_patient,
    shuffled (what the true order gains is the image signal), self, stock_removed, chance, frequent_site, majority.

    Example:

        petct generate samples.jsonl --model model | petct score --format md

        petct score ours.jsonl theirs.jsonl --html scores.html > scores.jsonl
    """
    from petct_cli.stages.score import Score
    from petct_cli.stages.score_clinical import endpoint_extractor, read_choices
    from petct_cli.stages.score_files import read_systems
    from petct_cli.stages.score_input import named_fields
    from petct_cli.stages.score_log import refuse_other_uses
    from petct_cli.stages.score_show import as_shown
    from petct_cli.stages.score_wording import Wording

    refuse_other_uses(append, html, *(files or []), shared.lock, shared.json_logs, severity)
    fields = named_fields(reference_field, hypothesis_field, patient_field, group_field, lesion_fields)
    extractor = endpoint_extractor(extractor_url, extractor_model, extractor_cache, extractor_remote, shared.seed)
    stage = Score(
        metrics=tuple(dict.fromkeys(name for one in (metrics or "").split(",") if (name := one.strip()))),
        preset=preset,
        wording=Wording.parse(as_written, tokens, bert_model, layer),
        fields=fields,
        system=system,
        controls=controls,
        resamples=bootstrap,
        seed=shared.seed,
        vqa_tolerance=vqa_tolerance / 100,
        clinical=read_choices(scope, tolerance, severity, by_organ, extractor),
        per_sample=per_sample,
        html=html,
        append=append,
        jobs=shared.jobs,
    )
    shown = as_shown(stage, output, sys.stdout, get_terminal_size((120, 24)).columns)
    run(shown, read_systems(files or [], system, fields, partial(read_records, any_json=True)), shared)
