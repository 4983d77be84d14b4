"""Members of a baseline: which labels each sees, and which one scores a response."""

from __future__ import annotations

import torch
from planted_problems import planted

from fractal_core.evaluation.baselines.fitting import cross_fitted, labelled
from fractal_core.evaluation.baselines.problem import NO_FOLD


def test_no_member_learns_from_its_own_fold():
    """A member sees the labels of all other folds, none of its own, and none of dev; test is not there at all."""
    problem, _ = planted("avg", responses=36)
    batch = labelled(problem, torch.tensor([0, 1, 2]))
    part = batch.problem
    assert part.segments.count == int((problem.fold != NO_FOLD).sum() + problem.dev.sum())
    for member in range(3):
        expected = (part.fold != member) & (part.fold != NO_FOLD)
        assert torch.equal(batch.visible[member] == 1, expected)
    assert torch.equal(part.features, problem.features[batch.sentences])


def test_cross_fitting_takes_the_member_of_the_own_fold():
    """A response of fold k has member k's score, one without fold the mean of the logits."""
    problem, _ = planted("avg", responses=12)
    logits = torch.arange(3.0)[:, None].expand(3, problem.segments.total)
    scored = cross_fitted(problem, logits)
    fold = problem.segments.expand(problem.fold)
    expected = torch.where(fold == NO_FOLD, torch.ones(len(fold)), fold.float())
    assert torch.allclose(scored.probability, torch.sigmoid(expected.double()))
