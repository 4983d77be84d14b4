"""`fractal ui`: Prefect's UI over the workspace's own database, on loopback."""

from __future__ import annotations

import os
import socket
import time
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

from flows.environment import prepare_prefect
from flows.orphans import start_guard, stop_orphan_servers
from flows.server import address_of, local_server
from flows.stopping import stop_requests
from fractal_core.console import Output
from fractal_core.store.failures import check_writable
from fractal_core.store.services import Service, list_services, serving
from fractal_core.store.workspace import open_workspace

_SECONDS_TO_END = 4.5
_POLL_SECONDS = 0.2


def show_ui(path: Path, output: Output, *, browser: bool, debug: bool) -> None:
    """Say where Prefect's UI is and open it; if nobody serves one for this workspace, serve it until a signal to end.

    Args:
        path: the workspace.
        output: hears the address.
        browser: open it, too.
        debug: leave Prefect's log lines on the console.

    Raises:
        StoreError: if there is no workspace.
        FractalError: if the server does not start, or ends.
    """
    workspace = open_workspace(path, create=False)
    there = os.environ.get("PREFECT_API_URL")
    if there:
        _show(output, address_of(there), "of the server that PREFECT_API_URL names", browser=browser)
        return
    for service in list_services(workspace):
        what = f"already served by process {service.pid} on {service.host} (since {service.since})"
        _show(output, service.url, what, browser=browser and service.host == socket.gethostname())
        return
    check_writable(workspace)
    with (
        stop_requests(_SECONDS_TO_END) as stop,
        serving(workspace, "ui", doing="serving the UI of this workspace") as announce,
    ):
        prepare_prefect(workspace.prefect, debug=debug)
        stop_orphan_servers()
        start_guard()
        reporter = output.reporter()
        reporter.line("starting Prefect ...")
        with local_server(workspace, schedules=False, say=reporter.line) as server:
            if not server.wait_until_ready(stop.is_set):
                return
            since = datetime.now(UTC).isoformat(timespec="seconds")
            announce(Service("ui", server.url, os.getpid(), socket.gethostname(), since))
            _show(output, server.url, "Ctrl-C ends it", browser=browser)
            while not stop.is_set():
                server.check()
                time.sleep(_POLL_SECONDS)


def _show(output: Output, url: str, what: str, *, browser: bool) -> None:
    output.say({"url": url}, f"Prefect UI: {url} ({what})")
    if browser and output.console.is_terminal:
        webbrowser.open(url)
