"""The rules of the house: who imports whom, what a start costs, whose licences come along, what is documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, metadata, requires
from pathlib import Path

import pytest
from conftest import REPOSITORY, clean_environment

from petct_cli.app import COMMANDS, load_command
from petct_cli.cli import man

PACKAGE = REPOSITORY / "petct_cli"
ROOMS = {"dicom", "volume", "report", "dataset", "model", "metrics"}
MAY_IMPORT = {
    "core": {"core"},
    "dicom": {"core", "dicom"},
    "report": {"core", "report"},
    "volume": {"core", "volume", "dicom"},
    "dataset": {"core", "dataset", "volume", "report"},
    "metrics": {"core", "metrics", "volume", "report"},
    "model": {"core", "model", "volume", "report"},
    "stages": {"core", "stages", *ROOMS},
    "cli": {"core", "cli", "app"},
    "commands": {"core", "cli", "stages", *ROOMS},
}
TORCH = {"torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors"}
CORE_MAY_IMPORT = {"pydantic", "orjson", "dask", "numpy", "petct_cli"} | set(sys.stdlib_module_names)


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).parts
        yield place[0] if len(place) > 1 else "", path, ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_imports_run_one_way() -> None:
    wrong = []
    for room, path, tree in modules():
        if not room:
            continue
        for name in imported(tree):
            parts = name.split(".")
            if parts[0] == "petct_cli" and len(parts) > 1 and parts[1] not in MAY_IMPORT[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_only_the_model_room_knows_torch() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room, path, tree in modules()
        for name in imported(tree)
        if name.split(".")[0] in TORCH and room != "model"
    ]
    assert wrong == []


def test_core_needs_only_the_standard_library_pydantic_and_orjson() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room, path, tree in modules()
        for name in imported(tree)
        if room == "core" and name.split(".")[0] not in CORE_MAY_IMPORT
    ]
    assert wrong == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from petct_cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'SimpleITK', 'pydicom', 'scipy', 'numpy', 'sacrebleu', 'pyvi', 'blosc2'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = load_command(name)
    assert COMMANDS[name][1].endswith(".")
    assert f"petct {name}" in command.help.split("Example", 1)[1]
    undocumented = [parameter.name for parameter in command.params if not parameter.help and parameter.name != "help"]
    assert undocumented == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_file_is_thin(name: str) -> None:
    lines = (PACKAGE / "commands" / f"{name}.py").read_text("utf-8").splitlines()
    assert len(lines) <= 90


def test_manual_pages_are_fresh() -> None:
    written = {path.name: path.read_text("utf-8") for path in (REPOSITORY / "man").glob("*.[17]")}
    assert written == man.pages()


def test_did_you_mean_and_completion_know_the_commands() -> None:
    environment = clean_environment({"_PETCT_COMPLETE": "complete_bash", "COMP_WORDS": "petct an", "COMP_CWORD": "1"})
    script = "import sys; sys.argv = ['petct']; from petct_cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "anonymize" in done.stdout


def run_time_distributions() -> set[str]:
    """Every distribution that installing petct brings along."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = ["petct"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name.lower())
    return found


def test_no_gpl_comes_along() -> None:
    def licences(name: str) -> str:
        about = metadata(name)
        classifiers = [value for value in about.get_all("Classifier") or [] if value.startswith("License")]
        return " ".join([about.get("License-Expression") or "", (about.get("License") or "")[:200], *classifiers])

    found = {name: licences(distribution(name).name) for name in run_time_distributions()}
    copyleft = {
        name: text
        for name, text in found.items()
        if ("GPL" in text or "General Public" in text) and "LGPL" not in text and "Lesser" not in text
    }
    assert "orjson" in found
    assert copyleft == {}
