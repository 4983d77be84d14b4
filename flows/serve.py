"""`fractal serve`: run a configuration on a schedule, for as long as this process lives."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from flows.environment import prepare_prefect
from flows.orphans import start_guard, stop_orphan_servers
from flows.server import Server, address_of, local_server
from flows.stopping import stop_requests
from fractal_core.config_loading import load_config
from fractal_core.console import Output
from fractal_core.errors import UsageError
from fractal_core.store.canonical import canonical_json, digest
from fractal_core.store.failures import check_writable
from fractal_core.store.services import Service, serving
from fractal_core.store.workspace import Workspace, open_workspace

# From a signal to the end by force; what is left then is ended by the guard.
_SECONDS_TO_END = 4.5


@dataclass(frozen=True)
class ServeRequest:
    """What to run, when, and what to do with a tick that comes due while this configuration is being run."""

    config: Path
    workspace: Path
    cron: str | None = None
    interval: float | None = None
    settings: tuple[str, ...] = ()
    overlap: Literal["skip", "wait"] = "skip"
    debug: bool = False


def serve(request: ServeRequest, output: Output) -> None:
    """Serve a schedule until a signal to end, and leave the process with exit code 0.

    There is a Prefect server (one of our own, on loopback, unless PREFECT_API_URL names another), a deployment, and a
    process of its own for each run.

    Raises:
        UsageError: if the configuration or the schedule is none.
        LockHeldError: if another process serves this configuration.
        FractalError: if the server does not start, or ends.
    """
    if (request.cron is None) == (request.interval is None):
        raise UsageError('Say when to run, in one way: --cron "0 2 * * *" (every night at two) or --interval 600.')
    load_config(request.config, request.settings)
    workspace = open_workspace(request.workspace)
    check_writable(workspace)
    key = _key(request, workspace)
    doing = f"serving {request.config}"
    with stop_requests(_SECONDS_TO_END) as stop, serving(workspace, key, doing=doing) as announce:
        # What it has to say goes to a file.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if request.debug else "WARNING")
        prepare_prefect(workspace.prefect)
        stop_orphan_servers()
        start_guard()
        with _server(workspace, output) as server, _quiet(workspace, key, debug=request.debug) as screen:
            from flows.runner import Job, run_job  # imports Prefect, while the server starts
            from flows.schedule import make_timetable

            timetable = make_timetable(request.cron, request.interval)
            if server is not None and not server.wait_until_ready(stop.is_set):
                return
            url = server.url if server else address_of(os.environ["PREFECT_API_URL"])
            tell = _Teller(output, screen)

            def served() -> None:
                announce(_service(request, url, str(timetable)))
                tell(
                    {"event": "serving", "config": str(request.config), "when": str(timetable), "url": url},
                    f"serving {request.config}: {timetable}, overlap {request.overlap}; Prefect UI {url}; Ctrl-C ends "
                    "it",
                )

            job = Job(f"{request.config.stem}-{key[:8]}", timetable, _parameters(request, workspace), request.overlap)
            run_job(job, workspace, stop, tell, served=served, check=server.check if server else lambda: None)
            tell({"event": "stopped"}, "stopped; finished stages are kept")
    # What of Prefect is still awake would wait for the server, which has just been ended.
    sys.stdout.flush()
    os._exit(0)


class _Teller:
    """Tells events, as JSON values on a line each or in words, whatever else is redirected."""

    def __init__(self, output: Output, screen: Console) -> None:
        self._as_json = output.as_json
        self._screen = screen

    def __call__(self, event: dict[str, Any], words: str) -> None:
        text = canonical_json(event).decode() if self._as_json else words
        self._screen.print(text, markup=False, highlight=False, soft_wrap=True)


def _key(request: ServeRequest, workspace: Workspace) -> str:
    """Name what is served: the same on a shared Prefect server only if it is the same there, too."""
    who = [socket.gethostname(), str(workspace.root), str(request.config.resolve()), *request.settings]
    return digest(canonical_json(who))[:16]


def _parameters(request: ServeRequest, workspace: Workspace) -> dict[str, Any]:
    return {
        "config_path": str(request.config.resolve()),
        "workspace": str(workspace.root),
        "settings": list(request.settings),
        "overlap": request.overlap,
    }


def _service(request: ServeRequest, url: str, when: str) -> Service:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    config = str(request.config.resolve())
    return Service("schedule", url, os.getpid(), socket.gethostname(), since, config, when, request.overlap)


@contextmanager
def _server(workspace: Workspace, output: Output) -> Iterator[Server | None]:
    """Start a server, unless the user names one; Prefect, which must not be imported yet, is told its address."""
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    say = output.reporter().line
    say("starting Prefect ...")
    with local_server(workspace, schedules=True, say=say) as server:
        os.environ["PREFECT_API_URL"] = server.api
        yield server


@contextmanager
def _quiet(workspace: Workspace, key: str, *, debug: bool) -> Iterator[Console]:
    """Send what Prefect and the runs' processes print to a log file; yield a console for what is ours to say."""
    screen = Console(file=sys.stdout)
    if debug:
        yield screen
        return
    path = workspace.prefect / f"serve-{key}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        yield screen
