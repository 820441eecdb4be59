"""Before the command is loaded: what its libraries find in the environment, and its worker processes on their way.

The command takes as long to load as the workers do, and each has a core.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

PRELOADED: dict[str, tuple[str, ...]] = {
    "anonymize": ("petct_cli.stages.anonymize",),
    "augment": ("petct_cli.stages.augment", "petct_cli.report.rewrite"),
    "convert": (
        "petct_cli.stages.convert",
        "petct_cli.dicom.scan",
        "petct_cli.volume.series_choice",
        "petct_cli.volume.series_volume",
        "pydicom",
        "scipy.sparse",
    ),
    "pair": ("petct_cli.stages.pair",),
    "phantom": ("petct_cli.stages.phantom", "petct_cli.volume.phantom", "petct_cli.dicom.synthesise"),
    "score": ("petct_cli.metrics.reading",),
}
"""Command -> what its worker processes need: loaded once, in the process that they are forked from.

Nothing that starts threads of its own when it is imported (blosc2, numexpr) belongs here: a fork has only one.
"""
_NO_WORKERS = frozenset({"-h", "--help", "--dry-run", "--explain", "--executor"})


ENVIRONMENT = {
    # OpenBLAS's threads wait for their first work in a loop that takes 30 ms of a core each, in every process.
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # A plugin of any package that is installed would see every value of every record; looking for one takes 6 ms.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}


def prepare_libraries() -> None:
    """Set what numpy and pydantic read in the environment when they are loaded; what a user has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start_workers(arguments: Sequence[str]) -> None:
    """Start the process that workers are forked from, if a command line (without the program) asks for workers."""
    modules = PRELOADED.get(arguments[0]) if arguments else None
    if modules is not None and jobs_of(arguments[1:]) > 1:
        from petct_cli.core.parallel import start_early

        # Every worker runs the console script's file again, which imports this; `python -m` has nothing to run again.
        again = () if getattr(sys.modules["__main__"], "__spec__", None) else ("petct_cli.app",)
        start_early((*again, "petct_cli.cli.runner", *modules))


def jobs_of(arguments: Sequence[str]) -> int:
    """Return the number that ``--jobs`` gives, or 1 where no workers are needed or it is in doubt.

    The command's own options are not known yet. A wrong answer costs time and changes nothing.
    """
    jobs = 1
    left = iter(arguments)
    for argument in left:
        name, _, value = argument.partition("=")
        if argument == "--":
            break
        if name in _NO_WORKERS:
            return 1
        if name in ("-j", "--jobs"):
            value = value or next(left, "")
        elif name.startswith("-j"):
            value = argument[2:]
        else:
            continue
        jobs = int(value) if value.isdecimal() and len(value) < 5 else 1
    return jobs
