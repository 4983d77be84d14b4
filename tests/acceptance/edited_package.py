"""Runs by an edited copy of the package, a second each: one process imports all libraries, and forks one for each run.

Of the copy nothing is imported before the fork but what takes code apart, so what runs is the copy as it is then.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What is imported late is here too, or every run would import it.
LIBRARIES = ("duckdb", "faiss", "pyarrow.parquet", "pydantic", "rich.console", "safetensors.torch", "sentencex",
             "torch._dynamo", "transformers.models.bert.modeling_bert",
             "transformers.models.bert.tokenization_bert")  # fmt: skip


class EditedRuns:
    """A copy of the package to be edited, and the process that forks the runs by it."""

    def __init__(self, folder):
        """Copy the package into a folder, and start the process."""
        self._folder = folder
        self._process: subprocess.Popen | None = None
        shutil.copytree(ROOT / "fractal_core", folder / "fractal_core", ignore=shutil.ignore_patterns("__pycache__"))

    def path(self, module):
        """Return the file of a module of the copy."""
        return self._folder.joinpath(*module.split(".")).with_suffix(".py")

    def paths(self):
        """Return the files of all modules of the copy."""
        return sorted((self._folder / "fractal_core").rglob("*.py"))

    def run(self, folder):
        """Run the project in a folder by the copy; return the stages that were computed, in order, and why each."""
        self._start()
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["ran"] is not None, (self._folder / "log").read_text()
        return answer["ran"]

    def _start(self):
        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self._folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=(self._folder / "log").open("w"), text=True, env=environment,
            )  # fmt: skip

    def close(self):
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def _run(folder):
    from rich.console import Console

    from fractal_core.config_loading import load_config
    from fractal_core.labelling import LabellingRun
    from fractal_core.pipeline import stages_until
    from fractal_core.progress import Reporter
    from fractal_core.runtime import make_runtime
    from fractal_core.store.workspace import open_workspace

    config = load_config(folder / "fractal.toml")
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(folder / "ws"), config, runtime) as run:
        for stage in stages_until(None):
            run.execute(stage.name)
    return {record.stage: record.reason for record in run.record.stages if not record.reused}


def _child(folder, answer):
    try:
        ran = _run(Path(folder))
        others = sorted(name for name in sys.modules if name.split(".")[0] != "fractal_core")
        with os.fdopen(answer, "w") as stream:
            json.dump([ran, others], stream)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _prepare(package):
    """Import the libraries, and take the modules apart as they are: runs do so with the edited ones alone."""
    sys.path.insert(0, str(package))
    for name in LIBRARIES:
        importlib.import_module(name)
    code = importlib.import_module("fractal_core.store.code")
    assert Path(code.__file__).is_relative_to(package)
    for stage in ("text.reading", "text.segmentation", "encode.embedding", "priors.stage", "mil.train_stage",
                  "mil.pseudolabel_stage", "evaluation.stage"):  # fmt: skip
        code.code_digests(f"fractal_core.{stage}")
    # Forked processes share this memory as long as nobody writes to it: their collections of garbage leave it alone.
    gc.collect()
    gc.freeze()


def _serve(package):
    _prepare(package)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _child(line.rstrip("\n"), writing)
        os.close(writing)
        with os.fdopen(reading) as stream:
            said = stream.read()
        os.waitpid(child, 0)
        ran, others = json.loads(said) if said else (None, [])
        # What a run imports late is imported here, once; importing starts no threads, which would not survive a fork.
        for name in others:
            with suppress(Exception):
                importlib.import_module(name)
        print(json.dumps({"ran": ran}), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
