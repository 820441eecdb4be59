"""The options of ``petct anonymize``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH|FILE|-", help="DICOM files and folders, or study records (.jsonl, stdin)."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where de-identified studies go.")]
KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Secret key of all pseudonyms (mode 0600).")]
NewKey = Annotated[bool, typer.Option("--new-key", help="Make the key file if it is not there yet.")]
ProfileName = Annotated[str, typer.Option(metavar="NAME", help="tcia, basic or research-full-dates.")]
Explain = Annotated[bool, typer.Option("--explain", help="Print every action in force, and do nothing.")]
Reports = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Reports (JSON, JSONL, CSV, XLSX, DOCX, SR, text), matched by accession, patient, name.",
    ),
]
ReportColumns = Annotated[
    str | None,
    typer.Option(metavar="SPEC|FILE", help="What the columns of tables hold: findings=MoTa,...; or a TOML, JSON file."),
]
KeepPeriod = Annotated[
    str | None, typer.Option(metavar="year|month", help="Keep this much of the true study date in the record.")
]
Quarantine = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Copy what is set aside here (0700), outside of -o.")
]
CrosswalkTable = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Append who is behind each pseudonym, sealed with the key (0600).")
]
PrivateLog = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Real paths of bad files (0600). Nothing else names them.")
]
Deface = Annotated[bool, typer.Option("--deface", help="Take the face out of the CT (code 113102).")]
Redact = Annotated[
    list[str] | None, typer.Option(metavar="FILE|X,Y,W,H", help="Black out regions: rules (TOML) or a rectangle.")
]
Ocr = Annotated[bool, typer.Option("--ocr", help="Set aside images in which tesseract reads text.")]
