"""What ``pair`` writes beside its records: the export of another trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from petct_cli.core.errors import UsageError
from petct_cli.core.gather import Gather
from petct_cli.dataset.export import FORMS, Export


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

    def __post_init__(self) -> None:
        if self.export is not None and self.export not in FORMS:
            raise UsageError("bad_export", f"--export takes {', '.join(FORMS)}")
        if (self.export is None) != (self.export_dir is None):
            raise UsageError("missing_option", "--export and --export-dir go together")

    def __bool__(self) -> bool:
        return self.export is not None

    @property
    def pictures(self) -> Path | None:
        """Where the pictures of the export go; None without one."""
        return self.export_dir

    def gather(self, scratch: Path) -> list[Gather]:
        """Return what writes the files while records go by.

        Parameters
        ----------
        scratch
            Where they grow; it goes away with the run.
        """
        if self.export is None or self.export_dir is None:
            return []
        return [Export(self.export_dir, self.export, scratch)]
