"""The sample, labelled once for all documents and test processes; each document works on a copy."""

from __future__ import annotations

import shutil

import pytest
from doc_blocks import ROOT, shell
from filelock import FileLock


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, worker_id):
    """A folder with the sample and the main job run over it by the command line, and what that printed."""
    base = tmp_path_factory.getbasetemp()
    # Test processes have their folders beside each other; whichever comes first labels for all.
    folder = (base if worker_id == "master" else base.parent) / "labelled"
    printed = folder.with_name("labelled.txt")
    with FileLock(folder.with_name("labelled.lock")):
        if not printed.exists():
            folder.mkdir()
            shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("__pycache__"))
            printed.write_text(shell("fractal run data/factuality.toml", folder), encoding="utf-8")
    return folder, printed.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sample(labelled, tmp_path_factory):
    """A copy of that folder, workspace included, and the same output."""
    folder, output = labelled
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(folder, copy)
    return copy, output
