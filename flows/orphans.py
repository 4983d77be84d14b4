"""No process outlives its run: a guard beside every run ends what the run started once it is gone, however it went.

A run that is killed cannot stop Prefect's temporary server itself, nor a Ray cluster. The guard is this file run by
itself, so it imports nothing but the standard library. Processes are found by a variable in their environment, and, for
some write over it, by whose children they were while the run lived (on Linux only).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

PARENT = "FRACTAL_PARENT"

_PROCESSES = Path("/proc")
_POLL_SECONDS = 0.2
# Where the newest pid is not told, it looks so often; where thousands of processes run, no oftener than that share.
_LOOK_SECONDS = 2.0
_SHARE_OF_TIME = 0.02
_PATIENCE_SECONDS = 2.0
_LAST_SECONDS = 30.0
_QUIET_POLLS = 3


def start_guard() -> None:
    """Mark this process as the parent of all it starts from now on, and start a guard that outlives it to end them.

    The guard has a session of its own, so that what is sent to the run's process group does not reach it.
    """
    environment = {name: value for name, value in os.environ.items() if name != PARENT}
    os.environ[PARENT] = str(os.getpid())
    subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid())],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def orphan_servers() -> list[int]:
    """Return pids of processes of runs whose own process is dead, should their guard have died as well."""
    return _children(lambda parent: not (_PROCESSES / str(parent)).exists())


def lasting_orphans() -> list[int]:
    """Return the orphans that no guard ends within some seconds: a run that ends leaves its own for a moment."""
    until = time.monotonic() + _PATIENCE_SECONDS + 1
    while (left := orphan_servers()) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return left


def stop_orphan_servers() -> list[int]:
    """Ask every orphan to stop and return their pids."""
    return _send(orphan_servers(), signal.SIGTERM)


def guard(parent: int) -> None:
    """Wait until the parent is gone, then end what it started: politely first, after two seconds by force."""
    seen: dict[int, str] = {}
    newest, looked, rested = "", 0.0, 0.0
    while os.getppid() == parent:
        born, now = _newest(), time.monotonic()
        if now >= rested and (born != newest or now >= looked + _LOOK_SECONDS):
            seen |= _descendants({parent}, _processes())
            newest, looked, rested = born, now, now + (time.monotonic() - now) / _SHARE_OF_TIME
        time.sleep(_POLL_SECONDS)
    gone = time.monotonic()
    quiet = 0
    while quiet < _QUIET_POLLS and time.monotonic() - gone < _LAST_SECONDS:
        processes = _processes()
        same = {pid for pid, (_, begun) in processes.items() if seen.get(pid) == begun}
        own = {*same, *_children(lambda owner: owner == parent)}
        # What these have started since the last look may have no mark any more, and soon no parent.
        left = _descendants(own, processes) | {pid: processes[pid][1] for pid in own & processes.keys()}
        seen |= left
        _send(sorted(left), signal.SIGTERM if time.monotonic() - gone < _PATIENCE_SECONDS else signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        time.sleep(_POLL_SECONDS)


def _descendants(parents: set[int], processes: dict[int, tuple[int, str]]) -> dict[int, str]:
    """Return pid -> time of start of what processes have started, and what that has, but for the guard itself."""
    found, waiting = parents | {os.getpid()}, list(parents)
    while waiting:
        above = waiting.pop()
        below = [pid for pid, (owner, _) in processes.items() if owner == above and pid not in found]
        found.update(below)
        waiting.extend(below)
    return {pid: processes[pid][1] for pid in found - parents - {os.getpid()}}


def _newest() -> str:
    """Return the pid that was given out last, so that nobody looks through processes that are those of last time."""
    with suppress(OSError):
        return (_PROCESSES / "loadavg").read_text().split()[-1]
    return ""


def _processes() -> dict[int, tuple[int, str]]:
    """Return pid -> (pid of the process that it is a child of, time of start) of all that run."""
    found = {}
    for entry in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError):
            # The name of the program, in brackets, may have any characters.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(entry.name)] = int(fields[1]), fields[19]
    return found


def _children(of: Callable[[int], bool]) -> list[int]:
    return [pid for pid, parent in marked_processes() if of(parent)]


def marked_processes() -> Iterator[tuple[int, int]]:
    """Yield (pid, run's pid) of what runs started.

    Other users' processes cannot be read and are passed over, and so are those of containers, whose runs have pids that
    mean something else here.
    """
    mark = f"{PARENT}=".encode()
    here = _numbering(_PROCESSES / "self")
    for entry in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError, ValueError):
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(mark) and _numbering(entry) == here:
                    yield int(entry.name), int(variable[len(mark) :])


def _numbering(entry: Path) -> str:
    """Return the name of the namespace in which a process has its pid."""
    with suppress(OSError):
        return os.readlink(entry / "ns" / "pid")
    return ""


def _send(pids: list[int], number: signal.Signals) -> list[int]:
    reached = []
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            reached.append(pid)
    return reached


if __name__ == "__main__":
    guard(int(sys.argv[1]))
