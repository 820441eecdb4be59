"""The options of ``petct score``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_INPUT, _LESIONS, _CHECKS, _OUTPUT = "What is scored", "Lesions", "Controls and statistics", "Output"

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Records with a reference and a hypothesis.")]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="bleu1..bleu4, rouge1, rougeL, chrf, meteor, cider_d, bertscore_f1, f1_t, f1_tp, vqa_closed_accuracy, ... "
        "petct-score(7) and the README explain each.",
    ),
]
Preset = Annotated[str, typer.Option(metavar="NAME", help="vi, or vimed: the published recipe, as it is.")]
AsWritten = Annotated[
    str,
    typer.Option(
        metavar="WHAT,...", show_default=False, help="Spelling to take as it is: unicode, tone, case, decimal."
    ),
]
Tokens = Annotated[str, typer.Option(metavar="NAME", help="syllable, or pyvi: the words that it finds.")]
BertModel = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|NAME",
        help="Model of BERTScore: a folder, or a name in the Hugging Face cache; only hf://NAME is fetched.",
    ),
]
Layer = Annotated[int | None, typer.Option(min=0, metavar="N", help="Layer of --bert-model whose output is compared.")]
System = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name where a record has no system.", rich_help_panel=_INPUT)
]
ReferenceField = Annotated[str, typer.Option(metavar="FIELD", help="Right text.", rich_help_panel=_INPUT)]
HypothesisField = Annotated[str, typer.Option(metavar="FIELD", help="Text to judge.", rich_help_panel=_INPUT)]
PatientField = Annotated[str, typer.Option(metavar="FIELD", help="Unit of resampling.", rich_help_panel=_INPUT)]
GroupField = Annotated[
    str,
    typer.Option(
        metavar="FIELD,...",
        help="Groups that also get scores: region, task, patient, any field. Controls exchange within the first.",
        rich_help_panel=_INPUT,
    ),
]
LesionFields = Annotated[
    str,
    typer.Option(
        metavar="FIELD,FIELD",
        help="Lesion lists of the reference and the hypothesis; they count in place of what the texts state.",
        rich_help_panel=_INPUT,
    ),
]
Scope = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Count lesions there only: head_neck, chest, abdomen_pelvis, musculoskeletal.",
        rich_help_panel=_LESIONS,
    ),
]
Tolerance = Annotated[
    str,
    typer.Option(
        metavar="NAME=SHARE,...",
        show_default=False,
        help="What is the same still: position=0.6 (of all places named), size=20%, suv=20% (these are the defaults).",
        rich_help_panel=_LESIONS,
    ),
]
Severity = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights of errors (TOML) in place of petct's own.", rich_help_panel=_LESIONS),
]
ByOrgan = Annotated[
    bool, typer.Option("--by-organ", help="Score the lesions of each organ, too.", rich_help_panel=_LESIONS)
]
Controls = Annotated[bool, typer.Option(help="Score null controls, too.", rich_help_panel=_CHECKS)]
Bootstrap = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resamples for intervals and tests.", rich_help_panel=_CHECKS)
]
VqaTolerance = Annotated[
    float,
    typer.Option(min=0, metavar="PCT", help="How far off a numeric answer may be.", rich_help_panel=_CHECKS),
]
ExtractorUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="OpenAI-compatible endpoint (http://127.0.0.1:8000/v1) whose model reads the lesions of the clinical "
        "metrics in place of the rules. A key is read from PETCT_API_KEY.",
        rich_help_panel=_LESIONS,
    ),
]
ExtractorModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="Model at --extractor-url.", rich_help_panel=_LESIONS)
]
ExtractorCache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Keep its answers as they came, and ask for none twice.", rich_help_panel=_LESIONS
    ),
]
ExtractorRemote = Annotated[
    bool,
    typer.Option(
        "--extractor-remote",
        help="Let report texts leave this machine: without it the URL must be on it.",
        rich_help_panel=_LESIONS,
    ),
]
PerSample = Annotated[
    bool,
    typer.Option(
        "--per-sample",
        help="Emit a sample_score record per sample, in input order, before the scores.",
        rich_help_panel=_OUTPUT,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page, too: verdict, scores, controls, worst cases. It holds report texts.",
        rich_help_panel=_OUTPUT,
    ),
]
Append = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Add one line about this run (JSONL): hashes, options, scores. The same run again adds nothing.",
        rich_help_panel=_OUTPUT,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="jsonl, table, md, latex, csv or html; auto: table on a terminal.",
        rich_help_panel=_OUTPUT,
    ),
]
