"""Ticks whose time has passed: one run makes up for all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

COVERED = "Covered"


def cover_overdue(client: SyncPrefectClient, deployment: UUID) -> int:
    """Settle the ticks of a deployment that are due and not under way as covered by a run that starts now.

    Runs that somebody asked for, and no schedule made, are left alone.

    Returns:
        How many these were.
    """
    now = datetime.now(UTC)
    overdue = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=now),
    )
    found: list[FlowRun] = []
    # The server gives as many at once as it was told to.
    while page := client.read_flow_runs(flow_run_filter=overdue, offset=len(found)):
        found += page
    runs = [run for run in found if run.auto_scheduled]
    for run in runs:
        words = f"the run that started at {now:%Y-%m-%d %H:%M:%S} UTC makes up for it"
        client.set_flow_run_state(run.id, Cancelled(name=COVERED, message=words), force=True)
    return len(runs)
