"""A run without Prefect in a process of its own: writes down which stages it computes, and can be held inside one.

Two files in the folder steer it: it makes NAME.inside when it is in the stage it is held in, and waits for NAME.go.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from forked import Forked

TESTS = Path(__file__).resolve().parents[1]


def spawn(folder, name="run", prefix=None, **options):
    """Start a run over the project in a folder; options are those of `main`.

    It is forked from a process that has imported everything, unless it is to be started by the command `prefix`, which
    may be empty.
    """
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    if prefix is None:
        return Forked(main, [str(folder), name, *words], folder=folder)
    return subprocess.Popen(
        [*prefix, sys.executable, __file__, str(folder), name, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip


def ran(folder):
    """Return the (run, stage) that were computed in a folder, in order."""
    path = folder / "ran.txt"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def main(words):
    """Run as the words of a command line say; print the summary, or the error as the command line does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--until")
    parser.add_argument("--hold-in")
    parser.add_argument("--set", dest="setting")
    parser.add_argument("--largest-file", type=int)
    options = parser.parse_args(words)
    if options.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    _run(options)


def _run(options):
    from rich.console import Console

    from fractal_core.config_loading import load_config
    from fractal_core.errors import FractalError
    from fractal_core.labelling import LabellingRun
    from fractal_core.pipeline import stages_until
    from fractal_core.progress import Reporter
    from fractal_core.runtime import make_runtime
    from fractal_core.store.stage import Stage
    from fractal_core.store.workspace import open_workspace
    from fractal_core.summary import print_summary, summarise

    load, parent = Stage.load, os.getppid()

    def watched(stage):
        body = load(stage)

        def compute(*arguments):
            with (options.folder / "ran.txt").open("a") as file:
                file.write(f"{options.name} {stage.name}\n")
            if stage.name == options.hold_in:
                (options.folder / f"{options.name}.inside").touch()
                # A test that failed has nobody left who could let this go on.
                while not (options.folder / f"{options.name}.go").exists() and os.getppid() == parent:
                    time.sleep(0.02)
            body(*arguments)

        return compute

    Stage.load = watched
    try:
        config = load_config(options.folder / "fractal.toml", [options.setting] if options.setting else [])
        workspace = open_workspace(options.workspace or options.folder / "ws")
        runtime = make_runtime(config.runtime, Reporter("lines", Console(stderr=True)))
        with LabellingRun(workspace, config, runtime) as run:
            for stage in stages_until(options.until):
                run.execute(stage.name)
    except FractalError as error:
        sys.exit(f"error: {error}")
    print_summary(summarise(workspace, run.record), Console(width=200))


if __name__ == "__main__":
    main(sys.argv[1:])
