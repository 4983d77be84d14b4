"""From logits to what users read: scores, and labels given the response's label, in the unit of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.logarithms import probability
from fractal_core.mil.ordinal import grade_log_probabilities, grades_agree, most_likely_grades, ordinal_posterior
from fractal_core.mil.posterior import posterior
from fractal_core.mil.preferences import most_likely_given_preference, preference_posterior, preferences_agree
from fractal_core.mil.pseudolabels import agrees, most_likely
from fractal_core.mil.regression import most_likely_values, real_posterior, values_agree
from fractal_core.mil.task import cumulative_logits, own_cumulative_logits

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of N sentences of B responses; real values as shares of their range.

    Attributes:
        score: float64 [N], the probability of being positive, the expected grade, or the value.
        posterior: float64 [N], the same given the response's label.
        pseudolabel: [N], of the most likely labelling that agrees with the label.
        confidence: float64 [N] in [0, 1], posterior probability of the pseudo-label; NaN for real values.
        grades: float64 [L + 1, N], probabilities of the grades; None unless labels are grades.
        grades_given: the same given the response's label.
        agrees: bool [B]; whether the pseudo-labels aggregate to the label.
        labelled: bool [B]; whether there is a label.
    """

    score: Tensor
    posterior: Tensor
    pseudolabel: Tensor
    confidence: Tensor
    grades: Tensor | None
    grades_given: Tensor | None
    agrees: Tensor
    labelled: Tensor


def answer(task: Task, logits: Tensor, extra: Tensor, examples: Examples, deviation: float | None = None) -> Answers:
    """Return scores and pseudo-labels.

    Args:
        task: what was learned.
        logits: [N], cross-fitted.
        extra: [N, E], cross-fitted.
        examples: the units and labels.
        deviation: of real values from their means, where it is known; None to estimate it (`noise`).
    """
    logits, segments = logits.double(), examples.segments
    if task.kind == "ordinal":
        return _grades(task, logits, extra, examples)
    score = probability(logits)
    given = given_label(task, logits[None], extra[:1], examples, deviation)[0]
    if task.kind == "preference":
        pairs, preferred = examples.units, examples.labels
        labels = most_likely_given_preference(task.aggregation, logits, pairs, preferred, segments)
        same = preferences_agree(task.aggregation, labels, pairs, preferred, segments)
        known = torch.zeros(segments.count, dtype=torch.bool)
        fits = torch.zeros(segments.count, dtype=torch.bool)
        for side in pairs.T:
            known[side], fits[side] = ~torch.isnan(preferred), same
    else:
        response = examples.labels
        known = ~torch.isnan(response)
        if task.kind == "real":
            labels = most_likely_values(task.aggregation, score, response, segments)
            fits = values_agree(task.aggregation, labels, response, segments)
            nothing = torch.full_like(score, torch.nan)
            return Answers(score, given, labels, nothing, None, None, fits, known)
        labels = most_likely(task.aggregation, logits, response, segments)
        fits = agrees(task.aggregation, labels, response, segments)
    confidence = torch.where(labels == 1, given, 1 - given)
    return Answers(score, given, labels, confidence, None, None, fits, known)


def given_label(
    task: Task, logits: Tensor, extra: Tensor, examples: Examples, deviation: float | None = None
) -> Tensor:
    """Return what is to be expected of every sentence given its response's label, for every team.

    Args:
        task: what was learned.
        logits: [T, N].
        extra: [T, E].
        examples: the units and labels.
        deviation: as in `answer`.

    Returns:
        float64 [T, N]: posterior probabilities, or posterior means of real values as shares of their range; for grades
        posterior probabilities [T, L + 1, N].
    """
    segments, labels = examples.segments, examples.labels
    if task.kind == "ordinal":
        levels = cumulative_logits(logits.double(), extra.double())
        return ordinal_posterior(task.aggregation, levels, labels, segments)
    if task.kind == "preference":
        return preference_posterior(task.aggregation, logits, examples.units, labels, segments)
    if task.kind == "real":
        means = probability(logits.double())
        deviation = noise(task, means, examples) if deviation is None else deviation
        return real_posterior(task.aggregation, means, deviation, labels, segments)
    return posterior(task.aggregation, logits, labels, segments)


def noise(task: Task, means: Tensor, examples: Examples) -> float:
    """Estimate the standard deviation of a sentence's value around its mean from the labels of train responses.

    Args:
        task: of real values.
        means: float64 [T, N], shares of the range.
        examples: the labels.
    """
    segments = examples.segments
    reduce = {"min": segments.minimum, "max": segments.maximum, "avg": segments.mean}[task.aggregation]
    gap = reduce(means) - examples.labels
    if task.aggregation == "avg":  # The mean of n sentences varies less than each.
        gap = gap * segments.sizes.sqrt()
    return max(float(gap[:, examples.train & ~torch.isnan(examples.labels)].square().mean().sqrt()), 1e-3)


def _grades(task: Task, logits: Tensor, extra: Tensor, examples: Examples) -> Answers:
    segments, response = examples.segments, examples.labels
    levels = own_cumulative_logits(logits, extra.double())
    before = torch.exp(grade_log_probabilities(levels))
    given = ordinal_posterior(task.aggregation, levels, response, segments)
    labels = most_likely_grades(task.aggregation, levels, response, segments)
    scale = torch.arange(len(before), dtype=torch.float64)
    confidence = given.gather(0, labels[None].to(torch.int64))[0]
    fits = grades_agree(task.aggregation, labels, response, segments)
    return Answers(scale @ before, scale @ given, labels, confidence, before, given, fits, ~torch.isnan(response))
