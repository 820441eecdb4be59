"""``petct crosswalk``."""

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
    key_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The key file that the studies were de-identified with.")
    ],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|-", help="What anonymize --crosswalk wrote.")
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Open the sealed re-identification table: which pseudonym is whom.

    Each line of the table stands under its pseudonyms, so that grep finds it, and opens with the key file alone. What
    this prints names patients: keep it where the key file is kept. Streams.

    Example:

        grep 0a1b2c3d4e5f6789 crosswalk.jsonl | petct crosswalk --key-file site.key
    """
    from petct_cli.dicom.deid.pseudonyms import load_key
    from petct_cli.stages.crosswalk import OpenCrosswalk

    run(OpenCrosswalk(load_key(key_file)), read_records(files), shared)
