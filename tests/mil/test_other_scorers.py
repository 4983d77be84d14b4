"""What the scorers that are not linear in the evidence learn, which the linear one cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import QUICK, examples_of, learnt, make_examples, own, ranks

from fractal_core.mil.scorers.registry import SCORERS


def test_mlp_learns_what_is_not_linear():
    """A sentence is right iff its feature is large either way: a linear head cannot say so, the perceptron can."""
    examples, _ = make_examples(responses=300)
    wide = examples.features[:, 0].abs() > 0.5
    labels = examples.segments.minimum(wide.double())
    examples = replace(examples, features=examples.features[:, :2].contiguous(), labels=labels, priors={})
    schedule = replace(QUICK, epochs=60, learning_rate=0.01, penalties=(0.001,))
    linear, mlp = (learnt(examples, schedule=schedule, scorer=scorer) for scorer in ("evidence", "mlp"))
    assert ranks(own(linear.components, examples), wide.numpy()) < 0.7
    assert ranks(own(mlp.components, examples), wide.numpy()) > 0.9
    assert {component.scorer for component in mlp.components} == {"mlp"}


def test_mlp_starts_from_the_prior():
    """The offset of a head is the calibrated prior's, whose scale calibration changes afterwards, never its sign."""
    examples, truth = make_examples(responses=120)
    examples = replace(examples, features=examples.features[:, 1:2].contiguous())
    learned = learnt(examples, scorer="mlp", prior_offset=True, guard=False)
    assert [component.family for component in learned.components] == ["context"]
    assert (learned.components[0].parameters["offset"] > 0).all()
    assert ranks(own(learned.components, examples), truth) > 0.85


def test_concat_reads_the_best_of_several_chunks():
    """[N, C, F] readings of a sentence: what only one of its chunks shows is learned."""
    random = np.random.default_rng(0)
    sizes = random.integers(1, 4, 300)
    total = int(sizes.sum())
    right = random.random(total) < 0.75
    place = random.integers(0, 2, total)
    readings = random.normal(scale=0.3, size=(total, 2, 4))
    readings[np.arange(total), place, 0] += np.where(right, 2.0, 0.0)
    labels = np.minimum.reduceat(right, np.cumsum(sizes) - sizes)
    examples = examples_of(readings, labels, sizes)
    schedule = replace(QUICK, epochs=60, learning_rate=0.01, penalties=(0.0001,))
    learned = learnt(examples, schedule=schedule, scorer="concat")
    assert ranks(own(learned.components, examples), right) > 0.95


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_fold_may_have_no_labels(scorer):
    """Of few labels among many responses a fold may have none: its members are judged by nothing, and still learn."""
    examples, truth = make_examples(responses=120, folds=4)
    bare = (examples.unit_fold[0] == 0) | examples.dev
    labels = examples.labels.masked_fill(bare, torch.nan)
    wide = {"features": examples.features.repeat(1, 6), "priors": {}, "families": {}}
    examples = replace(examples, labels=labels, dev=torch.zeros_like(examples.dev), **wide)
    learned = learnt(examples, schedule=replace(QUICK, learning_rate=0.01), scorer=scorer, guard=False)
    assert ranks(own(learned.components, examples), truth) > 0.75
