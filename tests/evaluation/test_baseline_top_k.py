"""Pseudo-labels for as many of the largest scores as the response label says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.evaluation.baselines.pseudo_rounds import witness_counts
from fractal_core.evaluation.baselines.top_k import top_k_labels
from fractal_core.mil.pseudolabels import most_likely
from fractal_core.mil.segments import Segments

BAGS = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@settings(max_examples=40)
@given(sizes=BAGS, seed=st.integers(0, 10_000))
def test_top_k_agrees_with_the_most_likely_labels_under_avg(sizes, seed):
    """Under avg the k largest are positive: the labelling that FRACTAL's PsLab gives."""
    random = np.random.default_rng(seed)
    segments = Segments.from_sizes(torch.tensor(sizes))
    labels = torch.tensor([random.integers(0, n + 1) / n for n in sizes])
    logits = torch.from_numpy(random.normal(size=(2, sum(sizes))))
    ours = top_k_labels(logits, witness_counts("avg", labels, segments), segments)
    assert torch.equal(ours.to(torch.int8), most_likely("avg", logits, labels, segments))


@pytest.mark.parametrize(("kind", "label", "ones"), [("min", 1, 3), ("min", 0, 2), ("max", 1, 1), ("max", 0, 0)])
def test_witnesses(kind, label, ones):
    """A bad response under min has one bad sentence, a good one under max one good; the others are all alike."""
    segments = Segments.from_sizes(torch.tensor([3]))
    count = witness_counts(kind, torch.tensor([float(label)]), segments)
    assert count.tolist() == [ones]
    assert float(top_k_labels(torch.tensor([0.3, -2.0, 0.1]), count, segments).sum()) == ones
