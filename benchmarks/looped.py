"""Training in the structure of FRACTAL's public code, eager and in loops, with the arithmetic of ours.

Written from its description alone: the perceptron is called for one sentence (and chunk) after another, and priors are
taken a response at a time. The faults of that code are left out, so that both compute the same loss. The description
leaves open how much is done at once, so there are several readings (`READINGS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import gelu, linear, pad

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.scorers.parameters import Parameters

# Weights of the priors, here and in what it is compared with.
SIMILARITY, CORRELATION = 0.2, 0.1
_TINY = 1e-7


@dataclass(frozen=True, eq=False)
class Bag:
    """A response: its sentences [n, D], its query [D], and its label."""

    sentences: Tensor
    query: Tensor
    label: Tensor


class LoopedScorer:
    """One member's perceptron, with weights and biases of its own."""

    def __init__(self, parameters: Parameters) -> None:
        """Take the weights of a member of `Perceptron` with two hidden layers."""
        names = ("weights.0", "bias.0", "weights.1", "bias.1", "weights", "bias")
        copies = [parameters[name][0].detach().clone() for name in names]
        copies[4] = copies[4][None]
        copies[5] = copies[5].reshape(1)
        self.tensors = [tensor.requires_grad_() for tensor in copies]

    def probability(self, rows: Tensor) -> Tensor:
        """Return the probabilities [r] of rows [r, W]."""
        first, bias1, second, bias2, third, bias3 = self.tensors
        hidden = gelu(linear(gelu(linear(rows, first, bias1)), second, bias2))
        return torch.sigmoid(linear(hidden, third, bias3)).squeeze(1)


def scores_by_row(scorer: LoopedScorer, bags: list[Bag]) -> list[Tensor]:
    """Return the scores [n] of each response, a call for every sentence."""
    scores = []
    for bag in bags:
        of_bag = []
        for sentence in bag.sentences:
            of_bag.append(scorer.probability(torch.cat([bag.query, sentence])[None])[0])
        scores.append(torch.stack(of_bag))
    return scores


def scores_by_padded_row(scorer: LoopedScorer, bags: list[Bag]) -> list[Tensor]:
    """Return the scores [n] of each response, a call for every sentence after all are padded to the longest."""
    longest = max(len(bag.sentences) for bag in bags)
    padded = [replace(bag, sentences=pad(bag.sentences, (0, 0, 0, longest - len(bag.sentences)))) for bag in bags]
    rows = scores_by_row(scorer, padded)
    return [row[: len(bag.sentences)] for row, bag in zip(rows, bags, strict=True)]


def scores_by_place(scorer: LoopedScorer, bags: list[Bag]) -> list[Tensor]:
    """Return the scores [n] of each response, a call for the first sentences of all, one for the second, and so on."""
    longest = max(len(bag.sentences) for bag in bags)
    queries = torch.stack([bag.query for bag in bags])
    padding = torch.zeros_like(bags[0].query)
    columns = []
    for place in range(longest):
        sentences = [bag.sentences[place] if place < len(bag.sentences) else padding for bag in bags]
        columns.append(scorer.probability(torch.cat([queries, torch.stack(sentences)], dim=1)))
    table = torch.stack(columns, dim=1)
    return [row[: len(bag.sentences)] for row, bag in zip(table, bags, strict=True)]


def batch_loss(scores: list[Tensor], bags: list[Bag], correlation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the mean loss of a batch under MAX: bag loss, prior P1 of the query, prior P2 of pairs of sentences.

    Args:
        scores: [n] of each response.
        bags: the responses.
        correlation: P2's term of one response, from its scores and sentences.
    """
    total = scores[0].new_zeros(())
    for p, bag in zip(scores, bags, strict=True):
        target = (1 + torch.cosine_similarity(bag.sentences, bag.query[None], dim=1)) / 2
        loss = (1 - SIMILARITY - CORRELATION) * _cross_entropy(p.max(), bag.label)
        loss = loss + SIMILARITY * _cross_entropy(p, target).mean()
        total = total + loss + CORRELATION * correlation(p, bag.sentences)
    return total / len(bags)


def correlation_by_response(p: Tensor, sentences: Tensor) -> Tensor:
    """Return P2's term of one response over unordered pairs of its sentences, as a matrix."""
    if len(p) == 1:
        return p.new_zeros(())
    alike = (1 + torch.corrcoef(sentences)) / 2
    both, neither = p[:, None] * p[None], (1 - p[:, None]) * (1 - p[None])
    return torch.triu((neither - alike).abs() * (both - alike).abs(), diagonal=1).sum() / len(p)


def correlation_by_pair(p: Tensor, sentences: Tensor) -> Tensor:
    """Return the same, a pair after another."""
    total = p.new_zeros(())
    centred = [sentence - sentence.mean() for sentence in sentences]
    for x in range(len(p)):
        for z in range(x + 1, len(p)):
            pearson = (centred[x] * centred[z]).sum() / (centred[x].norm() * centred[z].norm())
            alike = (1 + pearson) / 2
            total = total + ((1 - p[x]) * (1 - p[z]) - alike).abs() * (p[x] * p[z] - alike).abs()
    return total / len(p)


class Reading(NamedTuple):
    """How much is done at once: the scores of a batch, and the pairs of a response."""

    scores: Callable[[LoopedScorer, list[Bag]], list[Tensor]]
    correlation: Callable[[Tensor, Tensor], Tensor]


READINGS = {
    "a call a sentence, a pair after another": Reading(scores_by_row, correlation_by_pair),
    "a call a sentence, pairs as a matrix": Reading(scores_by_row, correlation_by_response),
    "a call a sentence, padded, pairs as a matrix": Reading(scores_by_padded_row, correlation_by_response),
    "a call a place of the whole batch, padded, pairs as a matrix": Reading(scores_by_place, correlation_by_response),
}


def train_epoch(
    scorer: LoopedScorer, optimiser: torch.optim.Optimizer, bags: list[Bag], reading: Reading, batch: int
) -> None:
    """Train on every response once, in a random order.

    Args:
        scorer: what is trained.
        optimiser: of its tensors.
        bags: the responses.
        reading: how.
        batch: responses a step.
    """
    order = torch.randperm(len(bags), generator=torch.Generator().manual_seed(0)).tolist()
    for start in range(0, len(order), batch):
        taken = [bags[index] for index in order[start : start + batch]]
        loss = batch_loss(reading.scores(scorer, taken), taken, reading.correlation)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _cross_entropy(p: Tensor, target: Tensor) -> Tensor:
    p = p.clamp(_TINY, 1 - _TINY)
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p))
