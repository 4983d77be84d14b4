"""From examples to an ensemble: a prior to start from, a head for each pooling, and the guard.

Everything is compared by one figure, the held-out likelihood of the response labels for independent sentences: no
response's score comes from a member that saw its label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from fractal_core.mil.ensemble import Component
from fractal_core.mil.gold import HYBRID
from fractal_core.mil.guard import assess, calibrated_priors, guarded, on_one_scale
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.starting import NO_PRIOR, start_from, start_where
from fractal_core.mil.training import fit

if TYPE_CHECKING:
    from fractal_core.mil.examples import Examples
    from fractal_core.mil.guard import Learned, PriorsUnder
    from fractal_core.mil.recipe import Recipe
    from fractal_core.mil.scorers.parameters import Parameters
    from fractal_core.mil.task import Task
    from fractal_core.mil.training import Schedule


# Nats a response by which one pooling must explain the labels better than another for the other to be left out. Two
# folds of one set differ by about as much.
CLEARLY = 0.05


def learn(
    examples: Examples,
    task: Task,
    recipe: Recipe,
    schedule: Schedule,
    advance: Callable[[], None],
    earlier: Mapping[Task, Component] | None = None,
) -> Learned:
    """Train a head for every pooling and keep the best of heads, priors and their averages.

    Poolings are probability models of the label, so each is judged by its own held-out likelihood. Heads are averaged
    unless one explains the labels better by more than `CLEARLY`.

    Args:
        examples: what to learn from.
        task: what to learn; its pooling is replaced by those of the recipe.
        recipe: how.
        schedule: of the heads.
        advance: called once an epoch of a head.
        earlier: heads to go on from, as they came out of training, by what they learned; others start anew.

    Returns:
        An ensemble on the scale of independent sentences, whatever its poolings.
    """
    # Poolings that are judged alike have the same priors, and so has the guard.
    priors_under: PriorsUnder = cache(partial(calibrated_priors, examples))
    tasks = [replace(task, pooling=pooling) for pooling in recipe.poolings]
    trained = [
        _trained(examples, each, recipe, schedule, advance, (earlier or {}).get(each), priors_under) for each in tasks
    ]
    found = [_judged(examples, each, raw) for each, (raw, _) in zip(tasks, trained, strict=True)]
    losses = {head.name: loss for head, loss in found}
    least = min(losses.values())
    kept = [head for head, loss in found if loss <= least + CLEARLY]
    judge = task.judged(kept[0].name if len(kept) == 1 else "noisy")
    heads = mixed([part for head in kept for part in on_one_scale([head], examples, judge)])
    history = [line for _, lines in trained for line in lines]
    learned = guarded(heads, examples, task, judge, recipe.guard, losses, history, priors_under)
    return replace(learned, raw=tuple((each, raw) for each, (raw, _) in zip(tasks, trained, strict=True)))


def _trained(
    examples: Examples,
    task: Task,
    recipe: Recipe,
    schedule: Schedule,
    advance: Callable[[], None],
    earlier: Component | None,
    priors_under: PriorsUnder,
) -> tuple[Component, list[tuple[str, int, float, float]]]:
    """Train one pooling's head, anew or from where an earlier one has ended; return it as it is, and its history."""
    objective = BagObjective(task, recipe.weights, schedule.epochs if recipe.fade else 0)
    if earlier is None:
        family, calibration = _prior(examples, task, priors_under) if recipe.prior_offset else (NO_PRIOR, None)
        start = start_from(examples, task, recipe.scorer, family, calibration, schedule.seed)
    else:
        family, start = earlier.family, start_where(examples, earlier)
    fitted = fit(examples, task, objective, start, schedule, advance)
    raw = Component(task.pooling, recipe.scorer, family, fitted.parameters)
    return raw, [(task.pooling, *line) for line in fitted.history]


def _prior(examples: Examples, task: Task, priors_under: PriorsUnder) -> tuple[str, Parameters | None]:
    """Return the prior that a head starts from, calibrated."""
    judge = task.judged(task.pooling)
    # The head learns from gold labels itself: from a prior that they taught it would start with most of it learned, and
    # without the signs that hold it to the meaning of its evidence. That prior competes in the end.
    priors = {family: prior for family, prior in priors_under(judge).items() if family != HYBRID}
    if not priors:
        return NO_PRIOR, None
    family = min(priors, key=lambda name: assess(examples, judge, [priors[name]]))
    return family, priors[family].parameters


def _judged(examples: Examples, task: Task, raw: Component) -> tuple[Component, float]:
    """Return a head calibrated under its own pooling, and its held-out loss."""
    judge = task.judged(task.pooling)
    (head,) = on_one_scale([raw], examples, judge)
    return head, assess(examples, judge, [head])


def mixed(components: list[Component]) -> list[Component]:
    """Return components with equal shares."""
    return [replace(component, share=1 / len(components)) for component in components]
