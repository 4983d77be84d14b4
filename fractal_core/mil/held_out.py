"""The loss of responses from members that did not see their labels: what everything is chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from fractal_core.mil.losses import gold_cross_entropy
from fractal_core.mil.task import handicaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.segments import Segments
    from fractal_core.mil.task import Task


@dataclass(frozen=True, eq=False)
class UnitSentences:
    """Some units, and the sentences of their responses.

    Attributes:
        units: int64 [u].
        sentences: int64 [n], indices into N, unit by unit.
        segments: their responses.
    """

    units: Tensor
    sentences: Tensor
    segments: Segments

    @classmethod
    def of(cls, examples: Examples, units: Tensor) -> UnitSentences:
        """Find the sentences of units."""
        return cls(units, *examples.segments.select(examples.units[units].flatten()))

    @classmethod
    def in_blocks(cls, examples: Examples, most: int) -> list[UnitSentences]:
        """Cut all units, in order, into blocks of at most `most` sentences and one unit more."""
        before = examples.segments.sizes[examples.units].sum(1).cumsum(0)
        _, lengths = torch.unique_consecutive((before - 1) // most, return_counts=True)
        return [cls.of(examples, units) for units in torch.split(torch.arange(len(before)), lengths.tolist())]


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
    everything = UnitSentences(torch.arange(len(examples.units)), *examples.by_unit)
    attention = None if attention is None else attention[:, everything.sentences]
    return losses_of(examples, task, everything, logits[:, everything.sentences], extra, attention)


def losses_of(
    examples: Examples,
    task: Task,
    chosen: UnitSentences,
    logits: Tensor,
    extra: Tensor,
    attention: Tensor | None = None,
    ahead: Tensor | None = None,
) -> Tensor:
    """Return the loss of every member on some units, [M, u].

    In float32 it does not depend on what others a unit is taken with, to the last bit, if the handicaps are given: a
    matrix product may round by its shape.

    Args:
        examples: all units.
        task: of the loss.
        chosen: the units.
        logits: [M, n], of their sentences.
        extra: [M, E].
        attention: [M, n].
        ahead: [M, U], the handicaps of all units; None to work them out.
    """
    ahead = handicaps(extra, examples.covariates) if ahead is None else ahead
    ahead = None if ahead is None else ahead[:, chosen.units]
    losses = task.losses(logits, extra, examples.labels[chosen.units], chosen.segments, attention, ahead)
    if examples.has_gold:
        gold = gold_cross_entropy(logits, examples.gold[chosen.sentences], chosen.segments)
        losses = losses + examples.over_unit(gold).sum(-1)
    return losses


# Scores by members (a slice of them) of sentences (int64 [n]): logits [m, n], and attention logits [m, n], if any.
Score: TypeAlias = "Callable[[slice, Tensor], tuple[Tensor, Tensor | None]]"


class HeldOut:
    """The units that each team of members has not seen: the mean loss on them is what a penalty is chosen by.

    A dev unit is unseen by every fold: each of its losses counts one K-th. One that an earlier scorer learned from is
    unseen by its own fold alone, as those of train are; units without a label do not count.
    """

    def __init__(self, examples: Examples, hidden: Tensor) -> None:
        """Find the units.

        Args:
            examples: the units.
            hidden: bool [T, U], units of the fold of each dealing and fold.
        """
        self._examples = examples
        by_own = hidden & (examples.taught | examples.dev)
        self._weight = by_own.float() + (examples.dev & examples.unseen).float() / examples.folds
        # A team sees most units, so most scores and losses would be for nothing.
        self._chosen = [UnitSentences.of(examples, torch.nonzero(weight).flatten()) for weight in self._weight]

    def mean(self, task: Task, score: Score, extra: Tensor) -> Tensor:
        """Return the mean loss of each penalty on units its members have not seen, [penalties].

        Args:
            task: of the loss.
            score: scores sentences by some of the M members, which come team by team, each with a member a penalty.
            extra: [M, E].
        """
        teams, units = self._weight.shape
        size = len(extra) // teams
        losses = self._weight.new_zeros(len(extra), units)
        everyone = handicaps(extra, self._examples.covariates)
        for number, chosen in enumerate(self._chosen):
            team = slice(number * size, (number + 1) * size)
            logits, attention = score(team, chosen.sentences)
            ahead = None if everyone is None else everyone[team]
            found = losses_of(self._examples, task, chosen, logits, extra[team], attention, ahead)
            losses[team, chosen.units] = found
        losses = losses.reshape(teams, size, units)
        weight = self._weight[:, None].to(losses.dtype).expand(losses.shape).contiguous()
        return (losses * weight).sum((0, 2)) / weight.sum((0, 2))


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
