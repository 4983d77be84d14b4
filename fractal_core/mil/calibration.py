"""Putting a score on the scale of probabilities by the response labels: logit = scale * score + bias, cross-fitted.

Priors, hard and soft poolings and neural scorers all have scales of their own. Calibrated by one judge, the likelihood
of the labels for independent sentences, they can be compared and averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fractal_core.mil.ensemble import ATTENTION, EXTRA
from fractal_core.mil.held_out import UnitSentences, losses_of
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.scorers.parameters import Parameters
    from fractal_core.mil.task import Task

_STEPS = 100
# In nats over all the units of a team: nothing to hundreds of labels, but a handful, which any score may separate, must
# not make it as steep as it can be.
_RIDGE = 0.1
# Which of two means is larger hardly depends on how high both are: left to itself, the bias would be another one in
# every team, and scores of different folds would not be on one scale.
_LEVEL_RIDGE = 10.0
# Sentences whose gradients are held at once: about 2 kB each.
_SENTENCES_AT_ONCE = 200_000


@one_thread()
def calibrate(examples: Examples, task: Task, score: Tensor) -> Parameters:
    """Fit scale (at least 0), bias and the task's extra numbers of every team to the labels of its other folds.

    L-BFGS on all teams at once, to the end: nothing is chosen by held-out labels.

    Args:
        examples: the units.
        task: the judge.
        score: float32 [N], of about unit scale, in which no sentence's own response label has a part.

    Returns:
        `offset` (the scale) and `bias`, each [S * K], `extra` [S * K, E] and empty `weights`: the parameters of a
        linear scorer that has nothing but this score as prior.
    """
    teams = examples.dealings * examples.folds
    team = torch.arange(teams)
    seen = (examples.unit_fold[team // examples.folds] != (team % examples.folds)[:, None]) & examples.taught
    count = seen.double().sum(-1).clamp(min=1)
    blocks = UnitSentences.in_blocks(examples, _SENTENCES_AT_ONCE)
    log_scale, bias = torch.zeros(teams).double(), torch.zeros(teams).double()
    extra = torch.zeros(teams, task.extras).double()
    trained = [each.requires_grad_() for each in (log_scale, bias, extra)]
    optimiser = torch.optim.LBFGS(trained, max_iter=_STEPS, tolerance_grad=1e-7, line_search_fn="strong_wolfe")
    values = score.double()
    level = _LEVEL_RIDGE if task.kind == "preference" and task.aggregation == "avg" else _RIDGE

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = torch.zeros(()).double()
        for number, block in enumerate(blocks):
            logits = log_scale.exp()[:, None] * values[block.sentences] + bias[:, None]
            taught = torch.nonzero(examples.taught[block.units]).flatten()
            losses = losses_of(examples, task, block, logits, extra)[:, taught]
            summed = (losses * seen[:, block.units[taught]].double()).sum(-1)
            if number == 0:
                summed = summed + _RIDGE * (log_scale.square() + extra.square().sum(-1)) + level * bias.square()
            part = (summed / count).sum()
            part.backward()  # type: ignore[no-untyped-call]
            total = total + part.detach()
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = {"weights": torch.zeros(teams, 0), "bias": bias, "offset": log_scale.exp(), EXTRA: extra}
    return {name: tensor.detach().float() for name, tensor in found.items()}


def rescaled(parameters: Parameters, scale: Tensor, bias: Tensor, extra: Tensor) -> Parameters:
    """Return a scorer's parameters whose logits are scale * logit + bias, team by team ([T] each), with other extras.

    Attention, which only training needs, is left out.
    """
    result = {name: tensor for name, tensor in parameters.items() if name != ATTENTION}
    result["weights"] = result["weights"] * scale[:, None]
    result["offset"] = result["offset"] * scale
    result["bias"] = result["bias"] * scale + bias
    result[EXTRA] = extra.clone()
    return result
