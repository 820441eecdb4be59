"""Workers that begin ready-made: what asks for them, what they have, and that nothing else is different."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import REPOSITORY, Result, clean_environment, default_signals
from samples import lines, study

from petct_cli.app import COMMANDS
from petct_cli.cli.early import PRELOADED, jobs_of


def run(script: str, cwd: Path | None = None) -> list[str]:
    """Run a script as a file of its own, which workers can import again, and return the words that it prints."""
    environment = clean_environment({"PYTHONPATH": str(REPOSITORY)})
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        ("in -o out", 1),
        ("in -o out -j 2", 2),
        ("in -j2 -o out", 2),
        ("--jobs 16 in", 16),
        ("--jobs=3 in", 3),
        ("-j 2 -j 1", 1),
        ("-j 2 --help", 1),
        ("-j 2 --dry-run", 1),
        ("-j 2 --executor dask://here:1", 1),
        ("-j 2 --executor=dask://here:1", 1),
        ("-j", 1),
        ("-j two", 1),
        ("-j -2", 1),
        ("--jobs=", 1),
        ("-- -j 2", 1),
    ],
)
def test_the_number_of_jobs_is_told_from_the_arguments(arguments: str, jobs: int) -> None:
    assert jobs_of(arguments.split()) == jobs


@pytest.mark.parametrize("command", sorted(PRELOADED))
def test_what_is_preloaded_imports_and_starts_no_threads_that_a_fork_would_lose(command: str) -> None:
    assert command in COMMANDS
    found = run(
        f"import importlib, sys\n[importlib.import_module(name) for name in {PRELOADED[command]!r}]\n"
        "print('none', *sorted({'blosc2', 'numexpr', 'torch'} & set(sys.modules)))"
    )
    assert found == ["none"]


WORKER = """
import os, sys
from petct_cli.core.parallel import open_executor, start_early
start_early(("petct_cli.core.records", "no_such_module", "wave"))
with open_executor(2) as (executor, _):
    loaded = executor.submit(eval, "__import__('sys').modules.keys() >= {'petct_cli.core.records', 'wave'}")
    place = executor.submit(eval, "__import__('sys').modules['wave'].__file__")
    path = executor.submit(eval, "__import__('os').environ.get('PYTHONPATH')")
    safe = executor.submit(eval, "__import__('os').environ.get('PYTHONSAFEPATH')")
    print(loaded.result(), place.result(), path.result() == os.environ["PYTHONPATH"], safe.result())
