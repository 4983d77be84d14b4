"""The `fractal` program from its first moment: Ctrl-C is answered while the command line is still being imported.

This module imports next to nothing, so that little time passes before `main` is called.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = "Interrupted; what was finished is kept, run again to go on."
EXIT_CODE = 128 + signal.SIGINT


def main() -> None:
    """Run the command line; until a command says otherwise Ctrl-C ends it at once, with one sentence.

    An exception would not do: who imports a module may take it for a fault of that module.
    """
    # Started to ignore it (nohup, a job in the background), the program goes on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    ended_well: list[bool] = []
    atexit.register(_end_at_once, ended_well)  # what is registered first is called last
    from fractal_core.cli import main as run_command

    try:
        run_command()
        ended_well.append(True)
    except SystemExit as left:
        if not left.code:
            ended_well.append(True)
        raise


def _end_at_once(ended_well: list[bool]) -> None:
    """Leave without taking apart what was imported, which takes more than a second after a run.

    Only after success: an error may still hold what has to be tidied up.
    """
    if ended_well:
        with suppress(OSError):  # the interpreter has an answer to that
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def _leave(number: int, frame: FrameType | None) -> None:
    line = json.dumps({"error": INTERRUPTED}) if "--json" in sys.argv else f"error: {INTERRUPTED}"
    try:
        os.write(2, f"\n{line}\n".encode())
    finally:
        os._exit(EXIT_CODE)
