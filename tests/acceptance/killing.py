"""Runs that die by SIGKILL, many in a minute: one process imports everything, and forks one that runs and is killed.

Started by `Killer` as a program of its own, so that nothing of the tests (threads, open files) is in what is killed.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

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


class Killer:
    """The process that forks the runs, and how to ask it for one."""

    def __init__(self, log):
        """Start it; what its children say goes to `log`."""
        self.log = log
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(root)}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True,
            env=environment,
        )  # fmt: skip

    def run(self, folder, *settings, fault="", after=None, until=None, force=(), gc=None):
        """Run (or collect with `gc` runs kept) in a new process; return the stages it computed, or None if killed.

        It is killed at a fault point, or `after` so many seconds, if it still runs then.
        """
        request = {"folder": str(folder), "settings": settings, "fault": fault, "after": after, "until": until,
                   "force": force, "gc": gc}  # fmt: skip
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["status"] in (0, signal.SIGKILL), self.log.read_text()
        return answer["ran"] if answer["status"] == 0 else None

    def close(self):
        """End it."""
        self._process.communicate()


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


def _do(request):
    folder = Path(request["folder"])
    workspace = open_workspace(folder / "ws")
    if request["gc"] is not None:
        collect(workspace, request["gc"])
        return []
    config = load_config(folder / "fractal.toml", request["settings"])
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(workspace, config, runtime, force=request["force"]) as run:
        for stage in stages_until(request["until"]):
            run.execute(stage.name)
    return [record.stage for record in run.record.stages if not record.reused]


def _child(request, answer):
    os.environ[FAULT] = request["fault"]
    try:
        ran = _do(request)
        with os.fdopen(answer, "w") as stream:
            json.dump([ran, sorted(sys.modules)], stream)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _serve():
    for stage in stages_until(None):
        stage.load()
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _child(request, writing)
        os.close(writing)
        if request["after"] is not None:
            time.sleep(request["after"])
            os.kill(child, signal.SIGKILL)
        with os.fdopen(reading) as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        code = abs(os.waitstatus_to_exitcode(status))
        # A child that was killed may have been killed in the middle of its answer.
        ran, modules = json.loads(said) if code == 0 else (None, [])
        # What a run imports late is imported here, once; importing starts no threads, which would not survive a fork.
        for name in modules:
            with suppress(Exception):
                importlib.import_module(name)
        print(json.dumps({"status": code, "ran": ran}), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
