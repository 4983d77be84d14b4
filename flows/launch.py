"""`fractal run`: start the orchestrator only if something is stale, and only one run of a configuration at a time."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flows.stopping import stopping_at_once
from fractal_core.config import RunConfig
from fractal_core.config_loading import load_config
from fractal_core.encode.uncollected import uncollected
from fractal_core.planning import StagePlan, is_current, make_plan
from fractal_core.progress import Reporter, reporting
from fractal_core.recording import reuse_all
from fractal_core.runtime import make_runtime
from fractal_core.store.artefact import DamagedArtefactError
from fractal_core.store.canonical import canonical_json, digest
from fractal_core.store.failures import check_writable, storage_error, storing
from fractal_core.store.locks import lock
from fractal_core.store.runs import MEANWHILE, RunRecord, list_runs, settle_dead_runs
from fractal_core.store.using import in_use
from fractal_core.store.workspace import Workspace, open_workspace
from fractal_core.summary import summarise

IfRunning = Literal["wait", "skip"]

_MOST_SETTLED = 50
_MOST_SUMMARIES = 3


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


# Runs what is stale, while no other process runs the same configuration, and returns the run's id.
Compute = Callable[[Request, Workspace, RunConfig, Reporter], str]


def run_and_summarise(request: Request, reporter: Reporter) -> dict[str, Any]:
    """Run the labelling flow, or find that everything is current; return what was done, as JSON values.

    What only the summary reads, and finds damaged, is computed again first.

    Raises:
        LockHeldError: if another process runs this configuration and the request is to skip the run then.
        FractalError: whatever stops the run.
    """
    for _ in range(_MOST_SUMMARIES):
        workspace, record = run_or_reuse(request, reporter)
        try:
            return summarise(workspace, record)
        except DamagedArtefactError as error:
            reporter.note(f"{error.damage}: withdrawn, and computed again")
            request = replace(request, force=())
    return summarise(*run_or_reuse(request, reporter))


def run_or_reuse(request: Request, reporter: Reporter, compute: Compute | None = None) -> tuple[Workspace, RunRecord]:
    """Run what is stale, or find that everything is current; return the workspace and the run's record.

    Runs of different configurations go on beside each other, sharing what they have in common. The same configuration
    is run by one process at a time.

    Args:
        request: what to run.
        reporter: hears how it goes.
        compute: how to run what is stale; by default as a Prefect flow of its own, in this process.

    Raises:
        LockHeldError: if another process runs this configuration and the request is to skip the run then.
        FractalError: whatever stops the run.
    """
    config = load_config(request.config, request.settings)
    workspace = open_workspace(request.workspace)
    with stopping_at_once(workspace, reporter.style):
        list_runs(workspace, warn=reporter.note)
        with suppress(OSError):  # if the workspace can only be read, and nothing is stale, that is enough
            settle_dead_runs(workspace)
        plan, record = _plan_or_reuse(request, workspace, config)
        if record is not None:
            return workspace, record
        check_writable(workspace)
        try:
            return workspace, _run_alone(request, workspace, config, reporter, plan, compute or _start_flow)
        except OSError as error:
            raise storage_error("The run was stopped", error, workspace.root) from error


def lock_of(workspace: Workspace, config: RunConfig) -> Path:
    """Return the lock file that whoever runs a configuration holds."""
    # How to compute is not what to compute; where the result is put is.
    key = digest(canonical_json(config.model_dump(mode="json", exclude={"runtime"})))
    return workspace.locks / f"config-{key}.lock"


def _plan_or_reuse(
    request: Request, workspace: Workspace, config: RunConfig, reasons: Mapping[str, str] | None = None
) -> tuple[list[StagePlan], RunRecord | None]:
    """Return the plan, and the record of a run that reuses everything if nothing is stale.

    What would be copied out may be found damaged; then it is withdrawn, and there is something to run.
    """
    with in_use(workspace.root):  # nothing that was found is collected before it is recorded as needed
        plan = make_plan(workspace, config, config_path=str(request.config), until=request.until, force=request.force)
        if is_current(plan):
            with suppress(DamagedArtefactError):
                return plan, reuse_all(workspace, config, plan, str(request.config), reasons)
    return plan, None


def _run_alone(
    request: Request,
    workspace: Workspace,
    config: RunConfig,
    reporter: Reporter,
    plan: list[StagePlan],
    compute: Compute,
) -> RunRecord:
    """Run what is stale while no other process runs the same configuration; reuse what one did before us."""
    wait = request.if_running == "wait"
    with lock(lock_of(workspace, config), reporter.line, doing="running this configuration", wait=wait) as waited_for:
        if waited_for is not None:
            stale = [step.stage for step in plan if step.decision != "reuse"]
            reasons = dict.fromkeys(stale, f"{MEANWHILE} {waited_for}")
            _, record = _plan_or_reuse(request, workspace, config, reasons)
            if record is not None:
                return record
        run_id = compute(request, workspace, config, reporter)
    return next(run for run in list_runs(workspace) if run.run_id == run_id)


def _start_flow(request: Request, workspace: Workspace, config: RunConfig, reporter: Reporter) -> str:
    """Start Prefect's server, import meanwhile what is heavy, and run the flow in this process."""
    from flows.environment import prepare_prefect
    from flows.orphans import start_guard, stop_orphan_servers
    from flows.run_server import start_run_server, talking_to

    prepare_prefect(workspace.prefect, debug=request.debug)
    if config.runtime.device == "cuda" or config.runtime.runner != "local":
        make_runtime(config.runtime, reporter)  # says that there is no GPU, or no cluster, before a server is started
    reporter.line("starting Prefect ...")
    stop_orphan_servers()
    start_guard()
    with storing("The run was stopped", workspace.root):
        server = start_run_server(workspace, reporter.line)
        with uncollected():
            make_runtime(config.runtime, reporter)
            from flows.label import label
            from flows.settling import settle_flow_runs

            if not gc.get_freeze_count():  # of a process that runs more than once, only what was imported
                gc.freeze()  # nothing of all this is freed before the end: the collector need not look for cycles in it
                atexit.register(gc.unfreeze)
        unsettled = [run.flow_run_id for run in list_runs(workspace) if run.state == "interrupted" and run.flow_run_id]
        with talking_to(server), reporting(reporter):
            settle_flow_runs(unsettled[:_MOST_SETTLED])
            return str(label(str(request.config), str(workspace.root), request.settings, request.until, request.force))
