"""Runs on a real Ray cluster of two worker processes: the same bytes as in one process, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from small_data import make_rows, write_project

from fractal_core.cluster.starting import connect
from fractal_core.config_loading import load_config
from fractal_core.encode import embedding
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace
from fractal_core.text import segmentation

RAY = ("runtime.runner=ray", "runtime.ray.workers=2")


@pytest.fixture(scope="module")
def cluster():
    """The cluster of two processes that all runs of this file use."""
    assert connect("", 2) == 2
    import ray

    yield ray
    ray.shutdown()


def run(folder, workspace, *settings, until=None):
    """Run the pipeline over a project without an orchestrator; return the finished run."""
    config = load_config(folder / "fractal.toml", settings)
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(folder / workspace), config, runtime) as labelling:
        for stage in stages_until(until):
            labelling.execute(stage.name)
    return labelling


def digests(labelling):
    """Return the SHA-256 of every table and file of a run."""
    return {
        f"{stage}/{entry.name}": entry.sha256
        for stage, artefact in labelling.artefacts.items()
        for entry in artefact.manifest.entries
    }


def notes(labelling, stage):
    """Return what a stage said to the user."""
    return labelling.artefacts[stage].manifest.notes


class Killer(threading.Thread):
    """Kills a worker process in the middle of a shard, the first time that one is seen there.

    Attributes:
        killed: its pid, once it is.
    """

    def __init__(self, workspace, kind):
        """Wait for shards of a kind in a workspace."""
        super().__init__(daemon=True)
        self.workspace, self.kind = workspace, kind
        self.killed: list[int] = []
        self.start()

    def run(self):
        started = time.monotonic()
        while not self.killed and time.monotonic() - started < 60:
            if any(self.workspace.glob(f"tmp/*-scratch/**/{self.kind}/begun-*")):
                self.kill_one()
            time.sleep(0.005)

    def kill_one(self):
        """Kill a process whose title says that it computes such a shard."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(f"ray::{self.kind}".encode()):
                    os.kill(int(entry.name), signal.SIGKILL)
                    self.killed.append(int(entry.name))
                    return


@pytest.fixture(scope="module")
def small_shards():
    """Many shards of little work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "SHARD_CHARACTERS", 4_000)
        patch.setattr(segmentation, "BATCH_ROWS", 16)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_encoder, small_shards):
    """A project of 60 responses, half of which are to be cut; queries and documents recur."""
    folder = tmp_path_factory.mktemp("cluster")
    rows = make_rows(60)
    for row in rows[::2]:
        del row["sentences"], row["sentence_labels"]
    write_project(folder, tiny_encoder, rows, epochs=2)
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The run in one process."""
    return run(folder, "alone")


def test_same_bytes_with_a_worker_killed(folder, alone, cluster, capfd):
    """A worker dies by SIGKILL in the middle of embed: its shard is computed again, nothing is there twice."""
    killer = Killer(folder / "dealt", "compare")
    dealt = run(folder, "dealt", *RAY)
    assert len(killer.killed) == 1
    assert not Path(f"/proc/{killer.killed[0]}").exists()
    assert digests(dealt) == digests(alone)
    assert "shards computed again, because the process that had them died: 1" in notes(dealt, "embed")
    assert [(record.stage, record.rows_in, record.rows_out, record.reused) for record in dealt.record.stages] == [
        (record.stage, record.rows_in, record.rows_out, record.reused) for record in alone.record.stages
    ]
    assert list((folder / "dealt" / "tmp").iterdir()) == []
    assert capfd.readouterr().out == ""


def test_the_runner_makes_nothing_stale(folder, alone, cluster):
    """What one process has computed is reused on a cluster, and the other way round row by row."""
    again = run(folder, "alone", *RAY)
    assert all(record.reused for record in again.record.stages)
