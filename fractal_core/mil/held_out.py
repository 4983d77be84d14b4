"""The loss of responses from members that did not see their labels: what everything is chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fractal_core.mil.losses import gold_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task


def unit_losses(
    examples: Examples, task: Task, logits: Tensor, extra: Tensor, attention: Tensor | None = None
) -> Tensor:
    """Return the loss of every member and unit, [M, U]: of its label, and of gold sentences that may be learned from.

    Args:
        examples: the units.
        task: of the loss.
        logits: [M, N], of all sentences.
        extra: [M, E].
        attention: [M, N].
    """
    sentences, segments = examples.by_unit
    logits = logits[:, sentences]
    attention = None if attention is None else attention[:, sentences]
    losses = task.losses(logits, extra, examples.labels, segments, attention, examples.covariates)
    if examples.has_gold:
        losses = losses + examples.over_unit(gold_cross_entropy(logits, examples.gold[sentences], segments)).sum(-1)
    return losses


def mean_held_out(examples: Examples, losses: Tensor, hidden: Tensor, teams: int) -> Tensor:
    """Return the mean loss of each penalty on units its members have not seen, [penalties].

    A dev unit is unseen by every fold: each of its losses counts one K-th. One that an earlier scorer learned from is
    unseen by its own fold alone, as those of train are; units without a label do not count.

    Args:
        examples: the units.
        losses: [M, U], of members team by team.
        hidden: bool [M, U], units of the member's own fold.
        teams: dealings times folds.
    """
    by_own = hidden & (examples.taught | examples.dev)
    weight = by_own.to(losses.dtype) + (examples.dev & examples.unseen).to(losses.dtype) / examples.folds
    total = (losses * weight).reshape(teams, -1, losses.shape[-1]).sum((0, 2))
    return total / weight.reshape(teams, -1, losses.shape[-1]).sum((0, 2))


def gold_loss(examples: Examples, logits: Tensor) -> float:
    """Return the mean cross-entropy of gold labels that may be learned from, in nats a sentence.

    Args:
        examples: at least one gold label.
        logits: [N], cross-fitted.
    """
    known = int((~torch.isnan(examples.gold)).sum())
    return float(gold_cross_entropy(logits.double(), examples.gold, examples.segments).sum()) / known


def held_out_loss(examples: Examples, task: Task, logits: Tensor, extra: Tensor) -> float:
    """Return the mean loss of labelled train and dev units, each from logits that did not see its label, in nats.

    Args:
        examples: the units.
        task: of the loss.
        logits: [S, N], cross-fitted, one row a dealing.
        extra: [S, E].
    """
    losses = unit_losses(examples, task, logits, extra).mean(0)
    return float(losses[examples.taught | examples.dev].mean())
