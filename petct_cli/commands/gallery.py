"""``petct gallery``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command()
def main(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Samples with hypotheses, or studies.")
    ] = None,
    output: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page to write.")] = Path(
        "gallery.html"
    ),
    scores: Annotated[Path | None, typer.Option(metavar="FILE", help="Score records for the table.")] = None,
    cases: Annotated[int, typer.Option(metavar="N", min=0, help="How many studies to show of samples.")] = 6,
    per_page: Annotated[
        int, typer.Option("--per-page", metavar="N", min=1, help="Studies on a page of the contact sheet.")
    ] = 100,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Heading of the page.")] = "petct",
    note: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A line under the heading; repeatable.")
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Show samples, images and scores on one HTML page, or the previews of studies on a contact sheet.

    Writes a single self-contained page (no network needed): the table of scores, then for a few studies the PET
    projection, fused slices through the true lesions, and reference and generated text side by side with the lesions
    marked. Reads all samples before it writes.

    Studies (of petct convert) become a contact sheet: their previews, drawn from the volumes where there are none, and
    failed ones with their code, on as many pages (FILE, FILE-2, FILE-3 ...) as it takes. Streams.

    The records pass through unchanged.

    Example:

        petct gallery predictions.jsonl --scores scores.jsonl -o report.html > /dev/null

        petct convert dicom/ -o vol --preview | petct gallery - -o check.html > studies.jsonl
    """
    from petct_cli.stages.gallery import Gallery

    run(Gallery(output, scores, cases, title, tuple(note or ()), per_page), read_records(files), shared)
