"""``petct anonymize``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import Item, as_items, is_manifest, read_records, without_values
from petct_cli.core.scratch import scratch_folder


@command(uses=("jobs", "executor", "shard"))
def main(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where de-identified studies go.")],
    key_file: Annotated[Path, typer.Option(metavar="FILE", help="Secret key of all pseudonyms (mode 0600).")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH|FILE|-", help="DICOM folders, files and archives, or study records."),
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key file if it is not there yet.")] = False,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Rules of PS3.15 Annex E: tcia or basic.")] = "tcia",
    reports: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Reports (JSON, JSONL, CSV, text), matched by accession, patient, name."),
    ] = None,
    keep_period: Annotated[
        str | None, typer.Option(metavar="year|month", help="Keep this much of the true study date in the record.")
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy what is set aside here (0700), outside of -o.")
    ] = None,
    private_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Real paths of bad files (0600). Nothing else names them.")
    ] = None,
    *,
    shared: Shared,
) -> None:
    """De-identify DICOM studies and their reports.

    Rules are PS3.15 Table E.1-1 at every depth: UIDs and patient become pseudonyms under the key, all dates of a
    patient move by the same whole days, times stay, private elements go except those SUV needs. Pixels are copied bit
    for bit. SUV is computed before and after and must be identical; what was written is searched for the patient's own
    values. Secondary captures, dose screens, structured reports and documents are set aside and listed. Faces stay in
    the CT. Emits study records built anew: nothing of the input's paths, names, UIDs or numbers is in them. Archives
    (zip, tar, tar.gz, .bz2, .xz, three deep) are unpacked below TMPDIR and removed at the end. Streams.

    Example:

        petct anonymize /data/export --reports reports/ -o clean --key-file site.key --new-key > studies.jsonl
    """
    from petct_cli.dicom.deid.pseudonyms import load_key, passing_key
    from petct_cli.stages.anonymize import Anonymize, refuse_inside, studies_in

    refuse_inside(out, key_file, "--key-file", "key_inside_output")
    stage = Anonymize(
        out=out,
        key=passing_key() if shared.dry_run and new_key and not key_file.exists() else load_key(key_file, new=new_key),
        profile=profile,
        reports=reports,
        keep_period=keep_period,
        quarantine=quarantine,
        private_log=private_log,
    )
    manifests = [path for path in paths or ["-"] if is_manifest(path)]
    folders = [Path(path) for path in paths or [] if not is_manifest(path)]
    with scratch_folder() if folders else nullcontext() as scratch:
        note = None if shared.dry_run else stage.note_bad_file
        found = as_items(studies_in(folders, scratch, note)) if scratch else ()
        records = map(without_values, read_records(manifests)) if manifests else ()
        run(stage, _with_warning(chain(found, records)), shared)


def _with_warning(items: Iterable[Item]) -> Iterator[Item]:
    """Say once, when there is something to de-identify, what stays recognisable."""
    for number, item in enumerate(items):
        if number == 0:
            logging.getLogger(__name__).warning("faces stay in the CT; the records say face: present")
        yield item
