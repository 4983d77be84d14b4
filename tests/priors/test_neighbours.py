"""Neighbours against a brute-force search over all pairs of sentences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.priors import neighbours as module
from fractal_core.priors.index import MEASURING, SEED, TUNING, build_index
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors to length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute_force(
    vectors: np.ndarray, text: np.ndarray, response: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sort all sentences of other responses by descending cosine, then row, for one sentence after the other."""
    cosine = np.einsum("id,jd->ij", vectors.astype(np.float64), vectors.astype(np.float64)).astype(np.float32)
    cosine = np.clip(cosine, -1, 1)
    rows = np.full((len(text), count), -1)
    values = np.full((len(text), count), np.nan)
    for i in range(len(text)):
        others = [j for j in range(len(text)) if response[j] != response[i]]
        best = sorted(others, key=lambda j: (-cosine[text[i], text[j]], j))[:count]
        rows[i, : len(best)] = best
        values[i, : len(best)] = [cosine[text[i], text[j]] for j in best]
    return rows, values


def check(vectors: np.ndarray, text: np.ndarray, response: np.ndarray, count: int) -> np.ndarray:
    """Assert that exact search gives what brute force gives, and return the rows."""
    index = build_index(vectors, "flat", device="cpu")
    rows, values = nearest_sentences(Sentences(vectors, text, response), count, index)
    expected_rows, expected_values = brute_force(vectors, text, response, count)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(values, expected_values, atol=1e-6)
    return rows


@settings(max_examples=120)
@given(
    seed=st.integers(0, 2**31),
    texts=st.integers(1, 25),
    repeats=st.integers(0, 50),
    responses=st.integers(1, 8),
    count=st.integers(1, 9),
    coarse=st.booleans(),
    deepest=st.sampled_from([1, 4, 1024]),
)
def test_equals_brute_force(
    seed: int, texts: int, repeats: int, responses: int, count: int, coarse: bool, deepest: int
) -> None:
    """Duplicates, ties, few candidates, large responses, small blocks, shallow search: never a difference."""
    random = np.random.default_rng(seed)
    vectors = unit(random.choice([-0.5, 0.5], (texts, 4)) if coarse else random.normal(size=(texts, 4)))
    text = random.permutation(np.r_[np.arange(texts), random.integers(0, texts, repeats)])
    response = np.unique(np.sort(random.integers(0, responses, len(text))), return_inverse=True)[1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"DEEPEST": deepest, "GPU_DEEPEST": deepest, "BLOCK_ROWS": 7, "BLOCK_CELLS": 60}.items():
            patch.setattr(module, name, value)
        check(vectors, text, response, count)


@pytest.mark.parametrize("deepest", [16, 1024])
def test_response_far_larger_than_the_search(monkeypatch: pytest.MonkeyPatch, deepest: int) -> None:
    """Sentences whose hundreds of nearest texts are all of their own response still get neighbours of others."""
    monkeypatch.setattr(module, "DEEPEST", deepest)
    monkeypatch.setattr(module, "GPU_DEEPEST", deepest)
    random = np.random.default_rng(1)
    topic = unit(np.r_[np.tile([[5.0] + [0.0] * 7], (300, 1)), np.zeros((60, 8))] + random.normal(size=(360, 8)))
    response = np.r_[np.zeros(300, dtype=np.int64), 1 + np.arange(60) // 3]
    rows = check(topic, np.arange(360), response, 5)
    assert (rows[:300] >= 300).all()


def test_exact_duplicates_come_first_in_row_order() -> None:
    """The same text in other responses is a neighbour at cosine 1; its own response's copies are not."""
    vectors = unit(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]))
    text = np.array([0, 0, 1, 0, 2, 0, 0])
    response = np.array([0, 0, 0, 1, 1, 2, 2])
    rows = check(vectors, text, response, 3)
    assert rows[0].tolist() == [3, 5, 6]
    assert rows[3].tolist() == [0, 1, 5]


def test_many_equals_beyond_the_first_search() -> None:
    """When more texts are tied than are searched at first, row order still decides."""
    vectors = np.tile(np.array([[0.5, 0.5, 0.5, 0.5]], dtype=np.float32), (200, 1))
    order = np.random.default_rng(0).permutation(200)
    rows = check(vectors, order, np.arange(200), 4)
    assert rows[10].tolist() == [0, 1, 2, 3]
    assert rows[2].tolist() == [0, 1, 3, 4]


def test_one_response_has_no_neighbours() -> None:
    """With nothing to choose from every place stays empty."""
    vectors = unit(np.random.default_rng(0).normal(size=(6, 3)))
    rows, values = nearest_sentences(
        Sentences(vectors, np.arange(6), np.zeros(6, dtype=np.int64)), 3, build_index(vectors, "flat", device="cpu")
    )
    assert (rows == -1).all()
    assert np.isnan(values).all()


def test_progress_counts_every_sentence_once() -> None:
    """Sentences that are searched again are not counted again."""
    vectors = unit(np.random.default_rng(0).normal(size=(300, 8)))
    seen: list[int] = []
    response = np.r_[np.zeros(250, dtype=np.int64), 1 + np.arange(50)]
    nearest_sentences(
        Sentences(vectors, np.arange(300), response), 3, build_index(vectors, "flat", device="cpu"), seen.append
    )
    assert sum(seen) == 300


def test_hnsw_on_clusters() -> None:
    """HNSW finds at least 90 % of the true neighbours, none of the own response, and always as many as asked for."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(150, 24))
    topic = np.repeat(random.integers(0, 150, 300), 10)
    vectors = unit(centres[topic] + 0.4 * random.normal(size=(3000, 24)))
    text, response = np.arange(3000), np.arange(3000) // 10
    index = build_index(vectors, "auto", device="cpu", flat_limit=1000)
    assert not index.exact
    rows, values = nearest_sentences(Sentences(vectors, text, response), 10, index)
    exact, _ = nearest_sentences(Sentences(vectors, text, response), 10, build_index(vectors, "flat", device="cpu"))
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), rows.tolist(), strict=True)])
    assert recall >= 0.9
    assert (rows >= 0).all()
    assert (response[rows] != response[:, None]).all()
    assert (np.diff(values, axis=1) <= 0).all()


def test_hnsw_holds_half_and_says_what_it_finds() -> None:
    """Its products are within its bound of the exact ones, and its note has the recall that a count gives."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(60, 32))
    vectors = unit(centres[random.integers(0, 60, 900)] + 0.5 * random.normal(size=(900, 32)))
    index = build_index(vectors, "hnsw", device="cpu")
    found, numbers = index.search(vectors, 11)
    exact = np.einsum("qd,qnd->qn", vectors.astype(np.float64), vectors[numbers].astype(np.float64))
    assert 1e-6 < np.abs(found - exact)[numbers >= 0].max() < index.error
    sample = np.random.default_rng(SEED).permutation(900)[TUNING : TUNING + MEASURING]
    truth = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, :11]
    hits = [len((set(truth[row]) & set(numbers[row])) - {row}) / 10 for row in sample]
    assert f"recall@10 of {np.mean(hits):.3f}" in index.summary
