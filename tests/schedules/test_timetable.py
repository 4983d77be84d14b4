"""When a schedule fires, that Prefect is told so, and what was missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from flows.runner import Job, make_deployment
from flows.schedule import Backlog, Timetable, make_timetable, why_at_once
from fractal_core.errors import UsageError

VIENNA = Timetable(cron="0 2 * * *", zone="Europe/Vienna")
NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)


def _deployment(timetable):
    return asyncio.run(make_deployment(Job("answers-1234", timetable, {"config_path": "a.toml"}, "skip")))


def test_cron_line_and_zone_are_those_of_the_deployment():
    """The deployment fires by the line as it was written, in the time zone of the machine, and runs the tick."""
    deployment = _deployment(VIENNA)
    (schedule,) = deployment.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 2 * * *", "Europe/Vienna")
    assert deployment.entrypoint == "flows.tick.label_on_schedule"
    assert deployment.parameters == {"config_path": "a.toml"}
    assert deployment.concurrency_limit is None


def test_interval_is_that_of_the_deployment():
    """Seconds stay seconds."""
    (schedule,) = _deployment(Timetable(interval=90)).schedules
    assert schedule.schedule.interval == timedelta(seconds=90)


@pytest.mark.parametrize("line", ["", "0 2 * *", "61 * * * *", "every night", "H 2 * * *", "0 0 30 2 *"])
def test_a_line_that_is_no_cron_line_is_told(line):
    """The sentence repeats the line and shows one that is right."""
    with pytest.raises(UsageError, match="five fields") as error:
        make_timetable(line, None)
    assert repr(line) in str(error.value)


def test_next_time_follows_the_clock_through_a_change_to_summer_time():
    """Two o'clock in Vienna is 01:00 UTC, from 30 March 2026 on 00:00; on the 29th there is none, 01:00 is taken."""
    times = [NOON]
    for _ in range(3):
        times.append(VIENNA.next_after(times[-1]))
    assert times[1:] == [datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in ((28, 1), (29, 0), (30, 0))]
    assert Timetable(interval=60).next_after(NOON) == NOON + timedelta(minutes=1)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("timetable", "backlog", "at_once"),
    [
        (VIENNA, Backlog(), False),
        (VIENNA, Backlog(last=NOON - HOUR), False),
        (VIENNA, Backlog(last=NOON - 24 * HOUR), True),
        (VIENNA, Backlog(last=NOON - 240 * HOUR), True),
        (VIENNA, Backlog(last=NOON - HOUR, overdue=3), True),
        (VIENNA, Backlog(overdue=1), True),
        (Timetable(interval=60), Backlog(last=NOON - HOUR), True),
    ],
)
def test_one_run_makes_up_for_missed_ticks(timetable, backlog, at_once):
    """A run at once if a tick was due since the last one, however many; none if the schedule is new or on time."""
    why = why_at_once(timetable, backlog, NOON)
    assert (why is not None) is at_once
    if why:
        assert why.endswith("this run makes up for all that was missed")


def test_an_interval_begins_at_once():
    """Who asks for a run every hour does not wait an hour for the first."""
    assert why_at_once(Timetable(interval=3600), Backlog(), NOON) == "the first of its interval"
    assert why_at_once(Timetable(interval=3600), Backlog(last=NOON), NOON) == "the first of its interval"
    assert why_at_once(Timetable(interval=1), Backlog(overdue=1), NOON) == "the first of its interval"
