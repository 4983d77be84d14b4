"""A measurement in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """What a process said, in JSON; its wall time in seconds; its peak resident memory in GB."""

    said: Any
    seconds: float
    peak: float


def measure(command: Sequence[str]) -> Measured:
    """Run a command whose standard output is JSON.

    Raises:
        SystemExit: if it fails, with what it wrote to standard error.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        # wait4 and not getrusage, which has the maximum over all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {errors.read().decode()}")
        return Measured(json.loads(output.read()), seconds, usage.ru_maxrss / 1e6)
