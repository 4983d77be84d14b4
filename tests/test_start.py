"""Ctrl-C is answered in one sentence from the program's first moment on, whatever is being imported."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fractal_core import cli
from fractal_core.start import INTERRUPTED

# Holds the program where it imports a module, which takes what is raised then for a fault of its own. It naps, because
# what a signal starts in Python waits for the end of a sleep that the signal came just before.
PROGRAM = """
import sys, time
class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print("held", flush=True)
            try:
                for _ in range(600):
                    time.sleep(0.1)
            except BaseException as error:
                raise ImportError("not installed?") from error
sys.meta_path.insert(0, Hold())
sys.argv[0] = "fractal"
from fractal_core.start import main
main()
"""


def _interrupt(code, *arguments, cwd=None, after=0.0):
    """Start a program, interrupt it when it says a line, or then so many seconds later; return code and messages."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
    )
    try:
        assert process.stdout.readline() == "held\n"
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, errors.strip()


@pytest.mark.parametrize("module", ["typer", "fractal_core.cli", "flows.launch", "pyarrow", "fractal_core.config"])
def test_interrupted_while_a_module_is_imported(project, module):
    """Of the command line or of `fractal run`: no traceback, exit code 130, and nothing was begun."""
    code = PROGRAM.format(module=module)
    assert _interrupt(code, "run", "fractal.toml", cwd=project) == (130, f"error: {INTERRUPTED}")
    assert not (project / ".fractal" / "runs").exists()


def test_interrupted_for_machines():
    """With --json it is JSON."""
    code, errors = _interrupt(PROGRAM.format(module="typer"), "plan", "fractal.toml", "--json")
    assert (code, json.loads(errors)) == (130, {"error": INTERRUPTED})


def test_ignored_interrupts_stay_ignored():
    """A program that was started to ignore Ctrl-C (nohup, in the background) goes on."""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code = ignoring + PROGRAM.format(module="typer").replace("range(600)", "range(5)")
    assert _interrupt(code, "--version") == (0, "")


ENDING = """
import atexit, sys
from fractal_core import cli
class Kept:
    def __del__(self):
        print("taken apart")
def run():
    global kept
    kept = Kept()
    atexit.register(print, "registered by a library")
    print("done")
    sys.exit({code})
cli.main = run
from fractal_core.start import main
main()
"""


@pytest.mark.parametrize(
    ("code", "words"), [("None", []), ("0", []), ("3", ["taken apart"]), ("'an error'", ["taken apart"])]
)
def test_end_of_the_program(code, words):
    """Everything is printed and told before it; only after an error time is taken to take everything apart."""
    ended = subprocess.run([sys.executable, "-c", ENDING.format(code=code)], capture_output=True, text=True)
    assert ended.returncode == {"None": 0, "0": 0, "3": 3, "'an error'": 1}[code]
    assert ended.stdout.splitlines() == ["done", "registered by a library", *words]


def test_output_that_cannot_be_written_at_the_end():
    """A full disk is no success, though it is only noticed when the program has done all."""
    command = [sys.executable, "-c", ENDING.format(code=0)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert ended.returncode == 120
    assert b"No space left on device" in ended.stderr


QUERY = """
from fractal_core.catalog import asking
execute = asking.execute
def say(*arguments):
    print("held", flush=True)
    return execute(*arguments)
asking.execute = say
from fractal_core.start import main
main()
"""


@pytest.mark.parametrize("output", [(), ("--format", "parquet", "--output", "answer.parquet")])
def test_interrupted_query(bench, output, tmp_path):
    """A long query stops within a moment, and its unfinished file is removed."""
    long = "SELECT a.range FROM range(100000000) a, range(100000000) b WHERE hash(a.range, b.range) = 1"
    words = ("query", long, "--workspace", str(bench.workspace.root), *output)
    assert _interrupt(QUERY, *words, cwd=tmp_path, after=0.5) == (130, f"error: {INTERRUPTED}")
    assert list(tmp_path.glob("*answer*")) == []


LOST = """
import os, signal
from pathlib import Path
from fractal_core import cli
from fractal_core.appearing import appearing
from fractal_core.interruption import interruptible
from fractal_core.start import main
class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
def run():
    with interruptible(), appearing(Path("out.txt")) as stream:
        stream.write(b"all of it")
        Deaf()
        print("went on")
    print("not interrupted")
cli.main = run
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_signal_in_a_finalizer(tmp_path, name, code):
    """What it raises is lost there, but the file that is being written does not appear, and the program ends by it."""
    ended = subprocess.run(
        [sys.executable, "-c", LOST.format(name=name)], capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert ended.stdout == "went on\n"
    assert "Exception ignored in" in ended.stderr
    assert ended.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_signal_lost_without_a_file(tmp_path):
    """It ends the program all the same."""
    program = LOST.replace(', appearing(Path("out.txt")) as stream', "").replace('stream.write(b"all of it")', "")
    ended = subprocess.run([sys.executable, "-c", program.format(name="SIGTERM")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (143, "went on\n")


def test_program_is_started_here():
    """The installed command begins with this module, and it imports nothing that takes time."""
    root = Path(__file__).resolve().parents[1]
    assert 'fractal = "fractal_core.start:main"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    code = "import sys; before = {*sys.modules}; import fractal_core.start; print(*sorted({*sys.modules} - before))"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=root, check=True)
    packages = {re.split(r"[._]", name)[0] for name in loaded.stdout.split()}
    assert packages <= {*sys.stdlib_module_names, "fractal", ""}


def test_exception_that_typer_swallows(project, monkeypatch, capsys):
    """A KeyboardInterrupt in a command of the library is one sentence too, though typer catches it without a word."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.chdir(project)
    monkeypatch.setattr("fractal_core.planning.make_plan", stop)
    monkeypatch.setattr(sys, "argv", ["fractal", "plan", "fractal.toml"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert capsys.readouterr().err.strip() == f"error: {INTERRUPTED}"
