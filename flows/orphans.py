"""What a killed run leaves in Prefect: a flow run that stays RUNNING, and a temporary server that nobody stops."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from flows.environment import PARENT

_PROCESSES = Path("/proc")


def orphan_servers() -> list[int]:
    """Return pids of temporary Prefect servers of fractal runs whose process is dead (found on Linux only)."""
    return [pid for pid, parent in _temporary_servers() if not (_PROCESSES / str(parent)).exists()]


def stop_orphan_servers() -> list[int]:
    """Ask every orphaned server to stop and return their pids."""
    return _stop(orphan_servers())


def stop_servers_of(process: int) -> list[int]:
    """Ask the temporary servers that a process started to stop and return their pids."""
    return _stop([pid for pid, parent in _temporary_servers() if parent == process])


def _stop(pids: list[int]) -> list[int]:
    stopped = []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
            stopped.append(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return stopped


def settle_flow_runs(flow_run_ids: list[str]) -> None:
    """Mark flow runs of dead processes as crashed, so that the UI does not show them as running for ever."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        for flow_run_id in flow_run_ids:
            try:
                state = client.read_flow_run(UUID(flow_run_id)).state
                if state is not None and not state.is_final():
                    client.set_flow_run_state(UUID(flow_run_id), Crashed(message="its process was killed"), force=True)
            except ObjectNotFound:
                continue


def _temporary_servers() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent) of temporary servers; other users' processes cannot be read and are passed over."""
    for entry in _PROCESSES.glob("[0-9]*"):
        try:
            variables = dict(
                item.split("=", 1)
                for item in (entry / "environ").read_text(errors="replace").split("\0")
                if "=" in item
            )
            command = (entry / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if "uvicorn" in command and "PREFECT__SERVER_EPHEMERAL" in variables and variables.get(PARENT, "").isdigit():
            yield int(entry.name), int(variables[PARENT])
