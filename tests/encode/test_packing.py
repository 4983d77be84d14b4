"""Strips of texts laid end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fractal_core.encode.packing import runs, strips


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(1, 30))
def test_strips_hold_every_text_once(lengths, tokens):
    """Every text comes once, no strip is overfull, and its length follows from the length of each of its texts."""
    found = list(strips(lengths, tokens))
    assert sorted(index for strip in found for index in strip.indices) == list(range(len(lengths)))
    for strip in found:
        assert sum(lengths[index] for index in strip.indices) <= strip.tokens
        assert all(strip.tokens == max(tokens, lengths[index]) for index in strip.indices)


def test_little_is_left_over():
    """Short texts fill what long ones leave: strips in the order of length would hold a fifth more."""
    lengths = [3, 17, 8, 5, 25, 12, 9, 4, 30, 2] * 20
    found = list(strips(lengths, 32))
    assert 32 * len(found) < 1.05 * sum(lengths)
    assert [len(strip.indices) for strip in found[:20]] == [2] * 20


@given(st.lists(st.integers(0, 6), max_size=60))
def test_runs_are_neighbours_of_equal_length(lengths):
    """Spelt out, the runs are the texts in order; neighbouring runs differ in length."""
    found = runs(lengths)
    assert [length for _, texts, length in found for _ in range(texts)] == lengths
    assert all(run.start == sum(n * length for _, n, length in found[:number]) for number, run in enumerate(found))
    assert all(a.length != b.length for a, b in zip(found, found[1:], strict=False))
