"""Runs on a real Ray cluster of two worker processes: the same bytes as in one process, whoever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from glob import glob
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from small_data import make_rows, write_jsonl, write_project

from fractal_core.config import PriorsConfig, RuntimeConfig
from fractal_core.config_loading import load_config
from fractal_core.encode import embedding
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.priors import apart, neighbours
from fractal_core.priors.base import leading
from fractal_core.priors.correlation import response_correlation
from fractal_core.priors.index import build_index
from fractal_core.priors.lookup import find_neighbours
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences
from fractal_core.progress import Reporter
from fractal_core.results import find_run
from fractal_core.runtime import make_runtime
from fractal_core.scoring import incoming
from fractal_core.scoring.scorer import Scorer
from fractal_core.scoring.scoring import score_files
from fractal_core.store.workspace import open_workspace
from fractal_core.text import segmentation, spooling

FOLDER = ("input.path=rows", "input.max_reject_fraction=0.1")
RAY = (*FOLDER, "runtime.runner=ray", "runtime.ray.workers=2")


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

    def __init__(self, workspace, folder):
        """Wait for shards in a scratch folder of this name."""
        super().__init__(daemon=True)
        self.pattern = str(workspace / "tmp" / "*-scratch" / "**" / folder / "begun-*")
        self.killed: list[int] = []
        self.start()

    def run(self):
        started = time.monotonic()
        while not self.killed and time.monotonic() - started < 60:
            for begun in glob(self.pattern, recursive=True):
                with suppress(OSError, IndexError):
                    self.kill_over(Path(begun))
            time.sleep(0.002)

    def kill_over(self, begun):
        """Kill the process that has begun a shard, if it has not ended it; it is held while that is found out."""
        pid = int(begun.read_text().split()[0])
        if self.killed or begun.with_name(begun.name.replace("begun", "result")).exists():
            return
        os.kill(pid, signal.SIGSTOP)
        busy = begun.with_name(begun.name.replace("begun", "shard")).exists()
        if busy and not begun.with_name(begun.name.replace("begun", "result")).exists():
            self.killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def small_shards():
    """Many shards of little work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "SHARD_CHARACTERS", 4_000)
        patch.setattr(segmentation, "BATCH_ROWS", 16)
        patch.setattr(spooling, "SHARD_BYTES", 1)
        patch.setattr(neighbours, "BLOCK_ROWS", 100)
        patch.setattr(incoming, "BATCH_CHARACTERS", 2_000)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_encoder, small_shards):
    """60 responses in three files, half of which are to be cut; queries and documents recur; a bad row a file."""
    folder = tmp_path_factory.mktemp("cluster")
    rows = make_rows(60)
    for row in rows[::2]:
        del row["sentences"], row["sentence_labels"]
    write_project(folder, tiny_encoder, rows, epochs=2, training="")
    (folder / "rows").mkdir()
    for part in range(3):
        write_jsonl(folder / "rows" / f"{part}.jsonl", [*rows[part::3], {"id": f"bad-{part}"}])
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The run in one process."""
    return run(folder, "alone", *FOLDER)


@pytest.mark.slow
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


def test_static_vectors(folder, cluster):
    """Looked up on two processes, texts that recur in several places included."""
    settings = ("encoder.kind=static",)
    alone, dealt = (run(folder, name, *how, *settings, until="embed") for name, how in (("one", FOLDER), ("two", RAY)))
    assert digests(dealt) == digests(alone)


def test_what_is_known_is_not_computed_again(folder, alone, cluster):
    """New responses beside those of a run in one process: a cluster reuses the same rows and makes the same files."""
    more = make_rows(72)[60:]
    found = []
    for name, how in (("here", FOLDER), ("there", RAY)):
        shutil.copytree(folder / "alone", folder / name)
        shutil.copytree(folder / "rows", folder / f"rows-{name}")
        write_jsonl(folder / f"rows-{name}" / "more.jsonl", more)
        done = run(folder, name, *how, f"input.path=rows-{name}", "runtime.remember_mb=0", until="priors")
        found.append((digests(done), {each.stage: each.rows_computed for each in done.record.stages}))
    assert found[0] == found[1]
    assert [found[0][1][stage] for stage in ("read", "segment", "priors")] == [12, 48, 288]


@pytest.mark.slow
def test_an_encoder_is_trained_together(folder, alone, cluster):
    """Two processes share the batches of every step, one dies, both begin anew: the weights of a single one."""
    settings = ("train.scorer=finetune", "train.folds=2", "train.finetune.batch_responses=32")
    expected = run(folder, "alone", *FOLDER, *settings, until="train")
    killer = Killer(folder / "dealt", "train-0")
    dealt = run(folder, "dealt", *RAY, *settings, until="train")
    assert len(killer.killed) == 1
    assert digests(dealt) == digests(expected)
    assert "fine_tuning began anew in 2 processes, because one of them died" in notes(dealt, "train")


def scored(labelling, folder, *settings):
    """Score the input anew by the scorer of a run; return the file's bytes and what is said."""
    results = find_run(labelling.workspace, labelling.record.run_id, "pseudolabel")
    results = replace(results, config=load_config(folder / "fractal.toml", settings))
    output = folder / f"scores-{len(settings)}.parquet"
    files = sorted((folder / "rows").iterdir())
    said = score_files(results, files, output, Reporter("quiet", Console(stderr=True)))
    return output.read_bytes(), {name: said[name] for name in ("responses", "sentences", "rejected")}


