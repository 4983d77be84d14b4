"""The README is true: its reference is the code's, and its commands and queries do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fractal_core.cli import app
from fractal_core.config import RunConfig
from fractal_core.config_keys import known_keys
from fractal_core.reference import with_reference
from fractal_core.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_reference_is_current():
    """Commands, tables and configuration in the README are what the code has."""
    assert with_reference(README) == README, "run python -m fractal_core.reference"


def test_everything_is_documented():
    """Every command, table, column and key is in the README."""
    commands = [c.name or c.callback.__name__ for c in app.registered_commands]
    assert [name for name in commands if f"`fractal {name}" not in README] == []
    keys = [key for key in known_keys(RunConfig) if f"`{key}`" not in README and f"`{key}." not in README]
    assert keys == []
    assert [c.name for t in TABLES.values() for c in t.columns if f"`{c.name}`" not in README] == []


def test_make_targets_exist():
    """The make commands of README and CONTRIBUTING are targets of the Makefile."""
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= targets


def _shell(script, folder):
    """Run a block as a user would, in a folder with the sample, with `fractal` on the path, without pip and make."""
    lines = [line for line in script.splitlines() if not line.startswith(("make ", "pip "))]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    result = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], cwd=folder, env={"PATH": path, "HOME": str(folder), "COLUMNS": "160"},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{script}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A folder with the sample, and the main job run over it by the command line."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "data", folder / "data")
    output = _shell("fractal run data/factuality.toml", folder)
    return folder, output


@pytest.mark.slow
def test_first_result(sample):
    """The summary that the README shows is what a run prints; the sample's AUC is far above its priors."""
    _, output = sample
    shown = next(block for block in _blocks("text") if "responses" in block)
    counts, figures = shown.splitlines()[:2]
    assert counts in output
    auc = dict(re.findall(r"(\w+) ([0-9.]+)", next(line for line in output.splitlines() if "on test" in line)))
    said = dict(re.findall(r"(\w+) ([0-9.]+)", figures))
    assert auc.keys() == said.keys()
    assert all(abs(float(auc[name]) - float(said[name])) < 0.02 for name in said), (auc, said)
    assert float(auc["score"]) > max(float(auc[name]) for name in auc if "similarity" in name or "prior" in name) + 0.1


@pytest.mark.slow
def test_own_data_and_first_query(sample):
    """init, plan, run and query as the README writes them."""
    folder, _ = sample
    shutil.copy(folder / "data" / "factuality.jsonl", folder / "answers.jsonl")
    for block in _blocks("sh"):
        if "fractal" in block:
            output = _shell(block, folder)
            if "query" in block:
                shown = _blocks("text")[1].splitlines()
                assert sum(line.split("│")[1].strip() in output for line in shown) >= 3


@pytest.mark.slow
def test_questions(sample):
    """Every query of the README is answered, with rows where the sample has any."""
    folder, _ = sample
    # A second run with another setting and a bad row, so that every question has an answer.
    with (folder / "data" / "factuality.jsonl").open("a", encoding="utf-8") as file:
        file.write("not json\n")
    _shell("fractal run data/factuality.toml --set train.learning_rate=0.01", folder)
    for sql in _blocks("sql"):
        result = subprocess.run(
            [sys.executable, "-c", "from fractal_core.cli import main; main()", "query", sql, "--format", "csv"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.splitlines()) > 1, sql


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers", "relevance"])
def test_other_samples(sample, name):
    """The other two configurations of the sample run and beat their best prior."""
    folder, _ = sample
    output = _shell(f"fractal run data/{name}.toml", folder)
    line = next(line for line in output.splitlines() if "on test" in line)
    auc = {key: float(value) for key, value in re.findall(r"(\w+) ([0-9.]+)", line)}
    assert auc["score"] > max(auc[key] for key in auc if key not in ("score", "posterior"))
