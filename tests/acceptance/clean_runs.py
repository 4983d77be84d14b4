"""Comparing a run that took results from earlier ones with a run that had none."""

from __future__ import annotations

import shutil


def clean_run(runner, runner_in, folder, *settings, until="priors"):
    """Run a copy of the project in a new workspace."""
    shutil.copytree(runner.folder, folder, ignore=shutil.ignore_patterns("ws"))
    clean = runner_in(folder)
    clean.run(*settings, until=until)
    return clean


def check_clean(runner, runner_in, folder, *settings):
    """Every table and file is what a run in a new workspace makes of the same input."""
    clean = clean_run(runner, runner_in, folder, *settings)
    incremental = runner.bytes()
    assert clean.bytes() == {name: incremental[name] for name in clean.bytes()}
