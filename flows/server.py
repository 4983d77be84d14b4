"""A Prefect server of our own: on loopback, with the workspace's database, for as long as a command needs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from platformdirs import user_cache_path

from flows.new_database import keep, place
from fractal_core.errors import FractalError
from fractal_core.store.locks import LockHeldError, lock
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
    _patience: float = _PATIENCE_SECONDS
    _new_database: bool = False

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
                if self._new_database:
                    keep(_home())
                self._starting.close()
                return True
            if time.monotonic() > deadline:
                raise FractalError(
                    f"The Prefect server does not answer at {self.url} after {seconds} s; see {self.log}, or give it "
                    "longer with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS."
                )
            time.sleep(_POLL_SECONDS)
        return False

    def end(self) -> None:
        """End the server, politely first, and by force what does not heed that."""
        self._starting.close()
        self.process.terminate()
        try:
            self.process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_server(
    workspace: Workspace,
    command: Sequence[str],
    url: str,
    say: Callable[[str], None],
    *,
    name: str,
    environment: Mapping[str, str],
    descriptors: Collection[int] = (),
    patience: float = _PATIENCE_SECONDS,
) -> Server:
    """Start a server; who calls this ends it. Until it answers nobody else starts one over this workspace.

    Args:
        workspace: whose Prefect database it uses, unless PREFECT_HOME says otherwise.
        command: starts it.
        url: where it will answer.
        say: hears whom we wait for, if another process is starting a server.
        name: of its log.
        environment: its environment.
        descriptors: open files that it inherits.
        patience: seconds it is given to end by itself.
    """
    workspace.prefect.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = workspace.prefect / f"server-{name}.log"
    with ExitStack() as starting:
        # Two servers that make one database at the same time fail.
        starting.enter_context(lock(workspace.locks / "prefect.lock", say, doing="starting Prefect"))
        new = place(_home())
        log.unlink(missing_ok=True)  # another server may still write to the old one
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                # Ctrl-C is for us: what we have to tell the server at the end must find it alive.
                start_new_session=True,
            )
        return Server(url, process, log, starting.pop_all(), patience, new)


@contextmanager
def local_server(workspace: Workspace, *, schedules: bool, say: Callable[[str], None]) -> Iterator[Server]:
    """Start a server and end it with the context.

    It listens on the port PREFECT_SERVER_API_PORT (4200), or on a free one if that is taken.

    Args:
        workspace: whose Prefect database it uses, unless PREFECT_HOME says otherwise.
        schedules: whether it also makes runs of schedules; otherwise it only answers.
        say: hears whom we wait for, if another process is starting a server.
    """
    with _free_port() as port:
        url = f"http://{HOST}:{port}"
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
        if not schedules:
            command.append("--no-services")
        server = start_server(workspace, command, url, say, name=str(port), environment=_environment(url))
        try:
            yield server
        finally:
            server.end()


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


def _home() -> Path:
    return Path(os.environ["PREFECT_HOME"]).expanduser()


@contextmanager
def _free_port() -> Iterator[int]:
    """Yield the usual port if nobody has it, else any that is free.

    A server listens seconds after it was started; until then a lock keeps others of this user from the usual port.
    """
    wanted = int(os.environ.get("PREFECT_SERVER_API_PORT", _USUAL_PORT))
    path = user_cache_path("fractal", appauthor=False) / f"port-{socket.gethostname()}-{wanted}.lock"
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(path, lambda text: None, wait=False))
        except LockHeldError:
            wanted = 0
        except OSError:
            pass  # without a folder to lock in, the usual port is tried all the same
        yield _bindable(wanted)


def _bindable(wanted: int) -> int:
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
