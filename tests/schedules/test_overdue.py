"""Ticks that are due are covered, however many there are and however few the server lists at once."""

from __future__ import annotations

from uuid import uuid4

from prefect.client.schemas.objects import FlowRun

from flows.overdue import COVERED, cover_overdue


class _Server:
    """Lists three runs at once, of those that are still scheduled."""

    def __init__(self, runs):
        self.runs = runs
        self.covered = {}

    def read_flow_runs(self, *, flow_run_filter, offset=0):
        assert flow_run_filter.next_scheduled_start_time is not None
        scheduled = [run for run in self.runs if run.id not in self.covered]
        return scheduled[offset : offset + 3]

    def set_flow_run_state(self, run, state, *, force):
        assert force
        assert run not in self.covered
        self.covered[run] = state.name


def test_all_ticks_are_covered_and_nothing_else():
    """Eight ticks, in lists of three, and two runs that somebody asked for."""
    runs = [FlowRun(flow_id=uuid4(), auto_scheduled=number not in (0, 4)) for number in range(10)]
    server = _Server(runs)
    assert cover_overdue(server, uuid4()) == 8
    assert server.covered == {run.id: COVERED for run in runs if run.auto_scheduled}
