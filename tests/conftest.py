"""Shared fixtures: a two-stage pipeline that counts what runs, a tiny encoder, a small data set."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import string
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import hypothesis
import pyarrow as pa
import pytest
from pydantic import BaseModel
from small_data import make_rows, write_project

from fractal_core.store.materialize import materialize
from fractal_core.store.stage import Runtime, Stage
from fractal_core.store.workspace import open_workspace


class Params(BaseModel):
    """Parameters of the fake stages."""

    factor: int = 1


class Bench:
    """A workspace, two chained fake stages, and a list of what ran."""

    def __init__(self, root, monkeypatch):
        self.workspace = open_workspace(root / "ws")
        self.source = root / "input.txt"
        self.source.write_text("1 2 3")
        self.ran: list[str] = []
        self.factor = 1
        self.crash = False
        self.notes: list[str] = []
        self.runtime = Runtime("cpu", 1, _progress, self.notes.append)
        self.first = Stage(
            "first", "fractal_core.errors:FractalError", "Reads.", ("sentences",), lambda c: Params(),
            sources=lambda c: {"input": [self.source]},
        )  # fmt: skip
        self.second = Stage(
            "second", "fractal_core.errors:InputError", "Scales.", ("scores",), lambda c: Params(factor=self.factor),
            reads={"first.sentences": ("response_id", "sentence_index", "start")},
        )  # fmt: skip
        bodies = {"first": self._first, "second": self._second}
        monkeypatch.setattr(Stage, "load", lambda stage: bodies[stage.name])

    def _first(self, inputs, params, outputs, runtime):
        self.ran.append("first")
        numbers = [int(n) for n in inputs.sources("input")[0].read_text().split()]
        rows = len(numbers)
        outputs.write(
            "sentences",
            pa.table(
                {
                    "response_id": pa.array(["r"] * rows),
                    "sentence_index": pa.array(range(rows), pa.int32()),
                    "start": pa.array(numbers, pa.int32()),
                    "end": pa.array(numbers, pa.int32()),
                    "text": pa.array([f"text {len(self.ran)}"] * rows),
                    "gold": pa.nulls(rows, pa.float64()),
                }
            ),
        )
        if self.crash:
            raise RuntimeError("crash")

    def _second(self, inputs, params, outputs, runtime):
        self.ran.append("second")
        table = inputs.table("sentences")
        assert table.column_names == ["response_id", "sentence_index", "start"]
        value = [float(v.as_py() * params.factor) for v in table.column("start")]
        outputs.figure("largest", max(value))
        outputs.write(
            "scores",
            pa.table(
                {
                    "response_id": table.column("response_id"),
                    "sentence_index": table.column("sentence_index"),
                    "round": pa.array([0] * len(value), pa.int32()),
                    "probability": pa.array(value),
                    "spread": pa.array([0.0] * len(value)),
                    "grade_probabilities": pa.nulls(len(value), pa.list_(pa.float64())),
                }
            ),
        )

    def run(self, *, force=()):
        """Run both stages and return the outcomes."""
        config = SimpleNamespace()
        first = materialize(self.workspace, self.first, config, {}, self.runtime, force="first" in force)
        second = materialize(
            self.workspace, self.second, config, {"first": first.artefact}, self.runtime, force="second" in force
        )
        return first, second

    def what_ran(self, **options):
        """Run both stages and return the names of those whose bodies ran."""
        self.ran.clear()
        self.run(**options)
        return list(self.ran)


@contextmanager
def _progress(description: str, total: int) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(advance=lambda amount=1: None)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A fresh workspace with two stages."""
    return Bench(tmp_path, monkeypatch)


# Tests run beside each other on few cores; more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell has what it starts in the background ignore Ctrl-C, and so would do all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is about how fast something is on a machine that others keep busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure(config):
    """Give all test processes one cache folder of their own: what a run keeps there they share, not with the user."""
    os.environ["XDG_CACHE_HOME"] = str(config.rootpath / ".pytest_cache" / "cache-folder")


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that at the end no process has a long one while the others have none.

    First of all comes the one that labels the sample for all, so that no process waits for another to have done it.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_guides.py", item.path not in slow))


def pytest_collection_finish():
    """Let the collector of garbage not look again and again through what was imported, until the end."""
    gc.freeze()
    atexit.register(gc.unfreeze)


def make_encoder(folder, *, dimensions=32, layers=2):
    """Make a folder with a randomly initialised BERT and a vocabulary of letters: fast, and real code."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir()
    characters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=dimensions, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """The folder of an encoder of 32 dimensions and two layers."""
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def deep_encoder(tmp_path_factory):
    """One of four layers, which can learn what two cannot."""
    return make_encoder(tmp_path_factory.mktemp("encoder") / "deep", layers=4)


@pytest.fixture(scope="session")
def wide_encoder(tmp_path_factory):
    """The folder of an encoder as wide as the packaged one, so that matrix products are as large."""
    return make_encoder(tmp_path_factory.mktemp("encoder") / "wide", dimensions=384)


@pytest.fixture
def project(tmp_path, tiny_encoder):
    """A folder with 60 responses, a configuration that uses the tiny encoder, and a place for the workspace."""
    write_project(tmp_path, tiny_encoder, make_rows(60), epochs=10)
    return tmp_path