def test_scoring_is_dealt_as_well(folder, alone, cluster):
    """`fractal score` writes the same file, batch by batch on other processes, and rejects the same rows."""
    assert scored(alone, folder, *RAY) == scored(alone, folder, *FOLDER)
    assert list((folder / "alone" / "tmp").iterdir()) == []


def test_single_responses_need_no_cluster(folder, alone):
    """A scorer of a run that was computed on a cluster is opened where that cannot be reached any more."""
    results = find_run(alone.workspace, alone.record.run_id, "pseudolabel")
    gone = load_config(folder / "fractal.toml", [*RAY, "runtime.ray.address=127.0.0.1:1"])
    assert len(Scorer(replace(results, config=gone))("The museum was built in 345. It is big.")) == 2


class Nothing:
    """Inputs of a stage that has not run before."""

    def earlier(self):
        """Return no result."""
        return []


class Folder:
    """Outputs that keep the one file of stage priors."""

    def __init__(self, path):
        """Take where it goes."""
        self.path, self.figures = path, {}

    def file(self, name):
        """Return where it goes."""
        assert name == "compared.parquet"
        return self.path

    def figure(self, name, value):
        """Keep a figure."""
        self.figures[name] = value


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_priors_of_many_sentences(cluster, tmp_path, monkeypatch, kind):
    """Correlations and neighbours of several shards and rounds are those of one process, to the bit."""
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(700, 16)).astype(np.float32)
    # Nearest to the sentences of the first response are its own, more than are proposed in the first rounds.
    vectors[:300] = vectors[0] + 0.1 * vectors[:300]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = np.r_[np.arange(300), chance.integers(300, 700, size=1_200)]
    _, first, number = np.unique(drawn, return_index=True, return_inverse=True)
    text = np.argsort(np.argsort(first))[number]
    response = np.r_[np.zeros(300, dtype=np.int64), np.sort(chance.integers(1, 120, size=1_200))]
    file = tmp_path / "vectors.npy"
    np.save(file, vectors)
    sentences = Sentences(np.load(file, mmap_mode="r"), text, response)
    monkeypatch.setattr(apart, "BLOCK_ROWS", 64)
    config = RuntimeConfig.model_validate({"runner": "ray", "ray": {"workers": 2}})
    runtime = make_runtime(config, Reporter("quiet", Console(stderr=True)))
    dealt = apart.Apart(sentences, file, runtime, lambda name: tmp_path / name)
    expected = response_correlation(sentences, 64)
    assert dealt.correlation().tobytes() == expected.tobytes()
    led = leading(sentences)
    assert 0 < len(sentences.text) - len(led.text) < 200
    for some in (sentences, led):
        index = build_index(some.vectors, kind, device="cpu")
        here = nearest_sentences(some, 5, index)
        before = len(list(tmp_path.glob("neighbours-*")))
        there = nearest_sentences(some, 5, index, settle=dealt.settling(some, 5, index))
        assert [each.tobytes() for each in there] == [each.tobytes() for each in here]
        assert len(list(tmp_path.glob("neighbours-*"))) > before + 1
    ids = pa.array([f"{number}#0" for number in range(len(text))], pa.large_string())
    params = PriorsConfig(neighbours=5, index=kind)
    alone, together = (
        find_neighbours(sentences, ids, params, Nothing(), Folder(tmp_path / name), runtime, by)
        for name, by in (("alone.parquet", None), ("together.parquet", dealt))
    )
    assert [each.tobytes() for each in together] == [each.tobytes() for each in alone]
    assert (tmp_path / "together.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
