"""Runs that die by SIGKILL, many in a minute."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

from forked import Forked
from rich.console import Console

from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stage_named, stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.artefact import find_artefact
from fractal_core.store.collecting import collect
from fractal_core.store.faults import FAULT
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace


def attempt(folder, *settings, fault="", after=None, until=None, force=(), gc=None):
    """Run (or collect with `gc` runs kept) in a new process; return the stages it computed, or None if killed.

    It is killed at a fault point, or `after` so many seconds, if it still runs then.
    """
    process = Forked(_print_what_ran, Path(folder), settings, fault, until, force, gc, folder=folder)
    if after is not None:
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
    printed, messages = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), messages
    # One that was killed may have been killed in the middle of its answer.
    return json.loads(printed) if process.returncode == 0 else None


def copy_until(project, target, stage):
    """Copy a project that was run, as if that run had ended before `stage` and left no record."""
    shutil.copytree(project, target)
    workspace = target / "ws"
    shutil.rmtree(workspace / "runs")
    (workspace / "runs").mkdir()
    names = [each.name for each in stages_until(None)]
    for name in names[names.index(stage_named(stage).name) :]:
        for path in (*workspace.glob(f"manifests/{name}-*"), *workspace.glob(f"artefacts/{name}-*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return target


def contents(workspace):
    """Return the content of every file of the newest completed run."""
    run = next(run for run in list_runs(workspace) if run.state == "completed")
    artefacts = [find_artefact(workspace, stage, fingerprint) for stage, fingerprint in run.fingerprints().items()]
    return {
        f"{artefact.stage}/{entry.name}": (artefact.folder / entry.name).read_bytes()
        for artefact in artefacts
        for entry in (*artefact.manifest.tables.values(), *artefact.manifest.files.values())
    }


def _print_what_ran(folder, settings, fault, until, force, gc):
    os.environ[FAULT] = fault
    workspace = open_workspace(folder / "ws")
    if gc is not None:
        collect(workspace, gc)
        ran = []
    else:
        config = load_config(folder / "fractal.toml", settings)
        runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
        with LabellingRun(workspace, config, runtime, force=force) as run:
            for stage in stages_until(until):
                run.execute(stage.name)
        ran = [record.stage for record in run.record.stages if not record.reused]
    print(json.dumps(ran))  # noqa: T201
