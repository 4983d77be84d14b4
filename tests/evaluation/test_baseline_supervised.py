"""Training on gold labels of sentences, and on response labels as if they were these."""

from __future__ import annotations

import pytest
import torch
from planted_problems import QUICK, hide_gold, planted

from fractal_core.evaluation.baselines.single_instance import single_instance
from fractal_core.evaluation.baselines.supervised import supervised
from fractal_core.evaluation.metrics import auc_roc


def test_supervised_beats_all_that_see_only_responses():
    """Gold labels of sentences do better than the labels of their responses."""
    problem, test = planted("max", responses=150, largest=8)
    gold = problem.gold.numpy()[test]
    bound = auc_roc(gold, supervised(problem, QUICK).probability.numpy()[test])
    assert bound > 0.85
    assert bound >= auc_roc(gold, single_instance(hide_gold(problem), QUICK).probability.numpy()[test])


def test_supervised_without_gold_is_an_error():
    """There is no supervised row where there is no gold."""
    problem, _ = planted("min", responses=12)
    with pytest.raises(ValueError, match="no supervised baseline"):
        supervised(hide_gold(problem), QUICK)


def test_single_instance_learning_is_supervision_where_responses_have_one_sentence():
    """With one sentence a response its label is the sentence's, whatever the aggregation."""
    problem, _ = planted("min", responses=60, largest=1)
    assert torch.equal(problem.labels, problem.gold)
    ours, bound = single_instance(problem, QUICK), supervised(problem, QUICK)
    assert torch.equal(ours.probability, bound.probability)
