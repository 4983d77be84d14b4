"""A schedule that is served again."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from flows import runner
from flows.runner import Job, run_job
from flows.schedule import Backlog, Timetable

YEARLY = Timetable(cron="0 0 1 1 *")


class _Prefect:
    """Takes a deployment, and runs until it is stopped."""

    def __init__(self):
        self.asked = 0

    async def aadd_deployment(self, _deployment):
        return uuid4()

    async def start(self):
        await asyncio.Event().wait()

    async def astop(self):
        pass

    async def create_flow_run_from_deployment(self, _deployment, tags):
        assert tags == ["at once"]
        self.asked += 1

    async def read_flow_runs(self, **_):
        return []


@pytest.mark.parametrize(
    ("backlog", "at_once"),
    [
        (Backlog(), False),
        (Backlog(last=datetime.now(UTC)), False),
        (Backlog(last=datetime.now(UTC) - timedelta(days=800)), True),
        (Backlog(last=datetime.now(UTC), overdue=1), True),
    ],
    ids=["new", "on time", "long ago", "overdue"],
)
def test_a_cron_schedule_is_served(monkeypatch, tmp_path, backlog, at_once):
    """Whatever there was before, it is served, with a run at once only if one was missed."""
    prefect = _Prefect()

    @asynccontextmanager
    async def client():
        yield prefect

    monkeypatch.setattr(runner, "_runner", lambda job: prefect)
    monkeypatch.setattr(runner, "get_client", client)
    monkeypatch.setattr(runner, "take_stock", lambda deployment: backlog)
    stop, events = threading.Event(), []
    job = Job("yearly", YEARLY, {"config_path": "a.toml"}, "skip")
    run_job(
        job,
        tmp_path,
        stop,
        lambda event, words: events.append(event["event"]),
        served=lambda: events.append("served"),
        check=stop.set,
    )
    assert events == ["served", *["at once"] * at_once]
    assert prefect.asked == at_once
