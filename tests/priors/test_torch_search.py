"""Search in tiles with PyTorch, against FAISS's flat index and against nothing but sorting."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.priors import index, torch_search
from fractal_core.priors.index import build_index
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences
from fractal_core.priors.torch_search import tiled_search


def unit_vectors(count: int, width: int = 24) -> np.ndarray:
    """Random vectors of length 1."""
    vectors = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("size", "queries", "count"), [(1, 3, 2), (50, 7, 50), (300, 40, 9), (300, 40, 400)])
def test_finds_what_sorting_finds(monkeypatch: pytest.MonkeyPatch, size: int, queries: int, count: int) -> None:
    """Whatever the tiles: the largest products in order, and nothing where there are no more vectors."""
    monkeypatch.setattr(torch_search, "QUERIES_AT_ONCE", 16)
    monkeypatch.setattr(torch_search, "VECTORS_AT_ONCE", 64)
    vectors, asked = unit_vectors(size), unit_vectors(queries + 1000)[:queries]
    products, numbers = tiled_search(vectors, "cpu")(asked, count)
    every = asked @ vectors.T
    order = np.argsort(-every, axis=1)[:, :count]
    np.testing.assert_array_equal(numbers[:, : order.shape[1]], order)
    np.testing.assert_allclose(products[:, : order.shape[1]], np.take_along_axis(every, order, axis=1), atol=1e-6)
    assert (numbers[:, size:] == -1).all()
    assert np.isneginf(products[:, size:]).all()


def test_neighbours_are_those_of_the_flat_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that FAISS cannot use is searched with PyTorch, exactly, however many vectors there are."""
    vectors = unit_vectors(400)
    rows = np.arange(400)
    used: list[str] = []

    def on_cpu(vectors: np.ndarray, device: str) -> object:
        used.append(device)
        return tiled_search(vectors, "cpu")

    monkeypatch.setattr(index, "tiled_search", on_cpu)
    found = build_index(vectors, "auto", device="cuda", flat_limit=100)
    assert used == ["cuda"]
    assert found.exact
    flat = build_index(vectors, "flat", device="cpu")
    ours, theirs = (nearest_sentences(Sentences(vectors, rows, rows // 4), 6, each) for each in (found, flat))
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])
