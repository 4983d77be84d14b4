"""Problems with a known answer, for tests of the baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fractal_core.evaluation.baselines.fitting import Settings
from fractal_core.evaluation.baselines.problem import NO_FOLD, Problem
from fractal_core.mil.segments import Segments

QUICK = Settings(epochs=60, learning_rate=0.05)


def planted(kind, *, responses=90, largest=4, seed=0, rate=None):
    """Responses whose sentences are right by one of five features; the last third is test, one sixth is dev."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, largest + 1, responses)
    features = random.normal(size=(sizes.sum(), 5))
    shift = {"min": 1.0, "max": -1.0, "avg": 0.0}[kind] if rate is None else rate
    gold = (random.random(len(features)) < 1 / (1 + np.exp(-4 * (features[:, 0] + 0.5 * shift)))).astype(float)
    owner = np.repeat(np.arange(responses), sizes)
    split = np.arange(responses) % 6
    fold = np.where(split < 3, (np.arange(responses) // 6) % 3, NO_FOLD)
    pool = {"min": np.min, "max": np.max, "avg": np.mean}[kind]
    labels = np.array([pool(gold[owner == i]) for i in range(responses)])
    return Problem(
        kind=kind,
        features=torch.from_numpy(features.astype(np.float32)),
        segments=Segments.from_sizes(torch.from_numpy(sizes)),
        labels=torch.from_numpy(labels),
        fold=torch.from_numpy(fold),
        dev=torch.from_numpy(split == 3),
        gold=torch.from_numpy(gold),
    ), (split >= 4)[owner]


def hide_gold(problem):
    """Return the problem as a baseline sees it that may not look at gold."""
    return replace(problem, gold=torch.full_like(problem.gold, torch.nan))
