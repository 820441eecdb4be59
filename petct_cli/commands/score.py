"""``petct score``."""

from __future__ import annotations

import shutil
import sys
from itertools import chain
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records
from petct_cli.core.errors import UsageError

FilesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="FILE|-", help="Records with a reference and a hypothesis.")
]
MetricsOption = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="bleu4, rougeL, site_f1, size_mae_mm, vqa_closed_accuracy, ...")
]


@command(uses=("seed",))
def main(
    files: FilesArgument = None,
    metrics: MetricsOption = None,
    preset: Annotated[str, typer.Option(metavar="NAME", help="vi, or vimed: the published recipe, as it is.")] = "vi",
    system: Annotated[str | None, typer.Option(metavar="NAME", help="Name where a record has no system.")] = None,
    reference_field: Annotated[str, typer.Option(metavar="FIELD", help="Right text.")] = "reference",
    hypothesis_field: Annotated[str, typer.Option(metavar="FIELD", help="Text to judge.")] = "hypothesis",
    patient_field: Annotated[str, typer.Option(metavar="FIELD", help="Unit of resampling.")] = "patient",
    group_field: Annotated[str, typer.Option(metavar="FIELD", help="Groups that also get scores.")] = "region",
    controls: Annotated[bool, typer.Option(help="Score null controls, too.")] = True,
    bootstrap: Annotated[int, typer.Option(min=0, metavar="N", help="Resamples for intervals and tests.")] = 1000,
    vqa_tolerance: Annotated[float, typer.Option(min=0, metavar="PCT", help="Of numeric answers, in percent.")] = 10,
    as_written: Annotated[
        str, typer.Option(metavar="WHAT,...", help="Spelling to take as it is: unicode, tone, case, decimal.")
    ] = "",
    output: Annotated[
        str, typer.Option("--format", metavar="NAME", help="jsonl, md or table; auto: table on a terminal.")
    ] = "auto",
    *,
    shared: Shared,
) -> None:
    """Score hypotheses against references, with null controls.

    Reads any JSONL with a reference and a hypothesis, all of it before the first score. Failed and missing hypotheses
    count as empty. Several FILEs are several systems, named after the files, unless the records have a field "system".
    Emits one score record per metric: over all, per group, and per control (template, other_patient, shuffled, self,
    chance, frequent_site, majority), with 95 % intervals over patients. Text is compared in a canonical form.

    Example:

        petct generate samples.jsonl --model model | petct score --format md
    """
    from petct_cli.stages.score import Score, Spelling
    from petct_cli.stages.score_input import Fields, file_names, named
    from petct_cli.stages.score_show import ShownScore

    kept = {name for name in as_written.split(",") if name}
    if not kept <= {"unicode", "tone", "case", "decimal"}:
        raise UsageError("bad_option", "--as-written takes unicode, tone, case, decimal")
    if output not in ("auto", "jsonl", "md", "table"):
        raise UsageError("bad_option", "--format takes jsonl, md or table")
    stage = Score(
        metrics=tuple(name for name in (metrics or "").split(",") if name),
        preset=preset,
        spelling=Spelling(**dict.fromkeys(kept, False)),
        fields=Fields(reference_field, hypothesis_field, patient_field, group_field),
        system=system,
        controls=controls,
        resamples=bootstrap,
        seed=shared.seed,
        vqa_tolerance=vqa_tolerance / 100,
    )
    form = ("table" if sys.stdout.isatty() else "jsonl") if output == "auto" else output
    width = shutil.get_terminal_size((120, 24)).columns
    shown = stage if form == "jsonl" else ShownScore(stage, form, sys.stdout.buffer.write, width)
    names = file_names(files or []) if system is None and len(files or []) > 1 else [None]
    sources = [
        named(read_records([file], any_json=True), name)
        for file, name in zip(files or ["-"], names * (len(files or ["-"]) // len(names)), strict=True)
    ]
    run(shown, chain.from_iterable(sources), shared)
