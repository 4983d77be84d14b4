"""The benchmark of neighbours, small."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.neighbours import COUNT, compare, first, measure, report
from fractal_core.priors.sentences import Sentences


def test_recall_is_a_count() -> None:
    """It is the share of the true neighbours that the approximate index finds; the report has a row a size."""
    vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(500)
    every = vectors @ vectors.T
    every[rows[:, None] // 5 == rows // 5] = -np.inf
    true = np.argsort(-every, axis=1)[:, :COUNT]
    sentences = Sentences(vectors, rows, rows // 5)
    found = compare(sentences)
    approximate = measure(sentences, "hnsw")["rows"]
    hits = sum(len(set(a) & set(b)) for a, b in zip(true.tolist(), approximate.tolist(), strict=True))
    assert found["recall"] == pytest.approx(hits / (500 * COUNT))
    assert found["texts"] == 500
    part = first(sentences, 200)
    assert (len(part.vectors), len(part.text), len(part.response)) == (200, 200, 200)
    lines = report("command", [found]).splitlines()
    assert lines[-1].startswith("| 500 | 500 |")
    assert lines[-1].endswith(f"| {found['recall']:.3f} |")
