"""A Prefect server of our own: on loopback, with the workspace's database, for as long as a command needs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from fractal_core.errors import FractalError
from fractal_core.store.locks import lock
from fractal_core.store.workspace import Workspace

HOST = "127.0.0.1"

_USUAL_PORT = 4200
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True)
class Server:
    """A server that has been started: where its UI is, its process, and the file that it logs to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    _starting: ExitStack

    @property
    def api(self) -> str:
        """Address for PREFECT_API_URL."""
        return f"{self.url}/api"

    def check(self) -> None:
        """Raise FractalError if the server has ended."""
        if self.process.poll() is not None:
            raise FractalError(
                f"The Prefect server at {self.url} has ended (exit code {self.process.returncode}); {self.log} says "
                "why. Mend that and start again."
            )

    def wait_until_ready(self, stopped: Callable[[], bool]) -> bool:
        """Wait until the server answers; False if `stopped` says before that the user wants to leave.

        Raises:
            FractalError: if it does not come up; the message names its log.
        """
        seconds = int(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"])
        deadline = time.monotonic() + seconds
        while not stopped():
            self.check()
            if _answers(self.url):
                self._starting.close()
                return True
            if time.monotonic() > deadline:
                raise FractalError(
                    f"The Prefect server does not answer at {self.url} after {seconds} s; see {self.log}, or give it "
                    "longer with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS."
                )
            time.sleep(_POLL_SECONDS)
        return False


@contextmanager
def local_server(workspace: Workspace, *, schedules: bool, say: Callable[[str], None]) -> Iterator[Server]:
    """Start a server and end it with the context.

    It listens on the port PREFECT_SERVER_API_PORT (4200), or on a free one if that is taken.

    Args:
        workspace: whose Prefect database it uses, unless PREFECT_HOME says otherwise.
        schedules: whether it also makes runs of schedules; otherwise it only answers.
        say: hears whom we wait for, if another process is starting a server.
    """
    workspace.prefect.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"http://{HOST}:{port}"
    log = workspace.prefect / f"server-{port}.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with ExitStack() as starting:
        # Two servers that make one database at the same time fail.
        starting.enter_context(lock(workspace.locks / "prefect.lock", say, doing="starting Prefect"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                command if schedules else [*command, "--no-services"],
                env=_environment(url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: what we have to tell the server at the end must find it alive.
                start_new_session=True,
            )
        try:
            yield Server(url, process, log, starting)
        finally:
            _end(process)


def address_of(api: str) -> str:
    """Return where the pages of a Prefect server are, from its PREFECT_API_URL."""
    return os.environ.get("PREFECT_UI_URL") or api.rstrip("/").removesuffix("/api")


def _environment(url: str) -> dict[str, str]:
    host, port = url.removeprefix("http://").split(":")
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return environment | {
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": port,
        # Otherwise the pages ask port 4200, whichever port they came from.
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _free_port() -> int:
    """Return the usual port if nobody has it, else any that is free."""
    wanted = int(os.environ.get("PREFECT_SERVER_API_PORT", _USUAL_PORT))
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise FractalError(f"No port is free on {HOST} for the Prefect server; end a process that holds one.")


def _answers(url: str) -> bool:
    # Not urllib: a proxy that is set for the network would be asked for our own machine.
    host, port = url.removeprefix("http://").split(":")
    with suppress(OSError, HTTPException), closing(HTTPConnection(host, int(port), _PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server: politely, after a second by force, since open pages would hold it up."""
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
