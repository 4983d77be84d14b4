"""When a schedule fires, in Prefect's terms and in words, and what is due when one is served again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.schedules import Cron, Interval, Schedule
from prefect.server.schemas.schedules import CronSchedule
from tzlocal import get_localzone_name

from flows.overdue import COVERED, cover_overdue
from flows.settling import settle_flow_runs
from fractal_core.errors import UsageError

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]


@dataclass(frozen=True)
class Timetable:
    """Either a cron line, in a time zone, or an interval in seconds."""

    cron: str | None = None
    interval: float | None = None
    zone: str = "UTC"

    def __str__(self) -> str:
        """Say when it fires."""
        return f"every {self.interval:g} s" if self.cron is None else f"cron {self.cron} ({self.zone})"

    def schedule(self) -> Schedule:
        """Return it as Prefect wants it."""
        if self.cron is None:
            return Interval(timedelta(seconds=self.interval or 0))
        return Cron(self.cron, timezone=self.zone)

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after `moment` (with a time zone) at which it fires."""
        if self.cron is None:
            return moment + timedelta(seconds=self.interval or 0)
        # In the hour after a change to summer time the first of them is the one before.
        found = asyncio.run(CronSchedule(cron=self.cron, timezone=self.zone).get_dates(2, start=moment))
        return next(date for date in found if date > moment)


def make_timetable(cron: str | None, interval: float | None) -> Timetable:
    """Return the timetable of a cron line, in the time zone of this machine, or of an interval in seconds.

    Raises:
        UsageError: if the cron line is none, or never fires.
    """
    timetable = Timetable(cron, interval, get_localzone_name() or "UTC")
    try:
        timetable.next_after(datetime.now(UTC))
        timetable.schedule()
    except ValueError as error:
        raise UsageError(
            f"--cron {cron!r} is no cron line that ever fires; it has five fields: minute, hour, day of the month, "
            'month, day of the week, for example "0 2 * * *" for every night at two.'
        ) from error
    return timetable


@dataclass(frozen=True)
class Backlog:
    """What there was of a deployment before it is served (again): its last tick that ran, and how many did not."""

    last: datetime | None = None
    overdue: int = 0


def take_stock(deployment: UUID) -> Backlog:
    """Settle what a killed process left of a deployment's runs, and return what was missed.

    Args:
        deployment: served by nobody, and registered anew: a tick of an earlier schedule, which would have the
            parameters of that one, is overdue by now or gone.
    """
    with get_client(sync_client=True) as client:
        under_way = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
        settle_flow_runs(
            [str(run.id) for run in client.read_flow_runs(flow_run_filter=_runs_of(deployment, under_way))]
        )
        ran = FlowRunFilterState(
            type=FlowRunFilterStateType(not_any_=[StateType.SCHEDULED]),
            name=FlowRunFilterStateName(not_any_=[COVERED]),
        )
        newest = client.read_flow_runs(
            flow_run_filter=_runs_of(deployment, ran), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1
        )
        return Backlog(newest[0].expected_start_time if newest else None, cover_overdue(client, deployment))


def why_at_once(timetable: Timetable, backlog: Backlog, now: datetime) -> str | None:
    """Say why one run is to be made as soon as the schedule is served; None if the first tick can be waited for."""
    is_new = timetable.cron is None and backlog.last is None
    missed = backlog.overdue or (backlog.last is not None and timetable.next_after(backlog.last) <= now)
    if is_new or not missed:
        return "the first of its interval" if timetable.cron is None else None
    since = f" since {backlog.last.astimezone():%Y-%m-%d %H:%M:%S}" if backlog.last else ""
    return f"nothing ran{since}, though it was due; this run makes up for all that was missed"


def _runs_of(deployment: UUID, state: FlowRunFilterState) -> FlowRunFilter:
    return FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]), state=state)
