"""Manual pages from the command table: ``python -m petct_cli.cli.man man`` writes them, ``--check`` compares."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petct_cli import __version__

EXIT_STATUS = (
    ("0", "all went well"),
    ("1", "more of this command's own records failed than --max-failures allows"),
    ("2", "the command line cannot be meant"),
    ("65", "the input as a whole is unusable"),
    ("70", "a fault of petct itself"),
    ("74", "reading or writing failed in the operating system"),
    ("75", "another run holds the --lock file"),
    ("130", "interrupted; the same command goes on"),
    ("141", "the reader of stdout went away"),
)


def pages() -> dict[str, str]:
    """Return the text of every manual page by file name."""
    from petct_cli.app import COMMANDS, TOPICS, load_command

    found = {"petct.1": _overview(COMMANDS)}
    for name, (sections, line) in TOPICS.items():
        module, _, function = sections.partition(":")
        found[f"petct-{name}.7"] = _topic_page(name, line, getattr(importlib.import_module(module), function)())
    for name, (_, line) in COMMANDS.items():
        found[f"petct-{name}.1"] = _command_page(name, line, load_command(name))
    return found


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped


def _header(title: str, section: int = 1) -> list[str]:
    return [f'.TH {title.upper()} {section} "" "petct {__version__}" "petct manual"', ".nh", ".ad l"]


def _overview(commands: dict[str, tuple[str, str]]) -> str:
    lines = _header("petct")
    lines += [
        ".SH NAME",
        "petct \\- " + _escape("from PET/CT and Vietnamese reports to a scored vision-language model"),
    ]
    lines += [".SH SYNOPSIS", "\\fBpetct\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]"]
    lines += [".SH DESCRIPTION"]
    lines += _paragraphs(
        "A set of filters: each command reads records as JSON lines from files or stdin, does one job and writes "
        "records as JSON lines to stdout. Pixels never travel through the pipe: records carry paths, hashes, shapes "
        "and units. A record that fails keeps its identity, carries an error, and is counted to the end."
    )
    lines += [".SH COMMANDS"]
    for name, (_, line) in commands.items():
        lines += [".TP", f"\\fBpetct\\-{name}\\fR(1)", _escape(line)]
    lines += _exit_status()
    lines += [
        ".SH EXAMPLE",
        ".nf",
        _escape("petct phantom --studies 20 -o raw | petct convert - -o vol | petct pair"),
        ".fi",
    ]
    return "\n".join(lines) + "\n"


def _topic_page(name: str, line: str, sections: Iterable[tuple[str, list[str]]]) -> str:
    lines = [*_header(f"petct-{name}", 7), ".SH NAME", f"petct\\-{name} \\- {_escape(line)}"]
    for heading, text in sections:
        lines += [f".SH {_escape(heading)}", ".nf", *map(_escape, text), ".fi"]
    return "\n".join(lines) + "\n"


def _command_page(name: str, line: str, command: Any) -> str:
    lines = _header(f"petct-{name}")
    lines += [".SH NAME", f"petct\\-{name} \\- {_escape(line)}"]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = " ".join(f"\\fI{_escape(_metavar(parameter))}\\fR" for parameter in arguments)
    lines += [".SH SYNOPSIS", f"\\fBpetct {name}\\fR [\\fIOPTIONS\\fR] {usage}".rstrip()]
    lines += [".SH DESCRIPTION", *_paragraphs(command.help or line)]
    lines += [".SH OPTIONS"]
    for parameter in command.params:
        lines += _parameter(parameter)
    lines += _exit_status()
    lines += [".SH SEE ALSO", "\\fBpetct\\fR(1)"]
    return "\n".join(lines) + "\n"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _parameter(parameter: Any) -> list[str]:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return []
    if parameter.param_type_name == "argument":
        head = f"\\fI{_escape(_metavar(parameter))}\\fR"
    else:
        names = ", ".join(f"\\fB{_escape(name)}\\fR" for name in sorted(parameter.opts, key=len))
        head = names if parameter.is_flag else f"{names} \\fI{_escape(_metavar(parameter))}\\fR"
    text = parameter.help or ""
    default = parameter.default
    if parameter.param_type_name == "option" and default not in (None, False, "", (), []) and not callable(default):
        text += f" Default: {default}."
    return [".TP", head, _escape(text)]


def _paragraphs(text: str) -> list[str]:
    """Set paragraphs as text and indented blocks as they stand."""
    lines: list[str] = []
    for block in text.strip().split("\n\n"):
        verbatim = block.startswith("    ")
        lines.append(".PP")
        if verbatim:
            lines += [".nf", *(_escape(part) for part in block.split("\n")), ".fi"]
        else:
            lines.append(_escape(" ".join(part.strip() for part in block.split("\n"))))
    return lines


def _exit_status() -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code, meaning in EXIT_STATUS:
        lines += [".TP", f"\\fB{code}\\fR", _escape(meaning)]
    return lines


def main(arguments: list[str]) -> int:
    """Write the pages into a folder, or with ``--check`` say which are stale."""
    folder = Path(arguments[0])
    fresh = pages()
    if "--check" in arguments[1:]:
        known = {path.name: path.read_text() for path in folder.glob("*.[17]")}
        stale = sorted(name for name in fresh.keys() | known.keys() if fresh.get(name) != known.get(name))
        if stale:
            sys.stderr.write(f"stale manual pages (run make man): {', '.join(stale)}\n")
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.[17]"):
        path.unlink()
    for name, text in fresh.items():
        (folder / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
