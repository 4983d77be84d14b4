"""Preferences adjusted for what they are also about: covariates of the whole response, beside its sentences.

Who prefers a response does so for several reasons at once. Of two answers to one question the better supported one is
preferred more often than the more relevant one; a scorer of sentences that has to explain this by itself learns support
and turns relevance around. What a sentence label does not mean under the aggregation is therefore allowed to speak for
or against the response as a whole, and not for or against its sentences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fractal_core.evidence.catalogue import FEATURES
from fractal_core.mil.scorers.features import dense

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task

# Under min a sentence label means that the sentence is right, under max and avg that it is relevant (README,
# "Aggregations"): the evidence that is about the other one.
_OTHER = {"min": "query", "max": "context", "avg": "context"}


def adjusted_for(task: Task, choice: str, examples: Examples) -> Task:
    """Return the task with the family of evidence that its preferences are adjusted for, if any.

    Args:
        task: what to learn.
        choice: "auto", "none", or a family.
        examples: nothing is adjusted for evidence that says nothing, or that nothing would be left without.
    """
    if task.kind != "preference" or choice == "none":
        return task
    family = _OTHER[task.aggregation] if choice == "auto" else choice
    speaking = {name for name, prior in examples.priors.items() if prior.any()}
    return replace(task, adjusted=family) if family in speaking and len(speaking) > 1 else task


def adjust(examples: Examples, family: str, features: Sequence[str]) -> Examples:
    """Return examples in which a family of evidence is a matter of whole responses alone.

    Its prior's mean and minimum over each response become covariates (z-scores over responses, first response minus
    second), and its features and prior are taken from the sentences.

    Args:
        examples: of pairs.
        family: "context" or "query"; "" changes nothing.
        features: their names.
    """
    if not family:
        return examples
    prior, segments = examples.priors[family].double(), examples.segments
    of_response = torch.stack([segments.mean(prior), segments.minimum(prior)], dim=1)
    z = (of_response - of_response.mean(0)) / of_response.std(0, correction=0).clamp(min=1e-6)
    first, second = examples.units.T
    return replace(without(examples, family, features), covariates=(z[first] - z[second]).float())


def without(examples: Examples, family: str, features: Sequence[str]) -> Examples:
    """Return examples whose sentences have no evidence of a family, nor its prior; "" changes nothing."""
    if not family:
        return examples
    against = {feature.name: feature.against for feature in FEATURES}
    mine = torch.tensor([against.get(name) == family for name in features])
    return replace(
        examples,
        features=dense(examples.features).masked_fill(mine, 0.0) if bool(mine.any()) else examples.features,
        priors={name: values for name, values in examples.priors.items() if name != family},
        families={name: signs for name, signs in examples.families.items() if name != family},
    )
