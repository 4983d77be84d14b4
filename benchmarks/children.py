"""A measurement in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_LOOK_SECONDS = 0.25


class Measured(NamedTuple):
    """What a process said, and what it cost.

    Attributes:
        said: its standard output, as JSON unless it is read otherwise.
        seconds: wall time.
        peak: resident memory of the largest process, in GB.
        cpu: seconds of CPU time, of the process and those it waited for.
        together: most resident memory of the process and all that it started, in GB; pages that several share count
            several times.
    """

    said: Any
    seconds: float
    peak: float
    cpu: float
    together: float


def measure(command: Sequence[str], read: Callable[[bytes], Any] = json.loads) -> Measured:
    """Run a command.

    Args:
        command: what to run.
        read: makes of its standard output what it said.

    Raises:
        SystemExit: if it fails, with what it wrote to standard error.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        family = _Family(process.pid)
        # wait4 and not getrusage, which has the maximum over all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        family.ended.set()
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {errors.read().decode()}")
        peak = usage.ru_maxrss / 1e6
        together = max(peak, family.most / 1e9)
        return Measured(read(output.read()), seconds, peak, usage.ru_utime + usage.ru_stime, together)


class _Family(threading.Thread):
    """Looks again and again how much memory a process and its descendants have, until it has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(_LOOK_SECONDS):
            self.most = max(self.most, _resident(self.pid))


def _resident(pid: int) -> int:
    """Return the resident bytes of a process and its descendants (Linux; 0 elsewhere)."""
    parents, sizes = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # It has ended meanwhile.
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(path.name)], sizes[int(path.name)] = int(fields[1]), int(fields[21])
    mine, more = {pid}, {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - mine
        mine |= more
    return sum(sizes.get(each, 0) for each in mine) * os.sysconf("SC_PAGE_SIZE")
