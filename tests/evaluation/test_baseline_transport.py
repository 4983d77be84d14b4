"""Pseudo-labels by optimal transport."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.evaluation.baselines.transport import ENTROPY, transport_labels, transport_plan
from fractal_core.mil.segments import Segments

BAGS = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@settings(max_examples=40)
@given(sizes=BAGS, seed=st.integers(0, 10_000))
def test_transport_sends_what_it_has_and_delivers_what_is_asked(sizes, seed):
    """A sentence's mass sums to 1, a response's mass on label 1 to its count."""
    random = np.random.default_rng(seed)
    segments = Segments.from_sizes(torch.tensor(sizes))
    counts = torch.tensor([float(random.integers(0, n + 1)) for n in sizes], dtype=torch.float64)
    plan = transport_plan(torch.from_numpy(random.normal(size=(2, sum(sizes)))), counts, segments)
    assert torch.allclose(plan.sum(-1), torch.ones(2, sum(sizes), dtype=torch.float64))
    assert torch.allclose(segments.sum(plan[..., 0]), counts.expand(2, -1), atol=1e-5)
    assert (plan >= 0).all()


def test_transport_is_the_tilted_logistic_function():
    """The plan of least cost plus entropy is sigmoid(logit / entropy + t), with t such that the sum is the count."""
    logits = torch.tensor([-1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    mass = transport_labels(logits, torch.tensor([1.5], dtype=torch.float64), Segments.from_sizes(torch.tensor([4])))
    low, high = -50.0, 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if torch.sigmoid(logits / ENTROPY + middle).sum() > 1.5 else (middle, high)
    assert torch.allclose(mass, torch.sigmoid(logits / ENTROPY + low), atol=1e-6)
