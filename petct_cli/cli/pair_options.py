"""The options of ``petct pair``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Study records.")]
Regions = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="anatomy (default), paper, whole (default with --slices), or fractions:A,B,C counted from the head.",
    ),
]
Overlap = Annotated[str, typer.Option(metavar="N|Nmm", help="What two neighbouring regions share, in slices or mm.")]
Split = Annotated[
    str,
    typer.Option(
        metavar="RULE",
        help="random:SEED[:A/B/C], time (the paper's months), file:PATH (patient or study, split), "
        "stratified:site|scanner|sex[:SEED], or one of train, val, test for all. Always by patient. "
        "`convert` writes scanner; site is yours to add.",
    ),
]
Reports = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR", help="Clean reports for studies that carry none (JSON, CSV, XLSX, DOCX, SR, text)."
    ),
]
Slices = Annotated[
    bool,
    typer.Option("--slices", help="List the paired CT-PET slices instead of samples; only anatomy reads their voxels."),
]
Preview = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write ID.png of each study with its regions drawn in, to check by eye."),
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
Duplicates = Annotated[
    str,
    typer.Option(
        metavar="move|drop|flag|off",
        help="What becomes of patients with the same report on several sides of the split.",
    ),
]
Near = Annotated[
    float,
    typer.Option(metavar="COSINE", help="TF-IDF cosine from which reports are near duplicates; 2: exact ones only."),
]
Template = Annotated[int, typer.Option(metavar="N", help="A report that more than N patients share joins nobody.")]
Leakage = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write who has the same report as whom, and on which sides (JSON, or .md)."),
]
ReportPattern = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="What report file names say: {study}, {patient}, {accession}, {date} and *."),
]
ReportIndex = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="List of reports (CSV, JSONL): study, patient, accession or date, and report."),
]
ReportColumns = Annotated[
    str | None,
    typer.Option(metavar="SPEC|FILE", help="What the columns of tables hold: findings=MoTa,...; or a TOML, JSON file."),
]
KeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The key of `anonymize`, when reports name raw identifiers.")
]
Unmatched = Annotated[
    Path | None, typer.Option(metavar="FILE", help="List studies without a report and reports without a study (JSONL).")
]
