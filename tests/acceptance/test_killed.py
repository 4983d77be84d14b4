"""SIGKILL in the middle of a real run: nothing half-made is seen, nothing stays "running", the next run goes on."""

from __future__ import annotations

import json
import signal
import sqlite3

import pytest
from real_runs import fractal, processes_in, start_training, wait_until

from fractal_core.catalog.connection import connect
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace

LAST = "SELECT id FROM flow_run WHERE state_type = 'COMPLETED'"


@pytest.mark.slow
def test_killed_run_is_settled_and_resumed(project):
    """After SIGKILL: no partial artefact, the run recorded as interrupted, no process left, finished stages kept."""
    process = start_training(project)
    assert any("answering.py" in command for command in processes_in(project).values())
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: processes_in(project) == {}, 8)
    workspace = open_workspace(project / ".fractal")
    assert [run.state for run in list_runs(workspace)] == ["interrupted"]
    assert connect(workspace).execute("SELECT count(*) FROM sentences").fetchall() == [(240,)]
    assert connect(workspace).execute("SELECT count(*) FROM scores").fetchall() == [(0,)]
    second = fractal(project, "run", "fractal.toml", "--json")
    assert second.returncode == 0, second.stderr
    reused = {stage["stage"]: stage["reused"] for stage in json.loads(second.stdout)["stages"]}
    assert [name for name, kept in reused.items() if kept] == ["read", "segment", "embed", "priors"]
    assert sorted(run.state for run in list_runs(workspace)) == ["completed", "interrupted"]
    with sqlite3.connect(workspace.prefect / "prefect.db") as database:
        states = database.execute("SELECT state_type FROM flow_run").fetchall()
        tasks = database.execute(f"SELECT name, state_type FROM task_run WHERE flow_run_id = ({LAST})").fetchall()
        made = database.execute(f"SELECT key FROM artifact WHERE flow_run_id = ({LAST})").fetchall()
        logged = database.execute(f"SELECT message FROM log WHERE flow_run_id = ({LAST})").fetchall()
    assert sorted(states) == [("COMPLETED",), ("CRASHED",)]
    # What the run told the server in its last moments is there as well.
    assert sorted(tasks) == sorted((name, "COMPLETED") for name in STAGE_NAMES)
    assert {(f"stage-{name}",) for name in STAGE_NAMES} | {("run",), ("metrics",)} == {*made}
    assert ("Finished in state Completed()",) in logged
    assert fractal(project, "doctor").returncode == 0
