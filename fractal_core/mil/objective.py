"""What a member is trained on: the bag loss with prior terms, or cross-entropy with pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from fractal_core.mil.aggregations import aggregate
from fractal_core.mil.losses import bag_cross_entropy, correlation_penalty, neighbour_penalty, prior_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.segments import Segments

_TARGETS = ("document", "query", "context_evidence", "query_evidence")


class Objective(Protocol):
    """A loss of a mini-batch of responses."""

    def loss(self, examples: Examples, logits: Tensor, batch: Tensor, sentences: Tensor, segments: Segments) -> Tensor:
        """Return the loss [M, b] of each member and response.

        Args:
            examples: all examples.
            logits: [M, n], of the sentences of the batch.
            batch: int64 [b], responses.
            sentences: int64 [n], their sentences.
            segments: the bags of the batch.
        """

    def end_epoch(self, logits: Tensor) -> None:
        """Take note of the logits [M, N] of all sentences after an epoch."""


class BagObjective:
    """The weighted sum of bag loss and prior terms (FRACTAL, arXiv 2404.04817: weights are at least 0 and sum to 1)."""

    def __init__(self, kind: str, weights: Mapping[str, float]) -> None:
        """Set the weights of the prior terms; the bag loss has the rest.

        Args:
            kind: aggregation in training.
            weights: term -> weight: document, query, context_evidence, query_evidence, correlation, neighbours.

        Raises:
            ValueError: if a weight is negative or they sum to more than 1.
        """
        self._kind = kind
        self._weights = {term: weight for term, weight in weights.items() if weight}
        self._bag_weight = 1.0 - sum(self._weights.values())
        if self._bag_weight < 0 or min(self._weights.values(), default=0.0) < 0:
            raise ValueError(f"prior weights must be at least 0 and sum to at most 1, but are {dict(weights)}")
        self._everywhere: Tensor | None = None

    def loss(self, examples: Examples, logits: Tensor, batch: Tensor, sentences: Tensor, segments: Segments) -> Tensor:
        """Return the weighted sum for each member and response, [M, b]."""
        total = self._bag_weight * bag_cross_entropy(aggregate(self._kind, logits, segments), examples.labels[batch])
        terms = examples.terms
        for name in _TARGETS:
            if name in self._weights:
                target = terms.probabilities[name][sentences]
                total = total + self._weights[name] * prior_cross_entropy(logits, target, segments)
        if "correlation" in self._weights and terms.pairs is not None:
            chosen, pairs = terms.pairs[0].select(batch)
            penalty = correlation_penalty(torch.sigmoid(logits), terms.pairs[1][chosen], pairs)
            total = total + self._weights["correlation"] * penalty
        if "neighbours" in self._weights and terms.neighbours is not None and self._everywhere is not None:
            index, similarity = terms.neighbours
            penalty = neighbour_penalty(
                torch.sigmoid(logits), self._everywhere, index[sentences], similarity[sentences], segments
            )
            total = total + self._weights["neighbours"] * penalty
        return total

    def end_epoch(self, logits: Tensor) -> None:
        """Keep everyone's probabilities: neighbours are mostly outside a mini-batch."""
        if "neighbours" in self._weights:
            self._everywhere = torch.sigmoid(logits)


class PseudolabelObjective:
    """Cross-entropy with soft sentence labels, mean over a response's sentences; no priors (FRACTAL, PsLab).

    The members of a fold learn from the posteriors of that fold's teacher, which saw the same response labels as they
    do. Posteriors of another fold's teacher would tell them about the labels they are judged by.
    """

    def __init__(self, targets: Tensor) -> None:
        """Take each fold's posteriors of all sentences, [K, N] in [0, 1]."""
        self._targets = targets

    def loss(self, examples: Examples, logits: Tensor, batch: Tensor, sentences: Tensor, segments: Segments) -> Tensor:
        """Return the mean cross-entropy of each response, [M, b]; members come fold by fold."""
        del examples, batch
        members_a_fold = logits.shape[0] // self._targets.shape[0]
        target = self._targets[:, sentences].repeat_interleave(members_a_fold, dim=0)
        return segments.mean(binary_cross_entropy_with_logits(logits, target, reduction="none"))

    def end_epoch(self, logits: Tensor) -> None:
        """Nothing to remember."""
