"""Prefect's runner: it asks the server for what is due, and runs each in a process of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from httpx import TransportError
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from flows.launch import IfRunning
from flows.schedule import Timetable, take_stock, why_at_once
from flows.tick import label_on_schedule
from flows.ticks import Ticks, tick_line
from fractal_core.errors import FractalError
from fractal_core.store.workspace import Workspace

Tell = Callable[[dict[str, Any], str], None]

_NO_ANSWER = (TransportError, PrefectHTTPStatusError)
_SECONDS_TO_STOP = 2.5
_STOP_POLL_SECONDS = 0.2
_QUERY_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """A deployment to be served: its name, when it runs, with what, and what a tick does while another one runs."""

    name: str
    timetable: Timetable
    parameters: dict[str, Any]
    overlap: IfRunning


class _Runner(Runner):
    """Prefect's runner, which leaves signals to us."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: who waits for the signal stops the runner."""


def run_job(
    job: Job,
    workspace: Workspace,
    stop: threading.Event,
    tell: Tell,
    *,
    served: Callable[[], None],
    check: Callable[[], None],
) -> None:
    """Serve a job until `stop` is set, telling what becomes of each tick.

    Args:
        job: what to serve.
        workspace: where its runs are recorded.
        stop: set when the user wants to leave; the run that goes on is then ended, and recorded as interrupted.
        tell: hears events, as JSON values and in words.
        served: called once the server has the job.
        check: raises FractalError if there is no use in going on.
    """
    try:
        asyncio.run(_serve(job, workspace, stop, tell, served, check))
    except _NO_ANSWER as error:
        raise FractalError(
            f"The Prefect server at {PREFECT_API_URL.value()} cannot be used ({_in_words(error)}); check that it runs, "
            "and that PREFECT_API_URL names it."
        ) from error


async def _serve(
    job: Job,
    workspace: Workspace,
    stop: threading.Event,
    tell: Tell,
    served: Callable[[], None],
    check: Callable[[], None],
) -> None:
    runner = _runner(job)
    async with get_client() as client:
        deployment = await runner.aadd_deployment(await make_deployment(job))
        # In a thread without an event loop: it waits for the server, and for Prefect's reading of cron lines.
        why = await asyncio.to_thread(_why_at_once, job.timetable, deployment)
        telling = asyncio.create_task(_tell_ticks(Ticks(workspace, deployment), client, tell))
        served()
        if why is not None:
            tell({"event": "at once", "why": why}, f"running at once: {why}")
            await client.create_flow_run_from_deployment(deployment, tags=["at once"])
        running = asyncio.create_task(runner.start())
        try:
            while not (stop.is_set() or running.done()):
                check()
                if telling.done():
                    telling.result()
                await asyncio.sleep(_STOP_POLL_SECONDS)
        finally:
            telling.cancel()
            await _end(runner, running)


def _why_at_once(timetable: Timetable, deployment: UUID) -> str | None:
    return why_at_once(timetable, take_stock(deployment), datetime.now(UTC))


async def _tell_ticks(ticks: Ticks, client: PrefectClient, tell: Tell) -> None:
    """Tell what becomes of each tick, for ever."""
    while True:
        with suppress(*_NO_ANSWER):  # the runner decides when to give up
            for tick in await ticks.ended(client):
                tell(tick, tick_line(tick))
        await asyncio.sleep(_QUERY_SECONDS)


async def make_deployment(job: Job) -> RunnerDeployment:
    """Return the deployment of a job; nothing is asked of a server."""
    return await label_on_schedule.ato_deployment(
        name=job.name,
        schedule=job.timetable.schedule(),
        parameters=job.parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=False,
    )


def _runner(job: Job) -> Runner:
    # One process computes. A second one finds that out and skips its tick, unless ticks are to wait: they then do so in
    # the server, where they cost nothing. Runs are taken when they are due, not before.
    limit = 2 if job.overlap == "skip" else 1
    return _Runner(name=job.name, query_seconds=_QUERY_SECONDS, prefetch_seconds=0, limit=limit)


async def _end(runner: Runner, running: asyncio.Task[None]) -> None:
    """Stop the runner and what it runs, or say why it has stopped by itself."""
    if running.done():
        error = running.exception()
        if error is not None:
            raise FractalError(
                f"The schedule cannot go on ({_in_words(error)}); mend that and start it again."
            ) from error
        return
    # A server that does not answer is told nothing; what runs is ended by the guard.
    with suppress(Exception):
        async with asyncio.timeout(_SECONDS_TO_STOP):
            await runner.astop()
            await running


def _in_words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]
