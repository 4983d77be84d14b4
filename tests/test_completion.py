"""What a shell offers, asked as the shell asks it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from fractal_core.config import RunConfig
from fractal_core.config_keys import walk
from fractal_core.pipeline import STAGE_NAMES

CODE = "from fractal_core.cli import main; import sys; sys.argv[0] = 'fractal'; main()"


def _offered(line):
    """Return what bash is offered for a command line, which ends where the cursor is."""
    environment = {
        **os.environ,
        "_FRACTAL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fractal sta", ["status"]),
        ("fractal run a.toml --until p", ["priors", "pseudolabel"]),
        ("fractal plan a.toml --force ", list(STAGE_NAMES)),
        ("fractal plan a.toml --set train.ep", ["train.epochs="]),
        ("fractal serve a.toml --set segment.", ["segment.method=", "segment.language="]),
        ("fractal serve a.toml --overlap ", ["skip", "wait"]),
    ],
)
def test_shell_is_offered(line, offered):
    """Commands, choices, stages for --until and --force, keys for --set."""
    assert _offered(line) == offered


def test_every_key_is_offered():
    """All keys, each ready for its value, and no section."""
    assert _offered("fractal run a.toml --set ") == [f"{key.name}=" for key in walk(RunConfig) if key.section is None]


def test_completion_is_installed(tmp_path):
    """`--install-completion` writes a script for bash and has it read at the start."""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    # From a shell, which is how its kind is found out; a second command keeps it from becoming the first.
    typed = shlex.join([sys.executable, "-c", CODE, "--install-completion"]) + "; exit $?"
    result = subprocess.run(
        ["bash", "-c", typed], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    script = tmp_path / ".bash_completions" / "fractal.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    check = f"source {script} && complete -p fractal"
    found = subprocess.run(["bash", "-c", check], env=environment, capture_output=True, text=True, check=False)
    assert "_fractal_completion" in found.stdout
