"""Putting a score on the scale of probabilities by the response labels: logit = scale * score + bias, cross-fitted.

Priors, hard and soft poolings and neural scorers all have scales of their own. Calibrated by one judge, the likelihood
of the labels for independent sentences, they can be compared and averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fractal_core.mil.ensemble import ATTENTION, EXTRA
from fractal_core.mil.held_out import UnitSentences, losses_of
from fractal_core.mil.minimising import minimise
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.scorers.parameters import Parameters
    from fractal_core.mil.task import Task

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

    To the end: nothing is chosen by held-out labels.

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
    values = score.double()
    level = _LEVEL_RIDGE if task.kind == "preference" and task.aggregation == "avg" else _RIDGE

    def losses(point: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_()
        log_scale, bias, extra = point.tensor_split((1, 2), dim=1)
        ridge = _RIDGE * (log_scale[:, 0].square() + extra.square().sum(-1)) + level * bias[:, 0].square()
        total = ridge / count
        total.sum().backward()  # type: ignore[no-untyped-call]
        total = total.detach()
        for block in blocks:
            log_scale, bias, extra = point.tensor_split((1, 2), dim=1)
            logits = log_scale.exp() * values[block.sentences] + bias
            taught = torch.nonzero(examples.taught[block.units]).flatten()
            found = losses_of(examples, task, block, logits, extra)[:, taught]
            part = (found * seen[:, block.units[taught]].double()).sum(-1) / count
            part.sum().backward()  # type: ignore[no-untyped-call]
            total += part.detach()
        assert point.grad is not None
        return total, point.grad

    log_scale, bias, extra = minimise(losses, torch.zeros(teams, 2 + task.extras).double()).tensor_split((1, 2), dim=1)
    found = {"bias": bias[:, 0], "offset": log_scale[:, 0].exp(), EXTRA: extra}
    return {"weights": torch.zeros(teams, 0), **{name: tensor.float() for name, tensor in found.items()}}


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
