"""``petct convert``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from petct_cli.cli import convert_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import Item, as_items, is_manifest, once_each, read_records
from petct_cli.core.scratch import scratch_folder
from petct_cli.core.threads import spare_threads


@command(uses=("jobs", "executor", "shard"))
def main(
    out: opt.Out,
    paths: opt.Paths = None,
    grid: opt.GridRule = "pet",
    form: opt.FormatName = opt.Format.b2nd,
    crop: opt.CropRule = "none",
    pet_dtype: opt.PetDtypeName = opt.PetDtype.float32,
    preview: opt.PreviewWanted = False,
    ct_series: opt.CtSeries = "",
    pet_series: opt.PetSeries = "",
    suv: opt.SuvKind = opt.SuvName.bw,
    assume: opt.Assume = None,
    *,
    shared: Shared,
) -> None:
    """Convert DICOM to volumes: CT in HU and PET in SUV, on one grid.

    Reads study records, or scans folders and groups what they hold by study and series. Takes one CT and one PET of
    each study and says in the record why, and why the others were set aside. Finished studies are not converted again.
    Archives (zip, tar, tar.gz, .bz2, .xz, three deep) are unpacked below TMPDIR and removed at the end; records name
    what was in them as archive!/member. Streams.

    Also reads NIfTI pairs (CT.nii.gz or CTres.nii.gz beside SUV.nii.gz or PET.nii.gz in a folder per study, with facts
    for the SUV in PET.json; *_0000.nii.gz and *_0001.nii.gz), the ViMed-PET release (a folder with metadata.csv; no
    geometry, PET as stored), and the files that a DICOMDIR names.

    Example:

        petct convert dicom/ -o vol > studies.jsonl
    """
    from petct_cli.stages.convert import Convert

    folders = [Path(path) for path in paths or () if not is_manifest(path)]
    with scratch_folder() if folders else nullcontext() as scratch:
        stage = Convert(
            out,
            grid,
            form.value,
            scratch,
            crop=crop,
            pet_dtype=pet_dtype.value,
            preview=preview,
            ct_series=ct_series,
            pet_series=pet_series,
            suv=suv.value,
            assume=tuple(assume or ()),
            threads=spare_threads(shared.jobs) if shared.executor is None else 1,
        )
        run(stage, once_each(_studies(paths, folders, scratch), "convert"), shared)


def _studies(paths: list[str] | None, folders: list[Path], scratch: Path | None) -> Iterator[Item]:
    """Yield the records of manifests, and where the first folder stands those of all: a study may span folders."""
    from petct_cli.stages.convert_input import studies_in

    for path in paths or ["-"]:
        if is_manifest(path):
            yield from read_records([path])
        elif scratch is not None:
            yield from as_items(studies_in(folders, scratch))
            scratch = None
