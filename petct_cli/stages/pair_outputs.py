"""What ``pair`` writes beside its records: the export for another trainer, the dataset card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from petct_cli.core.errors import UsageError
from petct_cli.core.gather import Gather
from petct_cli.core.records import Study
from petct_cli.dataset.card import Card
from petct_cli.dataset.export import FORMS, Export
from petct_cli.dataset.tasks import TaskRule

T = TypeVar("T")


class Keeps(Protocol):
    """Says which records a run is about."""

    def holds(self, identity: str, /) -> bool:
        """Say whether the record with this id is one of them."""
        ...


@dataclass(frozen=True)
class Outputs:
    """The files asked for.

    Raises
    ------
    UsageError
        ``bad_export``, ``missing_option``.
    """

    export: str | None = None
    export_dir: Path | None = None
    card: Path | None = None

    def __post_init__(self) -> None:
        if self.export is not None and self.export not in FORMS:
            raise UsageError("bad_export", f"--export takes {', '.join(FORMS)}")
        if (self.export is None) != (self.export_dir is None):
            raise UsageError("missing_option", "--export and --export-dir go together")

    def __bool__(self) -> bool:
        return self.export is not None or self.card is not None

    def refuse_parts(self, tasks: TaskRule, shard: object | None) -> None:
        """Refuse what a shard alone cannot make: pairs of studies of two shards, and manifests that others replace.

        Raises
        ------
        UsageError
            ``compare_with_shard``, ``export_with_shard``.
        """
        if shard is not None and "compare" in tasks.names:
            raise UsageError("compare_with_shard", "--task compare needs all studies: not with --shard", "use --jobs")
        if shard is not None and self.export is not None:
            message = "the manifests of --export are of all studies: not with --shard"
            raise UsageError("export_with_shard", message, "use --jobs")

    @property
    def pictures(self) -> Path | None:
        """Where the pictures of the export go; None without one."""
        return self.export_dir

    def gather(
        self, scratch: Path, about: Mapping[str, str], duplicates: Callable[[], Mapping[str, int] | None]
    ) -> list[Gather]:
        """Return what writes the files while records go by.

        Parameters
        ----------
        scratch
            Where they grow; it goes away with the run.
        about
            How the samples are made, for the card.
        duplicates
            Asked at the end what was found of duplicates, for the card.
        """
        found: list[Gather] = []
        if self.export is not None and self.export_dir is not None:
            found.append(Export(self.export_dir, self.export, scratch))
        if self.card is not None:
            found.append(Card(self.card, scratch, about, duplicates))
        return found

    @staticmethod
    def watched(items: Iterable[T], gathers: Sequence[Gather], keeps: Keeps | None) -> Iterator[T]:
        """Pass `items` on, and let the card among `gathers` see the studies that the run is about (of its shard)."""
        cards = [gather for gather in gathers if isinstance(gather, Card)]
        for item in items:
            if isinstance(item, Study) and (keeps is None or keeps.holds(item.id)):
                for card in cards:
                    card.see_study(item)
            yield item
