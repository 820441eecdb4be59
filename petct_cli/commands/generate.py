"""``petct generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("shard",))
def main(
    model: Annotated[Path, typer.Option(metavar="DIR", help="The -o folder of petct train.")],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Sample records.")] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, val, test, or all.")] = "test",
    shuffle_images: Annotated[
        int | None, typer.Option(metavar="SEED", help="Control: show another patient's images of the same region.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep finished answers in a journal here, to resume from.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Samples answered at once.")] = 64,
    *,
    shared: Shared,
) -> None:
    """Write a report for each sample with a trained model.

    Emits the samples of one split (others are left out and counted) with what the model writes in "hypothesis" and how
    it was made in "decoding". Greedy, in fp32: the same for any --batch-size. The assistant's last turn is removed
    before the model is asked. Streams in batches, in input order; --shuffle-images reads everything first.

    Example:

        petct generate samples.jsonl --model run --cache run/answers | petct score
    """
    from petct_cli.core.errors import UsageError
    from petct_cli.stages.generate import Generate

    if shuffle_images is not None and shared.shard is not None:
        raise UsageError(
            "shuffle_with_shard",
            "--shuffle-images draws partners from all samples, and --shard shows it only some",
            "run it without --shard",
        )
    stage = Generate(model=model, split=split, shuffle_images=shuffle_images, cache=cache, batch_size=batch_size)
    run(stage, read_records(files), shared)
