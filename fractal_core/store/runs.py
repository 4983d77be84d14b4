"""Run records: what ran, what was reused and why. One JSON file a run, rewritten whole as its stages end.

A run holds a lock for as long as it lives, so that anyone can tell a running one from one that died without a word.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from fractal_core.store.canonical import read_sealed, sealed_json
from fractal_core.store.locks import is_locked, lock
from fractal_core.store.workspace import Workspace

State = Literal["running", "completed", "failed", "interrupted", "unreadable"]

# How the reason begins of a stage that another process computed while this run waited for it.
MEANWHILE = "computed meanwhile by"


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
    rows_computed: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)


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


def new_run(config_path: str, config: dict[str, Any]) -> RunRecord:
    """Return a record for a run that starts now; ids sort by time."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}-{secrets.token_hex(2)}"
    return RunRecord(run_id, "running", config_path, config, started=now.isoformat(timespec="milliseconds"))


def finished(run: RunRecord, state: State, error: str | None = None) -> RunRecord:
    """Return the record of a run that ends now."""
    return replace(run, state=state, error=error, ended=_now())


def seconds_of(run: RunRecord) -> float | None:
    """Return the wall time of a run in seconds; None if it has not ended, or nobody recorded when."""
    if run.ended is None:
        return None
    return (datetime.fromisoformat(run.ended) - datetime.fromisoformat(run.started)).total_seconds()


def save_run(workspace: Workspace, run: RunRecord) -> None:
    """Write a run's record, whole."""
    workspace.write_file(workspace.runs / f"{run.run_id}.json", sealed_json(asdict(run)))


def alive(workspace: Workspace, run: RunRecord) -> AbstractContextManager[object]:
    """Hold the lock that says this run lives: to be taken before its record is first written, and left after the last.

    Raises:
        OSError: if the workspace cannot be written.
    """
    return lock(_life(workspace, run), lambda text: None)


def list_runs(workspace: Workspace, warn: Callable[[str], None] = lambda text: None) -> list[RunRecord]:
    """Return all run records, newest first; dead ones read as interrupted, damaged ones as unreadable.

    Args:
        workspace: where the records are.
        warn: hears of each damaged record.
    """
    runs = []
    for path in sorted(workspace.runs.glob("*.json"), reverse=True):
        run = _read_run(path)
        if run is not None and _is_dead(workspace, run):
            # It may have ended between the two looks; its last record is written before the lock is left.
            run = _read_run(path)
            if run is not None and run.state == "running":
                run = replace(run, state="interrupted")
        if run is not None:
            runs.append(run)
            if run.state == "unreadable":
                warn(str(run.error))
    return runs


def settle_dead_runs(workspace: Workspace) -> list[RunRecord]:
    """Record runs whose process died as interrupted, and return them.

    Raises:
        OSError: if the workspace cannot be written.
    """
    settled = []
    for run in list_runs(workspace):
        if run.state == "interrupted" and run.ended is None:
            run = finished(run, "interrupted", "its process ended without a word (killed, or the machine stopped)")
            save_run(workspace, run)
            settled.append(run)
            with suppress(FileNotFoundError):
                _life(workspace, run).unlink()
    return settled


def _life(workspace: Workspace, run: RunRecord) -> Path:
    return workspace.locks / f"run-{run.run_id}.lock"


def _is_dead(workspace: Workspace, run: RunRecord) -> bool:
    return run.state == "running" and not is_locked(_life(workspace, run))


def _read_run(path: Path) -> RunRecord | None:
    """Read a record; None if it was removed meanwhile, one that says so if it is none."""
    try:
        run = _format().validate_python(read_sealed(path.read_bytes()))
        for moment in (run.started, run.ended or run.started):
            if datetime.fromisoformat(moment).tzinfo is None:
                raise ValueError(f"{moment} has no time zone")
        if run.run_id != path.stem:
            raise ValueError(f"it is that of run {run.run_id}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        fault = f"{path} is no run record that can be read, and what its run did is lost; delete it"
        return RunRecord(path.stem, "unreadable", "", {}, started=_changed(path), error=fault, pid=0, host="")
    return run


@lru_cache(maxsize=1)
def _format() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def _changed(path: Path) -> str:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    except OSError:
        return _now()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
