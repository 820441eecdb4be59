"""``petct anonymize``."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import typer

from petct_cli.cli import anonymize_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import as_items, is_manifest
from petct_cli.cli.withheld import manifest_records, refuse_places, with_face_warning
from petct_cli.core.errors import UsageError
from petct_cli.core.scratch import scratch_folder
from petct_cli.dicom.deid.profile import choose, option_helps


@command(
    uses=("jobs", "executor", "shard"),
    switches=option_helps(),
    panel="Options of PS3.15 E.3, on or off beside what the profile says",
)
def main(
    paths: opt.Paths = None,
    out: opt.Out = None,
    key_file: opt.KeyFile = None,
    new_key: opt.NewKey = False,
    profile: opt.ProfileName = "tcia",
    explain: opt.Explain = False,
    reports: opt.Reports = None,
    report_columns: opt.ReportColumns = None,
    keep_period: opt.KeepPeriod = None,
    quarantine: opt.Quarantine = None,
    crosswalk: opt.CrosswalkTable = None,
    private_log: opt.PrivateLog = None,
    deface: opt.Deface = False,
    redact: opt.Redact = None,
    ocr: opt.Ocr = False,
    *,
    switches: dict[str, bool | None],
    shared: Shared,
) -> None:
    """De-identify DICOM studies and their reports.

    Rules are PS3.15 Table E.1-1 at every depth: UIDs and patient become pseudonyms under the key, all dates of a
    patient move by the same whole days, times stay, private elements go except those SUV needs. Pixels are copied bit
    for bit. SUV is computed before and after and must be identical; what was written is searched for the patient's own
    values. Secondary captures, dose screens, structured reports and documents are set aside and listed. Faces stay in
    the CT without --deface. Emits study records built anew: nothing of the input's paths, names, UIDs or numbers is in
    them. Archives (zip, tar, tar.gz, .bz2, .xz, three deep) are unpacked below TMPDIR and removed at the end. Streams.

    Example:

        petct anonymize /data/export --reports reports/ -o clean --key-file site.key --new-key > studies.jsonl
    """
    from petct_cli.dataset.columns import columns_of
    from petct_cli.dicom.deid.explain import explain as lines_of
    from petct_cli.dicom.deid.pseudonyms import load_key, passing_key
    from petct_cli.dicom.deid.redaction import read_rules
    from petct_cli.stages.anonymize import Anonymize, refuse_inside, studies_in
    from petct_cli.stages.anonymize_pixels import PixelOptions

    if explain:
        return typer.echo("\n".join(lines_of(choose(profile, switches))))
    if out is None or key_file is None:
        raise UsageError("missing_option", f"missing option {'--out' if out is None else '--key-file'}")
    folders = [Path(path) for path in paths or ["-"] if not is_manifest(path)]
    refuse_inside(out, key_file, "--key-file", "key_inside_output")
    refuse_places(folders, out, key_file, crosswalk, private_log, shared.json_logs)
    stage = Anonymize(
        out,
        key=passing_key() if shared.dry_run and new_key and not key_file.exists() else load_key(key_file, new=new_key),
        profile=profile,
        switches=switches,
        reports=reports,
        keep_period=keep_period,
        quarantine=quarantine,
        crosswalk=crosswalk,
        private_log=private_log,
        columns=columns_of(reports, report_columns),
        pixels=PixelOptions(deface, read_rules(redact or []), ocr),
    )
    with scratch_folder() if folders else nullcontext() as scratch:
        raw = as_items(studies_in(folders, scratch, None if shared.dry_run else stage.note_bad_file)) if scratch else ()
        records = manifest_records(paths or ["-"]) if len(folders) < len(paths or "-") else ()
        run(stage, with_face_warning(chain(raw, records), deface=deface), shared, stage.watch())
