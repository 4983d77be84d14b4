"""The flow that a schedule runs: what is new is labelled; what became of it is the state of the flow run, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_client
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Cancelled, Completed, Failed
from rich.console import Console

from flows.label import run_stages
from flows.launch import IfRunning, Request, run_or_reuse
from flows.overdue import cover_overdue
from fractal_core.config import RunConfig
from fractal_core.errors import FractalError
from fractal_core.progress import Reporter
from fractal_core.store.locks import LockHeldError
from fractal_core.store.runs import MEANWHILE, RunRecord, seconds_of
from fractal_core.store.workspace import Workspace

NOTHING_STALE = "Nothing is stale"
SKIPPED = "Skipped"


@flow(name="label-on-schedule", flow_run_name="label {config_path}", persist_result=False, validate_parameters=False)
def label_on_schedule(
    config_path: str, workspace: str = ".fractal", settings: tuple[str, ...] = (), overlap: IfRunning = "skip"
) -> State[Any]:
    """Run what is stale of a configuration, as `fractal run` does, and end in a state that says what was done.

    The states are Completed, Nothing is stale, Skipped (another process runs this configuration) and Failed. Ticks that
    came due before this one started and have not run are Covered: one run makes up for all of them.

    Args:
        config_path: TOML file.
        workspace: folder of the artefacts.
        settings: "section.key=value" overrides.
        overlap: while another process runs this configuration: skip this tick, or wait.
    """
    covered = _cover_overdue()
    request = Request(Path(config_path), Path(workspace), tuple(settings), if_running=overlap)
    try:
        _, record = run_or_reuse(request, Reporter("silent", Console(stderr=True)), _run_in_this_flow_run)
    except LockHeldError as held:
        return Cancelled(name=SKIPPED, message=str(held))
    except FractalError as error:
        return Failed(message=str(error))
    computed = any(not stage.reused for stage in record.stages)
    words = what_was_done(record) + (f"; makes up for {covered} more that had come due" if covered else "")
    return Completed(name=None if computed else NOTHING_STALE, message=words)


def what_was_done(record: RunRecord) -> str:
    """Say what was new, what ran, how many rows were computed in which time, and how many responses there are."""
    rows = {name: count for stage in record.stages for name, count in stage.rows_out.items()}
    have = f"{rows.get('responses', 0):,} responses, {rows.get('rejects', 0):,} rejects"
    ran = [stage for stage in record.stages if not stage.reused]
    if not ran:
        waited = {stage.reason for stage in record.stages if stage.reason.startswith(MEANWHILE)}
        return "; ".join([*sorted(waited), have])
    names = ", ".join(stage.stage for stage in ran)
    count = sum(stage.rows_computed for stage in ran)
    return f"{ran[0].reason}; ran {names}; {count:,} rows computed in {seconds_of(record) or 0:.1f} s; {have}"


def _run_in_this_flow_run(request: Request, workspace: Workspace, config: RunConfig, reporter: Reporter) -> str:
    return run_stages(workspace, config, reporter, config_path=str(request.config))


def _cover_overdue() -> int:
    """Cover the overdue ticks of the deployment that this is a run of, if it is one; return how many these were."""
    if deployment.id is None:
        return 0
    with get_client(sync_client=True) as client:
        return cover_overdue(client, UUID(deployment.id))
