"""The recall of an approximate search."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.priors.recall import Sample

# Of 0 to 5 the similarities to 0 are these; 3 and 4 are as similar.
SIMILAR = np.array([1.0, 0.9, 0.8, 0.6, 0.6, 0.0])


def exact(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Search for everything."""
    products = queries @ VECTORS.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(products, order, axis=1), order


VECTORS = np.stack([SIMILAR, np.sqrt(1 - SIMILAR**2)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("found", "share"),
    [([0, 1, 2, 3], 1.0), ([0, 1, 2, 4], 1.0), ([0, 1, 2, 5], 2 / 3), ([0, -1, -1, -1], 0.0), ([1, 2, 3, 5], 1.0)],
)
def test_recall_counts_equals_and_not_itself(found: list[int], share: float) -> None:
    """A query finds itself always, which is no merit; a different vector of the same similarity is as good."""
    sample = Sample(VECTORS, np.array([0]), 3, exact)
    asked = []

    def search(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append((queries.tolist(), count))
        return np.zeros((1, count), np.float32), np.array([found])

    assert sample.recall(search) == pytest.approx(share)
    assert asked == [(VECTORS[:1].tolist(), 4)]


def test_texts_with_equals_enough_are_left_out() -> None:
    """Whatever is found of equals is right, so it says nothing."""
    vectors = np.concatenate([np.tile(VECTORS[:1], (5, 1)), VECTORS[1:]])
    products = vectors @ vectors.T
    order = np.argsort(-products, axis=1, kind="stable")

    def search(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        row = [int(np.flatnonzero((vectors == query).all(axis=1))[0]) for query in queries]
        return np.take_along_axis(products, order, axis=1)[row, :count], order[row, :count]

    assert Sample(vectors, np.arange(10), 4, search).rows.tolist() == [5, 6, 7, 8, 9]
    assert Sample(vectors, np.arange(10), 5, search).rows.tolist() == list(range(10))
    assert Sample(vectors[:1], np.arange(1), 4, search).recall(search) == 1.0
