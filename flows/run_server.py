"""Prefect's server for the runs of this process: it starts while what they need is imported, and ends at the exit."""

from __future__ import annotations

import atexit
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows import answering
from flows.server import HOST, Server, start_server
from fractal_core.store.workspace import Workspace

# Until it has written down what the run has told it last.
_SECONDS_TO_END = 5.0
# A run uses none of Prefect's blocks; the server of the pages registers them, unless a note says that this was done.
_WITHOUT_BLOCKS = {
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}


def start_run_server(workspace: Workspace, say: Callable[[str], None]) -> Server | None:
    """Start a server that ends after all else that this process does; none if PREFECT_API_URL names one.

    Prefect need not be imported yet, but its settings must be prepared.

    Args:
        workspace: whose Prefect database it uses, unless PREFECT_HOME says otherwise.
        say: hears whom we wait for, if another process is starting a server.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    with socket.socket() as bound:  # by us, so that nobody else takes the port meanwhile
        bound.bind((HOST, 0))
        server = start_server(
            workspace,
            [sys.executable, "-P", answering.__file__, str(bound.fileno())],
            f"http://{HOST}:{bound.getsockname()[1]}",
            say,
            name="run",
            environment=os.environ | _WITHOUT_BLOCKS,
            descriptors=[bound.fileno()],
            patience=_SECONDS_TO_END,
        )
    atexit.register(server.end)
    return server


@contextmanager
def talking_to(server: Server | None) -> Iterator[None]:
    """While the context lasts Prefect talks to a server, once it is ready, unless settings in a file name another.

    Raises:
        FractalError: if the server does not come up.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_EPHEMERAL_ENABLED,
        temporary_settings,
    )

    if server is None or PREFECT_API_URL.value() or not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        if server is not None:
            server.end()
        yield
        return
    server.wait_until_ready(lambda: False)
    os.environ["PREFECT_API_URL"] = server.api
    refresh_global_settings_context()
    # Nothing listens for heartbeats in a server that ends with the run, and their thread holds up the end of a flow.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
