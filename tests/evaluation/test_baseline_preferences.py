"""Baselines that learn from which of two responses is better."""

from __future__ import annotations

from dataclasses import replace

import torch
from planted_problems import QUICK, hide_gold, planted

from fractal_core.evaluation.baselines.bag_loss import bag_loss, response_loss
from fractal_core.evaluation.baselines.problem import NO_FOLD
from fractal_core.evaluation.metrics import auc_roc


def test_preferences_are_compared_by_their_means():
    """Both responses of a pair have Bradley-Terry's loss on the ratio of their mean probabilities."""
    problem, _ = planted("avg", responses=4)
    paired = replace(problem, labels=torch.tensor([1.0, 0.0, 0.5, 0.5]).double(), pairs=torch.tensor([[0, 1], [2, 3]]))
    logits = torch.randn(problem.segments.total, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mean = problem.segments.mean(torch.sigmoid(logits))
    won = mean[0] / (mean[0] + mean[1])
    tie = mean[2] / (mean[2] + mean[3])
    expected = [-won.log(), -won.log(), *[-(tie.log() + (1 - tie).log()) / 2] * 2]
    assert torch.allclose(response_loss(paired, logits, "avg"), torch.stack(expected))


def test_learns_from_preferences():
    """The bag loss on pairs finds the planted feature from which of two responses is better."""
    problem, test = planted("avg", responses=120)
    first = torch.arange(0, 120, 2)
    pairs = torch.stack([first, first + 1], -1)
    better = (problem.labels[pairs[:, 0]] - problem.labels[pairs[:, 1]]).sign() / 2 + 0.5
    labels = torch.stack([better, 1 - better], -1).flatten()
    fold = torch.where(problem.fold[pairs[:, 0]] == NO_FOLD, NO_FOLD, torch.arange(60) % 3).repeat_interleave(2)
    dev = torch.zeros(120, dtype=torch.bool)
    paired = hide_gold(replace(problem, labels=labels, pairs=pairs, fold=fold, dev=dev))
    scored = bag_loss(paired, QUICK).probability.numpy()
    assert auc_roc(problem.gold.numpy()[test], scored[test]) > 0.8
