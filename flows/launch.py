"""`fractal run`: start the orchestrator only if something is stale, and only one run of a configuration at a time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.stopping import stopping_at_once
from fractal_core.config import RunConfig
from fractal_core.config_loading import load_config
from fractal_core.labelling import reuse_all
from fractal_core.planning import StagePlan, is_current, make_plan
from fractal_core.progress import Reporter, reporting
from fractal_core.store.canonical import canonical_json, digest
from fractal_core.store.failures import check_writable, storage_error, storing
from fractal_core.store.locks import lock
from fractal_core.store.runs import MEANWHILE, RunRecord, list_runs, settle_dead_runs
from fractal_core.store.using import in_use
from fractal_core.store.workspace import Workspace, open_workspace

IfRunning = Literal["wait", "skip"]

_MOST_SETTLED = 50


@dataclass(frozen=True)
class Request:
    """What to run, and what to do while another process runs the same configuration: wait for it, or skip this run."""

    config: Path
    workspace: Path
    settings: tuple[str, ...] = ()
    until: str | None = None
    force: tuple[str, ...] = ()
    if_running: IfRunning = "wait"
    debug: bool = False


def run_or_reuse(request: Request, reporter: Reporter) -> tuple[Workspace, RunRecord]:
    """Run the labelling flow, or find that everything is current; return the workspace and the run's record.

    Runs of different configurations go on beside each other, sharing what they have in common. The same configuration
    is run by one process at a time.

    Raises:
        LockHeldError: if another process runs this configuration and the request is to skip the run then.
        FractalError: whatever stops the run.
    """
    config = load_config(request.config, request.settings)
    workspace = open_workspace(request.workspace)
    with stopping_at_once(workspace, as_json=reporter.style == "quiet"):
        list_runs(workspace, warn=reporter.note)
        with suppress(OSError):  # if the workspace can only be read, and nothing is stale, that is enough
            settle_dead_runs(workspace)
        with in_use(workspace.root):  # nothing that was found is collected before it is recorded as needed
            plan = _plan(request, workspace, config)
            if is_current(plan):
                return workspace, reuse_all(workspace, config, plan, str(request.config))
        check_writable(workspace)
        try:
            return workspace, _run_alone(request, workspace, config, reporter, plan)
        except OSError as error:
            raise storage_error("The run was stopped", error, workspace.root) from error


def _plan(request: Request, workspace: Workspace, config: RunConfig) -> list[StagePlan]:
    return make_plan(workspace, config, until=request.until, force=request.force)


def _run_alone(
    request: Request, workspace: Workspace, config: RunConfig, reporter: Reporter, plan: list[StagePlan]
) -> RunRecord:
    """Run what is stale while no other process runs the same configuration; reuse what one did before us."""
    # How to compute is not what to compute; where the result is put is.
    key = digest(canonical_json(config.model_dump(mode="json", exclude={"runtime"})))
    path = workspace.locks / f"config-{key}.lock"
    wait = request.if_running == "wait"
    with lock(path, reporter.line, doing="running this configuration", wait=wait) as waited_for:
        if waited_for is not None:
            stale = [step.stage for step in plan if step.decision != "reuse"]
            with in_use(workspace.root):
                plan = _plan(request, workspace, config)
                if is_current(plan):
                    reasons = dict.fromkeys(stale, f"{MEANWHILE} {waited_for}")
                    return reuse_all(workspace, config, plan, str(request.config), reasons)
        run_id = _start_flow(request, workspace, config, reporter)
    return next(run for run in list_runs(workspace) if run.run_id == run_id)


def _start_flow(request: Request, workspace: Workspace, config: RunConfig, reporter: Reporter) -> str:
    """Import Prefect and everything heavy, and run the flow in this process."""
    from flows.environment import prepare_prefect
    from flows.orphans import start_guard, stop_orphan_servers

    prepare_prefect(workspace.prefect, debug=request.debug)
    if config.runtime.device == "cuda":
        from fractal_core.runtime import make_runtime

        make_runtime(config.runtime, reporter)  # says that there is no GPU before a server is started
    reporter.line("starting Prefect ...")
    stop_orphan_servers()
    start_guard()
    from flows.label import label
    from flows.settling import settle_flow_runs

    unsettled = [run.flow_run_id for run in list_runs(workspace) if run.state == "interrupted" and run.flow_run_id]
    with storing("The run was stopped", workspace.root):
        # Two servers that make one database at the same time fail.
        with lock(workspace.locks / "prefect.lock", reporter.line, doing="starting Prefect"):
            settle_flow_runs(unsettled[:_MOST_SETTLED])
        with reporting(reporter):
            return str(label(str(request.config), str(workspace.root), request.settings, request.until, request.force))
