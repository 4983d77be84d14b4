"""Prefect's settings for a run on one machine. To be called before prefect is imported: it reads them once."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_prefect(home: Path, *, debug: bool = False) -> None:
    """Set what the user has not set: a home in the workspace, no telemetry, patience at the start, a quiet console.

    Args:
        home: Prefect's home, if PREFECT_HOME is not set.
        debug: leave Prefect's log lines on the console.
    """
    defaults = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        # Threads that wait sleep instead of spinning: on a machine with other work that is several times faster.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if not debug:
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
