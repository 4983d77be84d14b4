"""Grades as a binary problem each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from planted_problems import planted

from fractal_core.evaluation.baselines.prior_alone import prior_alone
from fractal_core.evaluation.baselines.problem import by_grade, mean_scored


def test_grades_come_apart_and_together():
    """Every grade from 1 is a binary problem; the mean of certain answers is the grade as a share of the highest."""
    problem, _ = planted("min", responses=12)
    grades = torch.tensor([2.0, 0.0, 1.0] * 4, dtype=torch.float64)
    parts = by_grade(replace(problem, labels=grades, grades=2))
    assert [part.labels[:3].tolist() for part in parts] == [[1, 0, 1], [1, 0, 0]]
    answers = [prior_alone(np.zeros(3))._replace(probability=part.labels[:3]) for part in parts]
    assert mean_scored(answers).probability.tolist() == [1.0, 0.0, 0.5]
    assert by_grade(problem) == [problem]


def test_grades_keep_missing_labels_missing():
    """An unlabelled response is unlabelled in every binary problem."""
    problem, _ = planted("min", responses=12)
    labels = problem.labels.clone()
    labels[0] = torch.nan
    assert all(torch.isnan(part.labels[0]) for part in by_grade(replace(problem, labels=labels, grades=3)))
