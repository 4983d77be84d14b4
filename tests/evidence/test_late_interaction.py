"""MaxSim and the features made of it against a double loop in float64."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.evidence import late_interaction
from fractal_core.evidence.late_interaction import TokenPair, match_tokens


def unit(generator, *shape):
    """Random unit vectors in float16."""
    vectors = generator.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)


def make_pairs(seed, count):
    """Pairs of random size, some with a sentence without tokens."""
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        lengths = np.append(generator.integers(0, 6, size=generator.integers(0, 4)), generator.integers(1, 6))
        parts = np.repeat(np.arange(n := generator.integers(1, 5)), generator.integers(1, 5, size=n))
        pairs.append(TokenPair(unit(generator, 2, lengths.sum(), 8), lengths, unit(generator, 2, len(parts), 8), parts))
    return pairs


def slow(pair, layer):
    """Nearest, best part, reverse and average by loops over single tokens."""
    left, right = pair.tokens[layer].astype(np.float64), pair.against[layer].astype(np.float64)
    nearest = [max(float(x @ y) for y in right) for x in left]
    best, reverse, average = [], [], []
    start = 0
    for length in pair.lengths:
        own = left[start : start + length]
        start += length
        per_part = []
        for part in set(pair.parts.tolist()):
            members = right[pair.parts == part]
            per_part.append(sum(max(float(x @ y) for y in members) for x in own) / max(length, 1))
        best.append(max(per_part))
        reverse.append([max([float(x @ y) for x in own], default=-1.0) for y in right])
        average.append([sum(float(x @ y) for x in own) / max(length, 1) for y in right])
    return np.array(nearest), np.array(best), np.array(reverse).T, np.array(average).T


@pytest.mark.parametrize("budget", [1, 500, 10**7])
def test_equals_a_double_loop(monkeypatch, budget):
    """However a pair is cut, the result is that of comparing token by token."""
    monkeypatch.setattr(late_interaction, "_MOST_COSINES", budget)
    pairs = make_pairs(0, 12)
    for pair, match in zip(pairs, match_tokens(pairs, reverse=True), strict=True):
        for layer in range(2):
            nearest, best, reverse, average = slow(pair, layer)
            np.testing.assert_allclose(match.nearest[layer], nearest, atol=1e-5)
            np.testing.assert_allclose(match.best_part[layer], best, atol=1e-5)
            np.testing.assert_allclose(match.reverse[layer], reverse, atol=1e-5)
            np.testing.assert_allclose(match.average[layer], average, atol=1e-5)


def test_reverse_only_if_asked_for():
    """Without `reverse` only the forward direction is returned."""
    (match,) = match_tokens(make_pairs(1, 1))
    assert match.reverse is None
    assert match.average is None


def test_no_pairs():
    """Nothing to compare gives nothing."""
    assert match_tokens([]) == []
