"""SIGKILL in the middle of a real run: nothing half-made is seen, nothing stays "running", the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from flows.orphans import orphan_servers
from fractal_core.catalog.connection import connect
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace

SLOW = ["--set", "train.epochs=10000", "--set", "train.learning_rate=1e-6"]
CODE = "from fractal_core.cli import main; main()"


def _fractal(folder, *arguments):
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)


def _run_in_training(project):
    """Start a run, as the leader of its process group, and return it once it trains, which it will do for long."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "run", "fractal.toml", *SLOW],
        cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    manifests = project / ".fractal" / "manifests"
    deadline = time.monotonic() + 200
    while not (manifests.is_dir() and list(manifests.glob("priors-*.json"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_killed_run_is_settled_and_resumed(project):
    """After SIGKILL: no partial artefact, the run recorded as interrupted, its server stopped, finished stages kept."""
    process = _run_in_training(project)
    process.send_signal(signal.SIGKILL)
    process.wait()
    workspace = open_workspace(project / ".fractal")
    assert [run.state for run in list_runs(workspace)] == ["interrupted"]
    assert connect(workspace).execute("SELECT count(*) FROM sentences").fetchall() == [(240,)]
    assert connect(workspace).execute("SELECT count(*) FROM scores").fetchall() == [(0,)]
    server = [pid for pid in orphan_servers() if str(project) in _environment(pid)]
    assert server
    second = _fractal(project, "run", "fractal.toml", "--json")
    assert second.returncode == 0, second.stderr
    reused = {stage["stage"]: stage["reused"] for stage in json.loads(second.stdout)["stages"]}
    assert [name for name, kept in reused.items() if kept] == ["read", "segment", "embed", "priors"]
    assert sorted(run.state for run in list_runs(workspace)) == ["completed", "interrupted"]
    with sqlite3.connect(workspace.prefect / "prefect.db") as database:
        states = database.execute("SELECT state_type FROM flow_run").fetchall()
    assert sorted(states) == [("COMPLETED",), ("CRASHED",)]
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in server)
    assert _fractal(project, "doctor").returncode == 0


@pytest.mark.slow
def test_interrupt_ends_at_once(project):
    """Ctrl-C, sent to the process group as a terminal does: one sentence, exit code 130, recorded, no server left."""
    process = _run_in_training(project)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("error: Interrupted")
    assert "Traceback" not in errors
    assert [run.state for run in list_runs(open_workspace(project / ".fractal"))] == ["interrupted"]
    deadline = time.monotonic() + 20
    while (
        left := [pid for pid in orphan_servers() if str(project) in _environment(pid)]
    ) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


@pytest.mark.slow
def test_error_in_a_stage_is_one_sentence(project):
    """Labels all alike are found inside the flow: still one sentence, and nothing else after the plain progress."""
    rows = [json.loads(line) for line in (project / "responses.jsonl").read_text().splitlines()]
    for row in rows:
        row["response_label"] = 1
    (project / "responses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = _fractal(project, "run", "fractal.toml")
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert lines[0] == "starting Prefect ..."
    assert lines[1].startswith("error: ")
    assert len(lines) == 2


def _environment(pid):
    with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
        return file.read()


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
