"""Length-sorted batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fractal_core.encode.batching import fixed_batches, length_sorted_batches


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 2000))
def test_every_text_once_and_within_the_budget(lengths, batch_tokens):
    """Every index comes once, and no batch of two or more exceeds the budget, padding included."""
    batches = list(length_sorted_batches(lengths, batch_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= batch_tokens


def test_texts_of_like_length_share_a_batch():
    """Short and long texts are kept apart, so that little is padded."""
    assert list(length_sorted_batches([50, 3, 49, 2], 100)) == [[3, 1], [2, 0]]


@given(st.lists(st.integers(1, 64), max_size=60), st.integers(1, 300))
def test_shapes_follow_from_lengths_alone(lengths, batch_tokens):
    """Every text comes once, in a matrix it fits into, whose shape is that of the same text read alone."""
    batches = list(fixed_batches(lengths, batch_tokens, 60))
    assert sorted(index for batch in batches for index in batch.indices) == list(range(len(lengths)))
    for batch in batches:
        assert 0 < len(batch.indices) <= batch.rows
        assert batch.width <= 60
        for index in batch.indices:
            (alone,) = fixed_batches([lengths[index]], batch_tokens, 60)
            assert (alone.rows, alone.width) == (batch.rows, batch.width)
            assert batch.width >= min(lengths[index], 60)
