"""FAISS indices: which one is built, how good HNSW is, and what happens without FAISS."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fractal_core.errors import StoreError
from fractal_core.priors import index as module
from fractal_core.priors.index import build_index


def clustered(size: int, width: int = 32, seed: int = 0) -> np.ndarray:
    """Unit vectors around one centre for every twenty."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(size // 20, width))
    vectors = centres[random.integers(0, len(centres), size)] + 0.5 * random.normal(size=(size, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_auto_goes_by_size() -> None:
    """Up to the limit the index is exact and says nothing; above it is HNSW and reports its recall."""
    vectors = clustered(400)
    exact = build_index(vectors, "auto", device="cpu", flat_limit=400)
    approximate = build_index(vectors, "auto", device="cpu", flat_limit=399)
    assert (exact.exact, exact.summary) == (True, "")
    assert not approximate.exact
    assert "recall@10 of" in approximate.summary


def test_flat_is_exact() -> None:
    """Flat search agrees with sorting all inner products."""
    vectors = clustered(300)
    similarities, numbers = build_index(vectors, "flat", device="cpu").search(vectors[:25], 7)
    expected = vectors[:25].astype(np.float64) @ vectors.T
    np.testing.assert_array_equal(numbers, np.argsort(-expected, axis=1)[:, :7])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :7], atol=1e-6)


def test_hnsw_finds_nearly_all_and_reports_the_truth() -> None:
    """On clustered vectors HNSW finds 90 % of the ten nearest along the graph, and the reported recall is near that."""
    vectors = clustered(4000)
    index = build_index(vectors, "hnsw", device="cpu")
    found = index.search(vectors, 11)[1]
    products = vectors @ vectors.T
    np.fill_diagonal(products, -np.inf)
    truth = np.argsort(-products, axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), found.tolist(), strict=True)])
    reported = float(index.summary.split("recall@10 of ")[1].split(",")[0])
    assert recall >= 0.9
    assert abs(recall - reported) < 0.03


def test_hnsw_is_the_same_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two indices over the same vectors, which are taken part by part, return the same bytes."""
    monkeypatch.setattr(module, "VECTORS_AT_ONCE", 700)
    vectors, taken = clustered(3000), []
    first, second = (
        build_index(vectors, "hnsw", device="cpu", advance=taken.append).search(vectors, 5) for _ in range(2)
    )
    assert [part.tobytes() for part in first] == [part.tobytes() for part in second]
    assert taken == [700, 700, 700, 700, 200] * 2


def test_low_recall_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of few links misses neighbours where there is no structure, and it is said how to get exact ones."""
    vectors = np.random.default_rng(0).normal(size=(3000, 64))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert "flat" not in build_index(unit, "hnsw", device="cpu").summary
    monkeypatch.setattr(module, "LINKS", 2)
    monkeypatch.setattr(module, "CANDIDATES", module.CANDIDATES[:1])
    assert 'priors.index = "flat"' in build_index(unit, "hnsw", device="cpu").summary


def test_more_neighbours_are_searched_for_more_widely() -> None:
    """Recall is that of as many neighbours as are wanted, and as many candidates are followed as that takes."""
    vectors = np.random.default_rng(1).normal(size=(6000, 48))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    few, many = (build_index(unit, "hnsw", count, device="cpu") for count in (3, 64))
    assert list(few.figures) == ["recall@10"]
    assert list(many.figures) == ["recall@64"]
    assert many.figures["recall@64"] >= 0.93
    assert many.graph.hnsw.efSearch > few.graph.hnsw.efSearch


def test_equals_do_not_hide_what_is_missed() -> None:
    """Where a third of the vectors is zero, the others are found as well as without them."""
    vectors = np.random.default_rng(2).normal(size=(6000, 64))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    unit[::3] = 0.0
    rows = np.flatnonzero(np.arange(6000) % 3)[:800]
    index = build_index(unit, "hnsw", device="cpu")
    found = index.search(unit[rows], 11)[1]
    products = unit[rows] @ unit.T
    truth = np.argsort(-products, axis=1)[:, :11]
    hits = [len(set(a) & set(b)) - 1 for a, b in zip(truth.tolist(), found.tolist(), strict=True)]
    assert np.mean(hits) / 10 >= 0.93
    assert abs(np.mean(hits) / 10 - index.figures["recall@10"]) < 0.03


def test_nothing_is_measured_where_all_are_equal() -> None:
    """One text, or any number with one vector, have no neighbours that could be missed: no figure."""
    for vectors in (np.ones((1, 4), np.float32) / 2, np.ones((50, 4), np.float32) / 2):
        assert build_index(vectors, "hnsw", device="cpu").figures == {}


def test_without_faiss_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing FAISS is one sentence with both ways out."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(StoreError, match=r"install the extra cpu or gpu .* priors.neighbours = 0"):
        build_index(clustered(40), "auto", device="cpu")
