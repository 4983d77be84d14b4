"""The correlation prior against a matrix of Pearson coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.priors.correlation import response_correlation
from fractal_core.priors.sentences import Sentences


def reference(vectors: np.ndarray, text: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Average (1 + numpy's Pearson) / 2 over the other sentences, pair by pair."""
    result = np.full(len(text), np.nan)
    for i in range(len(text)):
        others = [j for j in range(len(text)) if j != i and response[j] == response[i]]
        if others:
            pairs = [np.corrcoef(vectors[text[i]], vectors[text[j]])[0, 1] for j in others]
            result[i] = np.mean([(1 + pair) / 2 for pair in pairs])
    return result


@pytest.mark.parametrize("block_rows", [1, 4, 7, 1000])
def test_equals_pairwise_pearson(block_rows: int) -> None:
    """The sum over the response gives what the pair matrix gives, however the responses fall into blocks."""
    random = np.random.default_rng(3)
    vectors = (random.normal(size=(20, 12)) + 0.7).astype(np.float32)
    text = random.integers(0, 20, size=60)
    response = np.repeat(np.arange(12), [1, 9, 5, 1, 1, 14, 2, 3, 8, 6, 9, 1])
    actual = response_correlation(Sentences(vectors, text, response), block_rows)
    np.testing.assert_allclose(actual, reference(vectors, text, response), rtol=1e-5)
    assert np.isnan(actual).sum() == 4


def test_blocks_do_not_change_a_bit() -> None:
    """The block size is no part of the result."""
    random = np.random.default_rng(4)
    vectors = random.normal(size=(50, 33)).astype(np.float32)
    text, response = np.arange(50), np.sort(random.integers(0, 9, size=50))
    sentences = Sentences(vectors, text, response)
    whole = response_correlation(sentences)
    assert whole.tobytes() == response_correlation(sentences, 8).tobytes()


def test_bounds_and_constants() -> None:
    """The same sentence twice gives 1, its negative 0, and a constant vector, which has no direction, one half."""
    vectors = np.array([[1, 2, 4], [-1, -2, -4], [0.1, 0.1, 0.1]], dtype=np.float32)
    actual = response_correlation(Sentences(vectors, np.array([0, 0, 0, 1, 0, 2]), np.array([0, 0, 1, 1, 2, 2])))
    np.testing.assert_allclose(actual, [1, 1, 0, 0, 0.5, 0.5], atol=1e-7)


def test_no_sentences() -> None:
    """No rows in, no rows out."""
    none = np.zeros(0, dtype=np.int64)
    assert len(response_correlation(Sentences(np.zeros((0, 3), dtype=np.float32), none, none))) == 0
