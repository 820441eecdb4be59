"""``petct augment``."""

from __future__ import annotations

from typing import Annotated

import typer

from petct_cli.cli.options import command
from petct_cli.cli.runner import run
from petct_cli.cli.shared import Shared
from petct_cli.cli.sources import read_records


@command(uses=("jobs", "executor", "shard", "seed"))
def main(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE|-", help="Sample records.")] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME,...", help="How to reword, in this order: reorder, synonyms.")
    ] = "reorder,synonyms",
    copies: Annotated[int, typer.Option(min=0, metavar="N", help="Children per sample at most.")] = 1,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="train, val, test, or all: the samples to reword.")
    ] = "train",
    *,
    shared: Shared,
) -> None:
    """Add reworded samples whose facts are proved unchanged.

    Emits each sample, then its children: sentences in another order (one that leans on its predecessor moves with it)
    and phrases replaced by others of the same meaning. A child is kept only if it states the same lesions and holds the
    same numbers, sides and negations. Streams.

    Example:

        petct augment samples.jsonl --copies 2 | petct train - -o model
    """
    from petct_cli.stages.augment import Augment

    run(Augment(tuple(method.split(",")), copies, split, shared.seed), read_records(files), shared)
