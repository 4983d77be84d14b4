"""`fractal run`: start the orchestrator only if something is stale."""

from __future__ import annotations

from pathlib import Path

from fractal_core.config_loading import load_config
from fractal_core.labelling import reuse_all
from fractal_core.planning import is_current, make_plan
from fractal_core.progress import Reporter, reporting
from fractal_core.store.runs import RunRecord, list_runs, settle_dead_runs
from fractal_core.store.workspace import Workspace, open_workspace


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
    dead = settle_dead_runs(workspace)
    _start_flow(config_path, workspace, reporter, until, settings, force, [run.flow_run_id for run in dead], debug)
    return workspace, list_runs(workspace)[0]


def _start_flow(
    config_path: Path,
    workspace: Workspace,
    reporter: Reporter,
    until: str | None,
    settings: tuple[str, ...],
    force: tuple[str, ...],
    dead: list[str | None],
    debug: bool,
) -> str:
    """Import Prefect and everything heavy, and run the flow in this process."""
    from flows.environment import prepare_prefect

    reporter.line("starting Prefect ...")
    prepare_prefect(workspace.prefect, debug=debug)
    from flows.label import label
    from flows.orphans import settle_flow_runs, stop_orphan_servers

    stop_orphan_servers()
    with reporting(reporter):
        run_id = label(str(config_path), str(workspace.root), settings, until, force)
    settle_flow_runs([flow_run_id for flow_run_id in dead if flow_run_id])
    return str(run_id)
