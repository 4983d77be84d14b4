"""The same run on a GPU and on the CPU, where there is a GPU: nearly the same vectors, neighbours and scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from elsewhere import ELSEWHERE, second_device
from small_data import make_rows, write_project

from fractal_core.encode.encoder import Encoder
from fractal_core.encode.models import default_model_folder
from fractal_core.mil import training
from fractal_core.mil.moving import moved
from fractal_core.priors.index import build_index
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences
from fractal_core.runtime import make_runtime

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def test_stages_train_where_they_are_told(runner, monkeypatch):
    """Everything is moved to the device of the runtime and back: of a second device made of the CPU, the same bytes."""
    few = ("train.epochs=1", "train.repeats=1", "train.pooling=auto")
    assert runner.run(*few, until="pseudolabel")[-2:] == ["train", "pseudolabel"]
    expected, places = runner.bytes(), []

    def noted(value, device):
        places.append(device)
        return moved(value, device)

    monkeypatch.setattr(training, "moved", noted)
    elsewhere = lambda *given: replace(make_runtime(*given), device=ELSEWHERE)  # noqa: E731
    monkeypatch.setitem(type(runner).run.__globals__, "make_runtime", elsewhere)
    with second_device():
        assert runner.run(*few, until="pseudolabel", force=("train", "pseudolabel")) == ["train", "pseudolabel"]
    assert places == [ELSEWHERE, "cpu"] * 3  # two heads and a student
    assert runner.bytes() == expected


@needs_gpu
def test_vectors():
    """Cosines of 0.9999 and more, whatever the lengths."""
    texts = [" ".join(["The mill was built beside the river."] * (1 + i % 9)) + f" {i}" for i in range(300)]
    here, there = (Encoder(default_model_folder(), 256, device).read(texts) for device in ("cpu", "cuda"))
    assert min(ours.pooled @ theirs.pooled for ours, theirs in zip(there, here, strict=True)) >= 0.9999


@needs_gpu
def test_neighbours():
    """Those of the flat index on the CPU; random vectors have no ties."""
    vectors = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(len(vectors))
    found = [
        nearest_sentences(Sentences(vectors, rows, rows // 4), 5, build_index(vectors, "flat", device=device))
        for device in ("cpu", "cuda")
    ]
    assert (found[0][0] == found[1][0]).mean() > 0.999
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-3)


@needs_gpu
@pytest.mark.parametrize("scorer", ["evidence", "concat"])
def test_scores(tmp_path, runner_in, tiny_encoder, scorer):
    """Of a whole run: they rank sentences alike, and differ by less than 0.05 on the mean."""
    found = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        write_project(folder, tiny_encoder, make_rows(60), epochs=5, training="")
        runner = runner_in(folder)
        runner.run(f"runtime.device={device}", f"train.scorer={scorer}")
        found.append(runner.table("train", "scores").column("probability").to_numpy())
    assert np.corrcoef(*found)[0, 1] > 0.99
    assert np.abs(found[0] - found[1]).mean() < 0.05