"""


def test_workers_begin_with_what_was_asked_for_and_the_parents_environment() -> None:
    loaded, _, same, safe = run(WORKER)
    assert (loaded, same, safe) == ("True", "True", "None")


def test_modules_come_from_where_the_parent_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "wave.py").write_text("raise RuntimeError('the working folder is no place for modules')\n")
    script = tmp_path / "script.py"
    # A worker runs the script again.
    script.write_text("if __name__ == '__main__':\n" + WORKER.replace("\n", "\n    "))
    environment = clean_environment({"PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"})
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.split()[1]).parent == Path(os.__file__).parent


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_interrupts_do_not_reach_what_loads_for_the_workers() -> None:
    (blocked,) = run(
        "from multiprocessing import forkserver\n"
        "from petct_cli.core.parallel import start_early\n"
        "start_early(('petct_cli.core.records',))\n"
        "status = open(f'/proc/{forkserver._forkserver._forkserver_pid}/status').read()\n"
        "print(status.split('SigBlk:')[1].split()[0])"
    )
    assert int(blocked, 16) & 1 << signal.SIGINT - 1


@pytest.mark.parametrize(("jobs", "started"), [("1", "False"), ("2", "True")])
def test_one_job_starts_nothing(jobs: str, started: str) -> None:
    script = (
        "import sys; from petct_cli.app import main\n"
        f"sys.argv = ['petct', 'pair', '-j', '{jobs}', '/dev/null']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "server = sys.modules.get('multiprocessing.forkserver')\n"
        "print(server is not None and server._forkserver._forkserver_pid is not None)"
    )
    assert run(script) == [started]


def test_an_interrupt_from_the_terminal_ends_all_in_silence() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", "pair", "--duplicates", "off", "--jobs", "2"],
        preexec_fn=default_signals,  # noqa: PLW1509  no thread holds a lock in these tests
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(lines(*(study(f"s{number}") for number in range(8))))
    process.stdin.flush()
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    process.stdin.close()
    process.stdout.read()
    assert process.wait(timeout=60) == 130
    assert process.stderr.read().decode().splitlines() == [
        "petct pair: interrupted; the same command goes on from here"
    ]


def test_an_interrupt_before_the_command_is_loaded_ends_all_in_silence() -> None:
    # The system's own event of binding the socket: the interrupt comes while the workers' process is being started.
    script = (
        "import signal, sys; from petct_cli.app import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.addaudithook(lambda event, _: signal.raise_signal(signal.SIGINT) if event == 'socket.bind' else None)\n"
        "sys.argv = ['petct', 'pair', '-j', '2', '/dev/null']\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'petct_cli.commands.pair' in sys.modules)\n"
    )
    assert run(script) == ["130", "False"]


def test_workers_end_with_a_parent_that_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", "pair", "--duplicates", "off", "--jobs", "2"],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    assert process.stdin and process.stdout
    process.stdin.write(lines(*(study(f"s{number}") for number in range(8))))
    process.stdin.flush()
    process.stdout.readline()
    process.kill()
    try:
        # stdout ends when the last process that holds it ends.
        process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_temporary_folder_too_deep_for_a_socket_is_no_hindrance(petct: Callable[..., Result], tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    one, two = (petct("pair", "--jobs", jobs, stdin=lines(study("s1")), env={"TMPDIR": str(deep)}) for jobs in "12")
    assert two == one
    assert one.stdout
    assert list(deep.iterdir()) == []


def test_ct_is_deidentified_without_numpy_and_pydicom(petct: Callable[..., Result], tmp_path: Path) -> None:
    assert petct("phantom", "--studies", "1", "--ct-grid", "pet", "-o", "raw", cwd=tmp_path).code == 0
    (folder,) = tmp_path.glob("raw/*/CT")
    assert petct("anonymize", "--new-key", "--key-file", "key", "-o", "out", folder, cwd=tmp_path).code == 0
    found = run(
        "import sys; from petct_cli.app import main\n"
        f"sys.argv = ['petct', 'anonymize', {str(folder)!r}, '--key-file', 'key', '-o', 'again', '-q']\n"
        "try: main()\nexcept SystemExit as end: print(end.code)\n"
        "print('loaded', *sorted({'numpy', 'pydicom', 'scipy', 'PIL', 'SimpleITK'} & set(sys.modules)))",
        cwd=tmp_path,
    )
    assert found[-2:] == ["0", "loaded"]


def test_a_plugin_of_another_package_sees_no_record(tmp_path: Path) -> None:
    told = tmp_path / "told"
    known = tmp_path / "nosy-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: nosy\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text("[pydantic]\nnosy = nosy:plugin\n")
    (tmp_path / "nosy.py").write_text(
        f"open({str(told)!r}, 'a').close()\n"
        "class plugin:\n"
        "    def new_schema_validator(*given): return None, None, None\n"
        "plugin = plugin()\n"
    )
    environment = clean_environment({"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(tmp_path)])})
    subprocess.run([sys.executable, "-m", "petct_cli.core.records"], env=environment, capture_output=True, timeout=120)
    assert told.exists()
    told.unlink()
    command = [sys.executable, "-m", "petct_cli", "pair", "--quiet"]
    subprocess.run(command, input=lines(study("s1")), env=environment, capture_output=True, timeout=120, check=True)
    assert not told.exists()
