"""From examples to an ensemble: a prior to start from, a head for each pooling, and the guard.

Everything is compared by one figure, the held-out likelihood of the response labels for independent sentences: no
response's score comes from a member that saw its label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.mil.ensemble import Component
from fractal_core.mil.gold import HYBRID
from fractal_core.mil.guard import assess, calibrated_priors, guarded, on_one_scale
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.starting import NO_PRIOR, start_from
from fractal_core.mil.training import fit

if TYPE_CHECKING:
    from fractal_core.mil.examples import Examples
    from fractal_core.mil.guard import Learned
    from fractal_core.mil.recipe import Recipe
    from fractal_core.mil.task import Task
    from fractal_core.mil.training import Schedule


# Nats a response by which one pooling must explain the labels better than another for the other to be left out. Two
# folds of one set differ by about as much.
CLEARLY = 0.05


def learn(examples: Examples, task: Task, recipe: Recipe, schedule: Schedule, advance: Callable[[], None]) -> Learned:
    """Train a head for every pooling and keep the best of heads, priors and their averages.

    Poolings are probability models of the label, so each is judged by its own held-out likelihood. Heads are averaged
    unless one explains the labels better by more than `CLEARLY`.

    Args:
        examples: what to learn from.
        task: what to learn; its pooling is replaced by those of the recipe.
        recipe: how.
        schedule: of the heads.
        advance: called once an epoch of a head.

    Returns:
        An ensemble on the scale of independent sentences, whatever its poolings.
    """
    found = [_head(examples, replace(task, pooling=pooling), recipe, schedule, advance) for pooling in recipe.poolings]
    losses = {head.name: loss for head, loss, _ in found}
    least = min(losses.values())
    kept = [head for head, loss, _ in found if loss <= least + CLEARLY]
    judge = task.judged(kept[0].name if len(kept) == 1 else "noisy")
    heads = mixed([part for head in kept for part in on_one_scale([head], examples, judge)])
    history = [line for _, _, lines in found for line in lines]
    return guarded(heads, examples, task, judge, recipe.guard, losses, history)


def _head(
    examples: Examples, task: Task, recipe: Recipe, schedule: Schedule, advance: Callable[[], None]
) -> tuple[Component, float, list[tuple[str, int, float, float]]]:
    """Train one pooling's head; return it calibrated, its held-out loss and its history."""
    judge = task.judged(task.pooling)
    family, calibration = NO_PRIOR, None
    priors = calibrated_priors(examples, judge) if recipe.prior_offset else {}
    # The head learns from gold labels itself: from a prior that they taught it would start with most of it learned, and
    # without the signs that hold it to the meaning of its evidence. That prior competes in the end.
    priors.pop(HYBRID, None)
    if priors:
        family = min(priors, key=lambda name: assess(examples, judge, [priors[name]]))
        calibration = priors[family].parameters
    objective = BagObjective(task, recipe.weights, schedule.epochs if recipe.fade else 0)
    start = start_from(examples, task, recipe.scorer, family, calibration, schedule.seed)
    fitted = fit(examples, task, objective, start, schedule, advance)
    raw = Component(task.pooling, recipe.scorer, family, fitted.parameters)
    (head,) = on_one_scale([raw], examples, judge)
    return head, assess(examples, judge, [head]), [(task.pooling, *line) for line in fitted.history]


def mixed(components: list[Component]) -> list[Component]:
    """Return components with equal shares."""
    return [replace(component, share=1 / len(components)) for component in components]
