"""The lazy table of commands: ``petct --help`` costs little more than importing typer."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from petct_cli import __version__
from petct_cli.cli.early import prepare_libraries, start_workers

COMMANDS: dict[str, tuple[str, str]] = {
    "phantom": ("petct_cli.commands.phantom:main", "Make synthetic PET/CT studies with reports and known lesions."),
    "anonymize": ("petct_cli.commands.anonymize:main", "De-identify DICOM studies and their reports."),
    "crosswalk": ("petct_cli.commands.crosswalk:main", "Open the sealed table of who is behind which pseudonym."),
    "convert": ("petct_cli.commands.convert:main", "Turn DICOM studies into CT in HU and PET in SUV on one grid."),
    "pair": ("petct_cli.commands.pair:main", "Pair images with report text: one sample per study, region and task."),
    "augment": ("petct_cli.commands.augment:main", "Add reworded samples whose facts are proved unchanged."),
    "train": ("petct_cli.commands.train:main", "Train a vision-language model on samples."),
    "generate": ("petct_cli.commands.generate:main", "Write a report for each sample with a trained model."),
    "score": ("petct_cli.commands.score:main", "Score hypotheses against references, with null controls."),
    "gallery": ("petct_cli.commands.gallery:main", "Show samples, images and scores on one HTML page."),
}

TOPICS: dict[str, tuple[str, str]] = {
    "score": ("petct_cli.metrics.glossary:manual", "What the metrics, controls and records of petct score mean."),
    "deid": ("petct_cli.dicom.deid.explain:manual", "What petct anonymize does to each attribute."),
}
"""Manual pages beside the commands' (section 7): name -> sections of text, one-line summary."""


class LazyGroup(TyperGroup):
    """A command group that imports a command's module only when that command runs or shows its own help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Light entries keep "Did you mean ...?" and completion working without an import.
        self.commands = {name: TyperCommand(name, help=line, short_help=line) for name, (_, line) in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of a study's way through petct."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the light entry while help or completion looks, the real command when it is about to run."""
        if cmd_name not in COMMANDS:
            return None
        return self.commands[cmd_name] if getattr(ctx, "petct_listing", False) else load_command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands from the table."""
        ctx.petct_listing = True
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete command names from the table."""
        ctx.petct_listing = True
        return super().shell_complete(ctx, incomplete)


def load_command(name: str) -> Any:
    """Import the module of command `name` and return its command object."""
    module, _, function = COMMANDS[name][0].partition(":")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    callback = getattr(importlib.import_module(module), function)
    single.command(name=name, no_args_is_help=False, short_help=COMMANDS[name][1])(callback)
    command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"petct {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From PET/CT DICOM and Vietnamese reports to a de-identified dataset, a trained model and an honest score.

    Each command reads JSONL records, does one job and writes JSONL records:

    petct phantom --studies 20 -o raw | petct convert - -o vol | petct pair > samples.jsonl
    """


def main() -> None:
    """Run petct; every way out has an exit code of `petct_cli.core.errors.ExitCode`."""
    from petct_cli.core.errors import ExitCode, PetctError

    prepare_libraries()
    try:
        start_workers(sys.argv[1:])
        app()
    except PetctError as error:
        sys.stderr.write(f"petct: {error} [{error.code}]\n")
        raise SystemExit(int(error.exit_code)) from None
    except BrokenPipeError:
        raise SystemExit(int(ExitCode.BROKEN_PIPE)) from None
    except KeyboardInterrupt:
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except Exception as error:
        if os.environ.get("PETCT_TRACEBACK"):
            raise
        # A traceback shows the exception's own text, and that may be a patient's name.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        sys.stderr.write(
            f"petct: a fault of petct itself: {type(error).__name__} at {where} (PETCT_TRACEBACK=1 shows more)\n"
        )
        raise SystemExit(int(ExitCode.BUG)) from None
