"""What a member is trained on: the bag loss with prior terms, or cross-entropy with pseudo-labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from fractal_core.mil.losses import correlation_penalty, gold_cross_entropy, neighbour_penalty, prior_cross_entropy
from fractal_core.mil.ordinal import grade_log_probabilities
from fractal_core.mil.task import cumulative_logits, handicaps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from fractal_core.mil.examples import Examples, PriorTerms
    from fractal_core.mil.segments import Segments
    from fractal_core.mil.task import Task

_PAIRWISE = ("correlation", "neighbours")


class Objective(Protocol):
    """A loss of a mini-batch of units."""

    def units(self, examples: Examples) -> Tensor:
        """Return the units it can be trained on, int64 [u]."""

    def loss(
        self,
        examples: Examples,
        logits: Tensor,
        extra: Tensor,
        batch: Tensor,
        sentences: Tensor,
        segments: Segments,
        attention: Tensor | None,
    ) -> Tensor:
        """Return the loss [M, b] of each member and unit.

        Args:
            examples: all examples.
            logits: [M, n], of the sentences of the batch.
            extra: [M, E].
            batch: int64 [b], units.
            sentences: int64 [n], their sentences.
            segments: the responses of the units, b * W bags.
            attention: [M, n], where the pooling takes it.
        """

    def end_epoch(self, everyone: Callable[[], Tensor], epoch: int) -> None:
        """Take note that an epoch (from 0) has ended; `everyone` works out the logits [M, N] of all sentences."""


class BagObjective:
    """The weighted sum of bag loss and prior terms (FRACTAL, arXiv 2404.04817: weights are at least 0 and sum to 1).

    With a curriculum the weights of the prior terms fall linearly to 0, and the bag loss takes what they give up.
    """

    def __init__(self, task: Task, weights: Mapping[str, float], fade_epochs: int = 0) -> None:
        """Set the weights of the prior terms; the bag loss has the rest, and the weight of a term without targets.

        Args:
            task: the bag loss.
            weights: term -> weight: "correlation", "neighbours", or a key of `PriorTerms.probabilities`.
            fade_epochs: epochs after which no prior is left; 0 keeps the weights.

        Raises:
            ValueError: if a weight is negative or they sum to more than 1.
        """
        self._task = task
        self._weights = {term: weight for term, weight in weights.items() if weight}
        if sum(self._weights.values()) > 1 or min(self._weights.values(), default=0.0) < 0:
            raise ValueError(f"prior weights must be at least 0 and sum to at most 1, but are {dict(weights)}")
        self._fade_epochs = fade_epochs
        self._left = 1.0
        self._everywhere: Tensor | None = None

    def units(self, examples: Examples) -> Tensor:
        """Return the train units with a label, of the response or of sentences."""
        return torch.nonzero(examples.taught).flatten()

    def loss(
        self,
        examples: Examples,
        logits: Tensor,
        extra: Tensor,
        batch: Tensor,
        sentences: Tensor,
        segments: Segments,
        attention: Tensor | None,
    ) -> Tensor:
        """Return the weighted sum for each member and unit, [M, b]."""
        terms = [term for term in self._weights if _has_targets(term, examples.terms)]
        weights = {term: self._weights[term] * self._left for term in terms}
        covariates = None if examples.covariates is None else examples.covariates[batch]
        ahead = handicaps(extra, covariates)
        total = self._task.losses(logits, extra, examples.labels[batch], segments, attention, ahead)
        if examples.has_gold:
            gold = gold_cross_entropy(logits, examples.gold[sentences], segments)
            total = total + examples.over_unit(gold).sum(-1)
        total = (1.0 - sum(weights.values())) * total
        for term, weight in weights.items():
            values = self._term(term, examples, logits, sentences, segments)
            total = total + weight * examples.over_unit(values).mean(-1)
        return total

    def _term(self, term: str, examples: Examples, logits: Tensor, sentences: Tensor, segments: Segments) -> Tensor:
        """Return a prior term of every response of the batch, [M, b * W]."""
        terms = examples.terms
        if term not in _PAIRWISE:
            target = terms.probabilities[term][..., sentences]
            if target.dim() > 1:
                target = target.repeat_interleave(len(logits) // len(target), dim=0)
            return prior_cross_entropy(logits, target, segments)
        if term == "correlation" and terms.pairs is not None:
            chosen, pairs = terms.pairs[0].select(examples.segments.ids[sentences][segments.offsets[:-1]])
            return correlation_penalty(torch.sigmoid(logits), terms.pairs[1][chosen], pairs)
        if term == "neighbours" and terms.neighbours is not None and self._everywhere is not None:
            index, similarity = (part[sentences] for part in terms.neighbours)
            return neighbour_penalty(torch.sigmoid(logits), self._everywhere, index, similarity, segments)
        return logits.new_zeros(len(logits), segments.count)

    def end_epoch(self, everyone: Callable[[], Tensor], epoch: int) -> None:
        """Let the priors fade; keep everyone's probabilities, for neighbours are mostly outside a mini-batch."""
        if self._fade_epochs:
            self._left = max(0.0, 1.0 - (epoch + 1) / self._fade_epochs)
        if "neighbours" in self._weights:
            self._everywhere = torch.sigmoid(everyone())


def _has_targets(term: str, terms: PriorTerms) -> bool:
    if term in _PAIRWISE:
        return (terms.pairs if term == "correlation" else terms.neighbours) is not None
    return term in terms.probabilities


class PseudolabelObjective:
    """Cross-entropy with soft sentence labels, mean over a response's sentences; no priors (FRACTAL, PsLab).

    The members of a fold learn from the posteriors of that fold's teacher, which saw the same response labels as they
    do. Posteriors of another fold's teacher would tell them about the labels they are judged by.
    """

    def __init__(self, task: Task, targets: Tensor, confident: Tensor) -> None:
        """Take every team's posteriors.

        Args:
            task: of the grades.
            targets: [T, N] in [0, 1], of every dealing and fold; [T, L + 1, N] for ordinal labels.
            confident: bool [T, N], the sentences that are learned from.
        """
        self._task, self._targets, self._confident = task, targets, confident

    def units(self, examples: Examples) -> Tensor:
        """Return all train units: where there is no label, the posterior is the teacher's score."""
        return torch.nonzero(examples.train).flatten()

    def loss(
        self,
        examples: Examples,
        logits: Tensor,
        extra: Tensor,
        batch: Tensor,
        sentences: Tensor,
        segments: Segments,
        attention: Tensor | None,
    ) -> Tensor:
        """Return the mean cross-entropy of the confident sentences of each unit, [M, b]; members come team by team."""
        del batch, attention
        repeats = logits.shape[0] // self._targets.shape[0]
        target = self._targets[..., sentences].repeat_interleave(repeats, dim=0)
        if self._task.kind == "ordinal":
            losses = -(target * grade_log_probabilities(cumulative_logits(logits, extra))).sum(1)
        else:
            losses = binary_cross_entropy_with_logits(logits, target, reduction="none")
        weight = self._confident[:, sentences].repeat_interleave(repeats, dim=0).to(logits.dtype)
        total = examples.over_unit(segments.sum(losses * weight)).sum(-1)
        return total / examples.over_unit(segments.sum(weight)).sum(-1).clamp(min=1)

    def end_epoch(self, everyone: Callable[[], Tensor], epoch: int) -> None:
        """Nothing to remember."""
