"""One definition of each shared option, added to a command by `command`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from petct_cli.cli.shared import MaxFailures, Shard, Shared
from petct_cli.core.errors import UsageError

_GROUP = "Shared options"

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "jobs": (
        Annotated[
            int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Worker processes.", rich_help_panel=_GROUP)
        ],
        1,
    ),
    "executor": (
        Annotated[
            str | None,
            typer.Option(metavar="URL", help="Run on a Dask cluster: dask://HOST:PORT.", rich_help_panel=_GROUP),
        ],
        None,
    ),
    "shard": (
        Annotated[
            str | None,
            typer.Option(
                metavar="I/N",
                help="Only part I of N of the records, by a stable hash of their id.",
                rich_help_panel=_GROUP,
            ),
        ],
        None,
    ),
    "seed": (
        Annotated[int, typer.Option(metavar="S", help="Seed of everything random.", rich_help_panel=_GROUP)],
        0,
    ),
    "max_failures": (
        Annotated[
            str,
            typer.Option(
                metavar="N|P%", help="Exit 1 only when more of this stage's own records fail.", rich_help_panel=_GROUP
            ),
        ],
        "0",
    ),
    "fail_fast": (
        Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed record.", rich_help_panel=_GROUP)],
        False,
    ),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.", rich_help_panel=_GROUP)],
        False,
    ),
    "json_logs": (
        Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Append one JSON line per event, with time.", rich_help_panel=_GROUP),
        ],
        None,
    ),
    "lock": (
        Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Exit 75 when another run holds FILE.", rich_help_panel=_GROUP),
        ],
        None,
    ),
    "dry_run": (
        Annotated[
            bool,
            typer.Option("--dry-run", help="Say what would be worked on; write nothing.", rich_help_panel=_GROUP),
        ],
        False,
    ),
}

_BUILT = ("shared", "switches")
_ALWAYS = ("max_failures", "fail_fast", "quiet", "json_logs", "lock", "dry_run")
_ON_REQUEST = {"jobs": ("jobs",), "executor": ("executor",), "shard": ("shard",), "seed": ("seed",)}


def command(
    *, uses: Collection[str] = (), switches: Mapping[str, str] | None = None, panel: str = "Switches"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command function the shared options.

    Parameters
    ----------
    uses
        The shared options beyond the ones every command has: of ``jobs``, ``executor``, ``shard``, ``seed``.
    switches
        Names and help of options that are data (the columns of a table): each becomes ``--name`` and ``--no-name``. The
        function takes them as ``switches: dict[str, bool | None]``, None for what was not said.
    panel
        Title that help shows above the switches.

    The function takes the shared options as one keyword argument ``shared: Shared``; typer sees options of their own.
    """
    unknown = set(uses) - set(_ON_REQUEST)
    if unknown:
        raise ValueError(f"no such shared option: {sorted(unknown)}")
    names = [name for name in _OPTIONS if name in uses or name in _ALWAYS]
    added = {name: _OPTIONS[name] for name in names} | {
        name: (_switch(name, text, panel), None) for name, text in (switches or {}).items()
    }

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def wrapper(**arguments: Any) -> None:
            context: typer.Context = arguments.pop("context")
            chosen = {name: arguments.pop(name) for name in names}
            if switches is not None:
                arguments["switches"] = {name: arguments.pop(name) for name in switches}
            try:
                function(**arguments, shared=_build(chosen))
            except UsageError as error:
                if error.code != "stdin_is_terminal":
                    raise
                typer.echo(context.get_help(), err=True)
                raise typer.Exit(int(error.exit_code)) from None

        own = inspect.signature(function, eval_str=True)
        parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [parameter for parameter in own.parameters.values() if parameter.name not in _BUILT]
        for name, (annotation, default) in added.items():
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )
        wrapper.__signature__ = own.replace(parameters=_keyword_only(parameters))  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


def _switch(name: str, text: str, panel: str) -> Any:
    flag = name.replace("_", "-")
    return Annotated[
        bool | None, typer.Option(f"--{flag}/--no-{flag}", help=text, rich_help_panel=panel, show_default=False)
    ]


def _keyword_only(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]


def _build(chosen: dict[str, Any]) -> Shared:
    chosen["max_failures"] = MaxFailures.parse(chosen["max_failures"])
    if chosen.get("shard") is not None:
        chosen["shard"] = Shard.parse(chosen["shard"])
    return Shared(**chosen)
