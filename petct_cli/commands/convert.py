"""``petct convert``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from petct_cli.cli import convert_options as opt
from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import BadLine, Item, as_items, is_manifest, read_records
from petct_cli.core.scratch import scratch_folder
from petct_cli.core.threads import spare_threads


@command(uses=("jobs", "executor", "shard"))
def main(
    out: opt.Out,
    paths: opt.Paths = None,
    grid: opt.GridRule = "pet",
    form: opt.FormatName = opt.Format.b2nd,
    *,
    shared: Shared,
) -> None:
    """Convert DICOM to volumes: CT in HU and PET in SUVbw, on one grid.

    Reads study records, or scans folders and groups what they hold by study and series. Takes one CT and one PET of
    each study and says in the record why the others were set aside. Finished studies are not converted again. Archives
    (zip, tar, tar.gz, .bz2, .xz, three deep) are unpacked below TMPDIR and removed at the end; records name what was in
    them as archive!/member. Streams.

    Example:

        petct convert dicom/ -o vol > studies.jsonl
    """
    from petct_cli.stages.convert import Convert

    folders = [Path(path) for path in paths or () if not is_manifest(path)]
    with scratch_folder() if folders else nullcontext() as scratch:
        run(
            Convert(out, grid, form.value, scratch, spare_threads(shared.jobs) if shared.executor is None else 1),
            _once_each(_studies(paths, folders, scratch)),
            shared,
        )


def _once_each(studies: Iterable[Item]) -> Iterator[Item]:
    """Let each id be worked on once: a second study of that name would replace the volumes of the first."""
    from petct_cli.core.jsonl import BadLineError
    from petct_cli.core.records import Study

    seen: set[str] = set()
    for item in studies:
        if isinstance(item, Study) and item.error is None and item.ct is None and item.pet is None:
            if item.id in seen:
                code, message = "duplicate_id", "a study of this id was given before"
                yield BadLine(item.id, BadLineError(code, message, item.failed("convert", code, message)))
                continue
            seen.add(item.id)
        yield item


def _studies(paths: list[str] | None, folders: list[Path], scratch: Path | None) -> Iterator[Item]:
    """Yield the records of manifests, and where the first folder stands those of all: a study may span folders."""
    from petct_cli.stages.convert_input import studies_in

    for path in paths or ["-"]:
        if is_manifest(path):
            yield from read_records([path])
        elif scratch is not None:
            yield from as_items(studies_in(folders, scratch))
            scratch = None
