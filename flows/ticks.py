"""One line for every tick of a schedule: what Prefect's server says became of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.overdue import COVERED
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import Workspace


class Ticks:
    """The ticks of a deployment that have ended since this was made, each told once."""

    def __init__(self, workspace: Workspace, deployment: UUID) -> None:
        """Watch a deployment whose runs are recorded in a workspace."""
        self._workspace = workspace
        self._filter = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            end_time=FlowRunFilterEndTime(after_=datetime.now(UTC)),
        )
        self._told: set[UUID] = set()

    async def ended(self, client: PrefectClient) -> list[dict[str, Any]]:
        """Return the ticks that have ended since the last call, oldest first, as JSON values."""
        runs = await client.read_flow_runs(flow_run_filter=self._filter, sort=FlowRunSort.END_TIME_DESC, limit=50)
        new = [run for run in reversed(runs) if run.id not in self._told]
        self._told = {run.id for run in runs}
        # The tick that covers others says how many they are.
        return list(self._describe([run for run in new if run.state is None or run.state.name != COVERED]))

    def _describe(self, runs: list[FlowRun]) -> Iterator[dict[str, Any]]:
        records = {run.flow_run_id: run for run in list_runs(self._workspace)} if runs else {}
        for run in runs:
            record = records.get(str(run.id))
            yield {
                "event": "tick",
                "time": (run.end_time or datetime.now(UTC)).isoformat(timespec="seconds"),
                "state": run.state.name if run.state else None,
                "message": run.state.message if run.state else None,
                "run_id": record.run_id if record else None,
                "stages": [stage.stage for stage in record.stages if not stage.reused] if record else [],
                "rows_computed": sum(stage.rows_computed for stage in record.stages) if record else 0,
                "flow_run_id": str(run.id),
            }


def tick_line(tick: dict[str, Any]) -> str:
    """Return a tick in words: local time, state, what was done."""
    moment = datetime.fromisoformat(tick["time"]).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}  {tick['state']}: {tick['message']}"
