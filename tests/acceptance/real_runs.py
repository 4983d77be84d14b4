"""The command line in processes of its own, and the list of processes that work in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

CODE = "from fractal_core.start import main; main()"
# Trains for minutes, and nothing else takes long.
SLOW = ("--set", "train.epochs=10000", "--set", "train.learning_rate=1e-6")


def fractal(folder, *arguments, timeout=250):
    """Run the command line in a folder and return what it said."""
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


def start(folder, *arguments):
    """Start the command line in a folder, as the leader of its process group."""
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_until(is_so, seconds, process=None):
    """Wait until something is so; fail if it takes longer, or if the process ends before."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start_training(project):
    """Start a run and return it once it trains, which it will do for long."""
    process = start(project, "run", "fractal.toml", *SLOW)
    wait_until(lambda: "priors" in _recorded(project / ".fractal" / "runs"), 200, process)
    return process


def _recorded(folder):
    """Return the stages that the runs of a workspace have recorded as ended."""
    return [stage["stage"] for path in folder.glob("*.json") for stage in json.loads(path.read_bytes())["stages"]]


def processes_in(folder):
    """Return pid -> command of every living process whose working directory is the folder or in it."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = Path(os.readlink(entry / "cwd"))
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if place.is_relative_to(folder) and command:
            found[int(entry.name)] = command
    return found
