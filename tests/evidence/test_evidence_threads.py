"""Evidence is the same to the bit whatever the number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from fractal_core.encode.reading import Reading
from fractal_core.evidence.extract import extract
from fractal_core.evidence.material import ContextChunk, Material
from fractal_core.evidence.rarity import Rarity

WIDTH = 384


def reading(generator, words):
    """What an encoder could say of so many words of three letters."""
    vectors = generator.normal(size=(2, words, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    starts = 4 * np.arange(words, dtype=np.int32)
    return Reading(
        pooled=vectors[1, 0].astype(np.float32),
        tokens=vectors.astype(np.float16),
        weights=np.ones(words, np.float32),
        token_ids=np.zeros(words, np.int32),
        offsets=np.stack([starts, starts + 3], axis=1),
    )


@pytest.fixture(scope="module")
def responses():
    """A response of 40 sentences with a query and 240 sentences of context, one of three, and all readings."""
    generator = np.random.default_rng(0)
    sentences = [" ".join(f"{n:03d}" for n in range(first, first + 12)) for first in range(40)]
    chunk = ContextChunk(" ".join(["xyz"] * 2400), tuple((start, start + 39) for start in range(0, 9600, 40)))
    query = "who was why and how"
    long = Material("long", tuple(sentences), query, (chunk,))
    short = Material("short", tuple(sentences[:3]), query, ())
    return [long, short], {text: reading(generator, len(text) // 4 + 1) for text in long.texts}


def evidence(responses):
    """The evidence of the responses, as bytes by column."""
    materials, readings = responses
    rarity = Rarity({"ab": 0, "cd": 1}, lambda words: [[0] for _ in words])
    return [column.tobytes() for column in extract(materials, readings, rarity).values.T]


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_no_bit(responses, threads):
    """One thread and several give the same evidence; afterwards PyTorch has as many threads as before."""
    with threadpool_limits(limits=1):
        expected = evidence(responses)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with threadpool_limits(limits=threads, user_api="blas"):
            found = evidence(responses)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert [place for place, column in enumerate(found) if column != expected[place]] == []
