"""The options of ``petct convert``, one alias each: its signature stays readable, its help stays in one place."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What ``--format`` takes."""

    b2nd = "b2nd"
    nifti = "nifti"


class PetDtype(StrEnum):
    """What ``--pet-dtype`` takes."""

    float32 = "float32"
    float16 = "float16"


class SuvName(StrEnum):
    """What ``--suv`` takes."""

    bw = "bw"
    lbm = "lbm"
    lbm_james = "lbm-james"
    bsa = "bsa"
    ibw = "ibw"


Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the volumes go: DIR/ID/ct.b2nd.")]
Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH|-",
        help="Folders or archives of DICOM or NIfTI, a DICOMDIR, a metadata.csv, or study records (.jsonl).",
    ),
]
GridRule = Annotated[str, typer.Option(metavar="RULE", help="pet, ct, iso:MM, or native (each on its own grid).")]
FormatName = Annotated[
    Format, typer.Option("--format", help="b2nd (fast random crops), or nifti for exchange (.nii.gz).")
]
CropRule = Annotated[
    str, typer.Option("--crop", metavar="RULE", help="none, body, or body:MM: keep the body and 20 or MM mm around it.")
]
PetDtypeName = Annotated[
    PetDtype, typer.Option("--pet-dtype", help="Number type of the PET; float16 halves it (0.05 % off; b2nd only).")
]
PreviewWanted = Annotated[
    bool, typer.Option("--preview", help="Draw DIR/ID/preview.png: coronal CT, PET projection, fusion.")
]
CtSeries = Annotated[
    str, typer.Option("--ct-series", metavar="PICK", help="Take this CT: uid:UID, number:N or description:REGEX.")
]
PetSeries = Annotated[
    str, typer.Option("--pet-series", metavar="PICK", help="Take this PET: uid:UID, number:N or description:REGEX.")
]
SuvKind = Annotated[
    SuvName,
    typer.Option(
        "--suv",
        help="SUV by body weight, lean body mass (Janmahasatian 2005, or James 1976), body surface area or ideal body "
        "weight.",
    ),
]
Assume = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Fill what a PET header lacks (may be repeated): weight_kg, height_m, sex, dose_bq or dose_mbq, "
        "half_life_s, injection_time, scan_time, or interval_s from injection to scan. Fills only what is missing, "
        "empty or 0 in the whole series; what is there stays, and stays refused where it is absurd. The record says "
        "what was assumed.",
    ),
]
