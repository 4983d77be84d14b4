"""Documents as their blocks of code, and running these as a reader would."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from fractal_core.cli import app

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read_document(name):
    """Return the text of a document of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def fenced(text):
    """Return (language, block) for every block of a document, in order."""
    return _BLOCK.findall(text)


def blocks(text, language):
    """Return the blocks of a language."""
    return [block for found, block in fenced(text) if found == language]


def shell(script, folder, path=(), timeout=280):
    """Run a block in a folder with `fractal` on the path, without pip and make; return what it printed."""
    lines = [line for line in script.splitlines() if not line.startswith(("make ", "pip "))]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": ":".join(str(each) for each in path),
    }
    result = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def python(scripts, folder):
    """Run blocks one after the other in one process, in a folder; return what each printed."""
    script = "\nprint('\\0', end='')\n".join(scripts)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\0")


def query(sql, folder):
    """Return the rows that a query gives, as lists of text without the header."""
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, ["query", sql, "--format", "csv"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()[1:]


def figures(text):
    """Return the figure behind each name: `held-out loss of NAME: FIGURE`, `NAME FIGURE` of AUCs."""
    pairs = re.findall(r"held-out loss of (.+?): ([0-9.]+)$", text, re.MULTILINE)
    return {name: float(figure) for name, figure in pairs}
