"""Garbage collection: what no kept run needs goes, even while a run is going on.

Kept are the newest runs that completed and every run, whatever became of it, that is newer than the oldest of these.

Why a kept run never loses what it needs:
- Everything is decided and moved away while the workspace is held alone (`using.alone`). Who commits an artefact, or
  looks for one to reuse, holds it in common, so neither happens meanwhile.
- A run writes its record, "running", before it looks for its first artefact. If that was before we look, we see it and
  leave it every artefact of the stages it has not recorded yet, besides those it has recorded: the one it has just
  reused or committed is among them. If it was after, it finds only what stays.
- A stage at work holds the lock of its fingerprint, and its temporary folder bears that name.
- What is moved away is removed afterwards. If we are killed in between, it lies in the temporary folder.

A query that is being answered may lose the files of a run that is forgotten now, and then says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fractal_core.errors import StoreError
from fractal_core.store.failures import storage_error
from fractal_core.store.faults import reach
from fractal_core.store.leftovers import Garbage, leftovers, may_use, size_of, split_name
from fractal_core.store.locks import LockHeldError, lock
from fractal_core.store.manifest import read_manifest
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.using import alone
from fractal_core.store.workspace import Workspace


def collect(workspace: Workspace, keep_runs: int, *, dry_run: bool = False) -> list[Garbage]:
    """Remove what no kept run needs and return it.

    Args:
        workspace: where to remove it.
        keep_runs: completed runs to keep, at least 1, counted from the newest.
        dry_run: remove nothing.

    Raises:
        StoreError: if a run record cannot be read, so that what it needs is unknown, or something cannot be removed.
    """
    removed = workspace.temporary("collected")
    try:
        with alone(workspace.root):
            runs = list_runs(workspace)
            for run in runs:
                if run.state == "unreadable":
                    raise StoreError(f"What run {run.run_id} needs is not known, so nothing is removed: {run.error}.")
            garbage = [*_unneeded(workspace, runs, max(keep_runs, 1)), *leftovers(workspace, runs)]
            if dry_run:
                return garbage
            removed.mkdir()
            for item in garbage:
                _move(item, removed)
        reach("gc", "moved")
        with suppress(FileNotFoundError):  # another collector may be at it
            shutil.rmtree(removed)
    except OSError as error:
        raise storage_error("Not everything could be removed", error, workspace.root) from error
    return garbage


def report(garbage: Sequence[Garbage], *, dry_run: bool) -> tuple[dict[str, Any], str]:
    """Return what was removed, or would be, as JSON values and in words."""
    size = sum(item.bytes for item in garbage)
    items = [{"kind": item.kind, "name": item.name, "bytes": item.bytes} for item in garbage]
    lines = [f"{item.kind:9} {item.bytes:>13,}  {item.name}" for item in garbage]
    verb = "would be removed" if dry_run else "removed"
    last = f"{len(garbage)} things {verb}, {size:,} bytes" if garbage else "Nothing to remove."
    return {"dry_run": dry_run, "bytes": size, "removed": items}, "\n".join([*lines, last])


def _unneeded(workspace: Workspace, runs: Sequence[RunRecord], keep_runs: int) -> Iterator[Garbage]:
    """Yield the records of runs that are not kept, then the artefacts that only they needed, or nobody."""
    kept = _kept(runs, keep_runs)
    for run in runs:
        if run not in kept:
            path = workspace.runs / f"{run.run_id}.json"
            yield Garbage("run", str(path.relative_to(workspace.root)), size_of(path), (path,))
    needed = {entry for run in kept for entry in run.fingerprints().items()}
    for path in sorted(workspace.manifests.glob("*.json")):
        stage, fingerprint = split_name(path.stem)
        if (stage, fingerprint) not in needed and not may_use(runs, stage, fingerprint):
            manifest, _ = read_manifest(path)
            folders = [] if manifest is None else [workspace.artefacts / manifest.folder]
            paths = (path, *folders)
            yield Garbage("artefact", f"{stage}-{fingerprint}", sum(map(size_of, paths)), paths)


def _kept(runs: Sequence[RunRecord], keep_runs: int) -> list[RunRecord]:
    completed = [run.run_id for run in runs if run.state == "completed"][:keep_runs]
    oldest = completed[-1] if len(completed) == keep_runs else ""
    return [run for run in runs if run.run_id >= oldest or run.state == "running"]


def _move(item: Garbage, to: Path) -> None:
    """Take something out of sight: a record or a manifest first, so that nobody looks for what it names."""
    if item.kind == "lock":
        # Somebody may have taken it since: a lock file is removed by who holds it, on leaving.
        with suppress(LockHeldError), lock(item.paths[0], lambda text: None, wait=False):
            pass
        return
    for path in item.paths:
        reach("gc", path.name)
        if path.exists():
            path.rename(to / path.name)
