"""Run records: what ran, what was reused and why. One JSON file a run, rewritten whole as its stages end."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from fractal_core.store.canonical import canonical_json
from fractal_core.store.workspace import Workspace

State = Literal["running", "completed", "failed", "interrupted"]


@dataclass(frozen=True)
class StageRecord:
    """What became of one stage in one run."""

    stage: str
    fingerprint: str
    reused: bool
    reason: str
    seconds: float
    rows_in: int
    rows_out: dict[str, int]
    notes: list[str]


@dataclass(frozen=True)
class RunRecord:
    """One run: its configuration, its state, and its stages in the order they ended."""

    run_id: str
    state: State
    config_path: str
    config: dict[str, Any]
    started: str
    ended: str | None = None
    error: str | None = None
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    flow_run_id: str | None = None
    stages: tuple[StageRecord, ...] = ()

    def fingerprints(self) -> dict[str, str]:
        """Return stage -> fingerprint."""
        return {stage.stage: stage.fingerprint for stage in self.stages}

    def is_dead(self) -> bool:
        """Tell whether it says "running" but its process, on this host, is no more."""
        return self.state == "running" and self.host == socket.gethostname() and not _alive(self.pid)


def new_run(config_path: str, config: dict[str, Any]) -> RunRecord:
    """Return a record for a run that starts now; ids sort by time."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}-{secrets.token_hex(2)}"
    return RunRecord(run_id, "running", config_path, config, started=now.isoformat(timespec="milliseconds"))


def finished(run: RunRecord, state: State, error: str | None = None) -> RunRecord:
    """Return the record of a run that ends now."""
    return replace(run, state=state, error=error, ended=datetime.now(UTC).isoformat(timespec="milliseconds"))


def save_run(workspace: Workspace, run: RunRecord) -> None:
    """Write a run's record, whole."""
    workspace.write_file(workspace.runs / f"{run.run_id}.json", canonical_json(asdict(run)))


def list_runs(workspace: Workspace) -> list[RunRecord]:
    """Return all readable run records, newest first; dead ones read as interrupted."""
    runs = []
    for path in sorted(workspace.runs.glob("*.json"), reverse=True):
        try:
            raw = json.loads(path.read_bytes())
            stages = tuple(StageRecord(**stage) for stage in raw.pop("stages"))
            run = RunRecord(stages=stages, **raw)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        runs.append(replace(run, state="interrupted") if run.is_dead() else run)
    return runs


def settle_dead_runs(workspace: Workspace) -> list[RunRecord]:
    """Record runs whose process died as interrupted, and return them."""
    settled = []
    for run in list_runs(workspace):
        if run.state == "interrupted" and run.ended is None:
            run = finished(run, "interrupted", "its process ended without a word (killed, or the machine stopped)")
            save_run(workspace, run)
            settled.append(run)
    return settled


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
