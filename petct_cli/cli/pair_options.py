"""The options of ``petct pair``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Study records.")]
Regions = Annotated[str, typer.Option(metavar="RULE", help="paper, whole, or fractions:A,B,C counted from the head.")]
Overlap = Annotated[str, typer.Option(metavar="N|Nmm", help="What two neighbouring regions share, in slices or mm.")]
Split = Annotated[
    str,
    typer.Option(metavar="RULE", help="random:SEED[:A/B/C] by patient, or one of train, val, test for all."),
]
Reports = Annotated[
    Path | None,
    typer.Option(metavar="FILE|DIR", help="Clean reports for studies that carry none (JSON, JSONL, CSV, text)."),
]
Task = Annotated[
    str,
    typer.Option(metavar="NAMES", help="What is asked of each region: report, vqa, compare, or several with commas."),
]
ComparePairs = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Compare a region with those of N other patients at most (--task compare)."),
]
Export = Annotated[
    str | None,
    typer.Option(
        metavar="TOOL", help="Draw pictures and write manifests for trl, swift or llamafactory below --export-dir."
    ),
]
ExportDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the --export: DIR/train.jsonl, DIR/images.")
]
Card = Annotated[
    Path | None,
    typer.Option(metavar="FILE|DIR", help="Write a dataset card with plots: FILE.md, or README.md in DIR."),
]
