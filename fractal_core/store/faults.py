"""Fault points: where a test can have this process killed. Without FRACTAL_FAULT in the environment they do nothing."""

from __future__ import annotations

import os
import signal
from fnmatch import fnmatchcase

FAULT = "FRACTAL_FAULT"


def reach(where: str, point: str) -> None:
    """Die by SIGKILL, as by power cut or out of memory, if FRACTAL_FAULT names this place.

    Args:
        where: the stage, the name of the file that is written, the folder that is tried, or "gc".
        point: what was just done or comes next. Stages have `start`, `written`, `before-rename`, `after-rename`,
            `before-manifest` and `after-manifest`; every file of the store has `temporary`, a folder `probe`; a
            collection has `moved`, and before that the name of each file or folder it moves.

    FRACTAL_FAULT is "where:point", with * and ? as in file names: "train:written", "train-*.json:temporary".
    """
    wanted = os.environ.get(FAULT)
    if wanted is not None and fnmatchcase(f"{where}:{point}", wanted):
        os.kill(os.getpid(), signal.SIGKILL)
