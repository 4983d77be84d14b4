"""Learning from label proportions: matching the mean, and surrogate labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_problems import QUICK, planted

from fractal_core.evaluation.baselines.bag_loss import bag_loss, response_loss
from fractal_core.evaluation.baselines.easy_proportions import surrogate_labels
from fractal_core.evaluation.baselines.fitting import Batch, labelled
from fractal_core.evaluation.baselines.problem import Problem
from fractal_core.evaluation.baselines.proportions import proportion_loss, proportions
from fractal_core.mil.segments import Segments


def test_mean_matching_is_the_bag_loss_of_the_mean():
    """DLLP's loss is the cross-entropy of label and mean probability, written out; under avg it is the bag loss."""
    problem, test = planted("avg", responses=24)
    batch = labelled(problem, torch.zeros(1, dtype=torch.int64))
    logits = torch.randn(
        1, batch.problem.segments.total, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    loss = proportion_loss(logits, batch)[0]
    offsets = batch.problem.segments.offsets.tolist()
    for bag, (start, end) in enumerate(zip(offsets, offsets[1:], strict=False)):
        mean, label = float(torch.sigmoid(logits[0, start:end]).mean()), float(batch.problem.labels[bag])
        assert float(loss[bag]) == pytest.approx(-(label * np.log(mean) + (1 - label) * np.log(1 - mean)))
    assert torch.equal(loss, response_loss(batch.problem, logits, "avg")[0])
    assert torch.equal(proportions(problem, QUICK).probability, bag_loss(problem, QUICK).probability)


def test_surrogate_labels_are_right_in_expectation():
    """Over many responses of independent sentences, the mean surrogate label of a sentence of class y is y."""
    random = np.random.default_rng(0)
    responses, size, share = 40_000, 3, 0.3
    gold = random.random((responses, size)) < share
    problem = Problem(
        kind="avg",
        features=torch.zeros(responses * size, 1),
        segments=Segments.from_sizes(torch.full((responses,), size)),
        labels=torch.from_numpy(gold.mean(axis=1)),
        fold=torch.zeros(responses, dtype=torch.int64),
        dev=torch.zeros(responses, dtype=torch.bool),
        gold=torch.from_numpy(gold.ravel().astype(float)),
    )
    batch = Batch(problem, torch.ones(1, responses), torch.arange(responses * size))
    surrogate = problem.segments.expand(surrogate_labels(batch))[0].numpy()
    first = gold.ravel()
    assert surrogate[first].mean() == pytest.approx(1.0, abs=0.03)
    assert surrogate[~first].mean() == pytest.approx(0.0, abs=0.03)


def test_surrogate_labels_of_single_sentences_are_their_labels():
    """For responses of one sentence the surrogate label is the label."""
    problem, _ = planted("max", responses=30, largest=1)
    batch = labelled(problem, torch.tensor([0, 1]))
    assert torch.allclose(surrogate_labels(batch), batch.problem.labels.float().expand(2, -1), atol=1e-6)
