"""`fractal run`: start the orchestrator only if something is stale."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fractal_core.config_loading import load_config
from fractal_core.labelling import reuse_all
from fractal_core.planning import is_current, make_plan
from fractal_core.progress import Reporter, reporting
from fractal_core.store.runs import RunRecord, finished, list_runs, save_run, settle_dead_runs
from fractal_core.store.workspace import Workspace, open_workspace

_MOST_SETTLED = 50


def run_or_reuse(
    config_path: Path,
    workspace_path: Path,
    reporter: Reporter,
    *,
    until: str | None = None,
    settings: tuple[str, ...] = (),
    force: tuple[str, ...] = (),
    debug: bool = False,
) -> tuple[Workspace, RunRecord]:
    """Run the labelling flow, or find that everything is current; return the workspace and the run's record.

    Raises:
        FractalError: whatever stops the run.
    """
    config = load_config(config_path, settings)
    workspace = open_workspace(workspace_path)
    plan = make_plan(workspace, config, until=until, force=force)
    if is_current(plan):
        return workspace, reuse_all(workspace, config, plan, str(config_path))
    settle_dead_runs(workspace)
    run_id = _start_flow(config_path, workspace, reporter, until, settings, force, debug)
    return workspace, next(run for run in list_runs(workspace) if run.run_id == run_id)


def _start_flow(
    config_path: Path,
    workspace: Workspace,
    reporter: Reporter,
    until: str | None,
    settings: tuple[str, ...],
    force: tuple[str, ...],
    debug: bool,
) -> str:
    """Import Prefect and everything heavy, and run the flow in this process."""
    from flows.environment import prepare_prefect

    reporter.line("starting Prefect ...")
    prepare_prefect(workspace.prefect, debug=debug)
    from flows.label import label
    from flows.orphans import settle_flow_runs, stop_orphan_servers

    stop_orphan_servers()
    unsettled = [run.flow_run_id for run in list_runs(workspace) if run.state == "interrupted" and run.flow_run_id]
    before = signal.signal(signal.SIGINT, lambda *_: _stop_at_once(workspace))
    try:
        with reporting(reporter):
            run_id = label(str(config_path), str(workspace.root), settings, until, force)
    finally:
        signal.signal(signal.SIGINT, before)
    settle_flow_runs(unsettled[:_MOST_SETTLED])
    return str(run_id)


def _stop_at_once(workspace: Workspace) -> None:
    """Answer Ctrl-C: record the run as interrupted and leave.

    The terminal has interrupted Prefect's temporary server as well, and Prefect would wait minutes for it. Leaving at
    once is safe, because nothing counts in the store before it is committed.
    """
    from flows.orphans import stop_servers_of

    for run in list_runs(workspace):
        if run.state == "running" and run.pid == os.getpid():
            save_run(workspace, finished(run, "interrupted", "stopped by Ctrl-C"))
    stop_servers_of(os.getpid())
    os.write(2, b"\nerror: Interrupted; finished stages are kept, run again to go on.\n")
    os._exit(130)
