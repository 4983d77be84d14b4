"""What holds of every baseline: better than chance, the same twice, and blind to test labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted_problems import QUICK, hide_gold, planted

from fractal_core.evaluation.baselines.attention import attention
from fractal_core.evaluation.baselines.bag_loss import bag_loss
from fractal_core.evaluation.baselines.easy_proportions import easy_proportions
from fractal_core.evaluation.baselines.fitting import Settings
from fractal_core.evaluation.baselines.problem import NO_FOLD
from fractal_core.evaluation.baselines.proportions import proportions
from fractal_core.evaluation.baselines.single_instance import single_instance
from fractal_core.evaluation.baselines.supervised import supervised
from fractal_core.evaluation.baselines.top_k import top_k
from fractal_core.evaluation.baselines.transport import transport
from fractal_core.evaluation.metrics import auc_roc

WEAK = [single_instance, proportions, easy_proportions, top_k, transport, attention, bag_loss]


@pytest.mark.parametrize("kind", ["min", "max", "avg"])
@pytest.mark.parametrize("baseline", WEAK, ids=lambda b: b.__name__)
def test_beats_chance_from_response_labels_alone(baseline, kind):
    """On test sentences every baseline finds the planted feature, without seeing any gold."""
    problem, test = planted(kind, responses=150)
    scored = baseline(hide_gold(problem), QUICK)
    # Attention has an answer for the whole response alone, which a sentence shares.
    least = 0.6 if baseline is attention else 0.75
    assert auc_roc(problem.gold.numpy()[test], scored.probability.numpy()[test]) > least
    assert ((scored.probability >= 0) & (scored.probability <= 1)).all()


@pytest.mark.parametrize("baseline", [*WEAK, supervised], ids=lambda b: b.__name__)
def test_the_same_twice(baseline):
    """Two trainings on the same input give the same bits."""
    problem, _ = planted("max", responses=36)
    first, second = (baseline(problem, Settings(epochs=5)) for _ in range(2))
    assert torch.equal(first.probability, second.probability)
    assert torch.equal(first.spread, second.spread)


def test_test_gold_and_test_labels_are_not_looked_at():
    """The labels and gold of test responses change no score."""
    problem, test = planted("min", responses=60)
    unseen = (problem.fold == NO_FOLD) & ~problem.dev
    other = replace(
        problem,
        labels=torch.where(unseen, 1 - problem.labels, problem.labels),
        gold=torch.where(torch.from_numpy(test), 1 - problem.gold, problem.gold),
    )
    for baseline in (*WEAK, supervised):
        assert torch.equal(
            baseline(problem, Settings(epochs=5)).probability, baseline(other, Settings(epochs=5)).probability
        )
