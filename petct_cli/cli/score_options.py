"""The options of ``petct score``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_INPUT, _CHECKS, _OUTPUT = "What is scored", "Controls and statistics", "Output"

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Records with a reference and a hypothesis.")]
Metrics = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="bleu1..bleu4, rouge1, rouge2, rougeL, site_f1, size_mae_mm, ...")
]
Preset = Annotated[str, typer.Option(metavar="NAME", help="vi, or vimed: the published recipe, as it is.")]
AsWritten = Annotated[
    str, typer.Option(metavar="WHAT,...", help="Spelling to take as it is: unicode, tone, case, decimal.")
]
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
Controls = Annotated[bool, typer.Option(help="Score null controls, too.", rich_help_panel=_CHECKS)]
Bootstrap = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resamples for intervals and tests.", rich_help_panel=_CHECKS)
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
