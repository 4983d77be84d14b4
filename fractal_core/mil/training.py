"""Training by the bag loss: all folds and penalties at once, the best epoch and penalty by held-out response labels.

Member (fold k, penalty l) never sees the labels of fold k, so its loss there is an honest estimate; a response of
fold k is scored by member k alone (cross-fitting), and any other response by the mean of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.aggregations import aggregate
from fractal_core.mil.examples import NO_FOLD, Examples
from fractal_core.mil.linear import LinearScorer
from fractal_core.mil.losses import bag_cross_entropy
from fractal_core.mil.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

# L2 penalties on the weights of standardised features, per response; the largest all but leaves the prior alone.
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
PATIENCE = 30


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_responses: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, eq=False)
class Start:
    """Where members start and what of them is trained, K folds.

    Attributes:
        scorer: a member a fold.
        prior: float32 [N], what the offset multiplies.
        signs: float32 [F]; a weight may not leave the side of its sign, 0 is free.
        offset: True trains the offset and the bias alone, False weights and bias.
    """

    scorer: LinearScorer
    prior: Tensor
    signs: Tensor
    offset: bool


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained ensemble, a member a fold.

    Attributes:
        scorer: K members.
        penalty: the L2 penalty chosen.
        epoch: the epoch chosen, from 0.
        held_out: mean held-out bag loss of the choice, in nats a response.
        history: (epoch, penalty, held-out loss) of all that was tried.
    """

    scorer: LinearScorer
    penalty: float
    epoch: int
    held_out: float
    history: list[tuple[int, float, float]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums then have one order on every machine, and threads that contend only spin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def fit(
    examples: Examples,
    kind: str,
    objective: Objective,
    start: Start,
    schedule: Schedule,
    advance: Callable[[], None],
    penalties: tuple[float, ...] = PENALTIES,
) -> Fitted:
    """Train and choose.

    Args:
        examples: labelled train responses have a fold; labelled dev responses join the held-out loss.
        kind: aggregation whose bag loss judges held-out responses.
        objective: what is trained on.
        start: where members start.
        schedule: epochs, batch, learning rate, seed.
        advance: called once an epoch.
        penalties: the L2 penalties to choose from.

    Returns:
        The ensemble of the penalty and epoch with the least held-out bag loss.
    """
    folds = len(start.scorer.bias)
    fold_of = torch.arange(folds).repeat_interleave(len(penalties))
    penalty = torch.tensor(penalties).repeat(folds)
    scorer, prior = start.scorer.copy(fold_of), start.prior
    trained = [scorer.bias, scorer.offset if start.offset else scorer.weights]
    optimiser = torch.optim.Adam([p.requires_grad_() for p in trained], lr=schedule.learning_rate)
    generator = torch.Generator().manual_seed(schedule.seed)
    train = torch.nonzero(examples.fold != NO_FOLD).flatten()
    chosen, best = scorer.copy(), torch.full((len(penalties),), torch.inf)
    best_epoch = torch.zeros(len(penalties), dtype=torch.int64)
    history: list[tuple[int, float, float]] = []
    for epoch in range(schedule.epochs):
        for batch in torch.split(train[torch.randperm(len(train), generator=generator)], schedule.batch_responses):
            sentences, segments = examples.segments.select(batch)
            logits = scorer.logits(examples.features[sentences], prior[sentences])
            visible = (examples.fold[batch] != fold_of[:, None]).to(logits.dtype)
            losses = objective.loss(examples, logits, batch, sentences, segments)
            data = (losses * visible).sum(-1) / visible.sum(-1).clamp(min=1)
            ridge = 0.5 * penalty * scorer.weights.square().sum(-1)
            optimiser.zero_grad()
            (data + ridge).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            _constrain(scorer, start.signs)
        with torch.no_grad():
            logits = scorer.logits(examples.features, prior)
        objective.end_epoch(logits)
        held_out = _held_out(examples, kind, logits, fold_of)
        history += [(epoch, p, float(value)) for p, value in zip(penalties, held_out, strict=True)]
        better = held_out < best - 1e-6
        best = torch.where(better, held_out, best)
        best_epoch[better] = epoch
        chosen.replace(torch.nonzero(better.repeat(folds)).flatten(), scorer)
        advance()
        if epoch - int(best_epoch.max()) >= PATIENCE:
            break
    winner = int(best.argmin())
    members = torch.arange(folds) * len(penalties) + winner
    return Fitted(chosen.copy(members), penalties[winner], int(best_epoch[winner]), float(best[winner]), history)


@torch.no_grad()
def _constrain(scorer: LinearScorer, signs: Tensor) -> None:
    """Project: the offset is at least 0, and no weight is on the wrong side of its sign."""
    scorer.offset.clamp_(min=0.0)
    wrong = scorer.weights * signs < 0
    scorer.weights.masked_fill_(wrong, 0.0)


def _held_out(examples: Examples, kind: str, logits: Tensor, fold_of: Tensor) -> Tensor:
    """Mean bag loss of each penalty on responses its members have not seen, [penalties]."""
    losses = bag_cross_entropy(aggregate(kind, logits, examples.segments), examples.labels)
    own = (examples.fold == fold_of[:, None]).to(losses.dtype)
    # A dev response is unseen by every fold: each of its losses counts one K-th.
    folds = int(fold_of.max()) + 1
    weight = own + examples.dev.to(losses.dtype) / folds
    total = (losses * weight).reshape(folds, -1, losses.shape[-1]).sum((0, 2))
    return total / weight.reshape(folds, -1, losses.shape[-1]).sum((0, 2))


def held_out_loss(examples: Examples, kind: str, logits: Tensor) -> float:
    """Return the mean bag loss of cross-fitted logits [N] on labelled train and dev responses, in nats a response."""
    losses = bag_cross_entropy(aggregate(kind, logits[None], examples.segments), examples.labels)[0]
    return float(losses[(examples.fold != NO_FOLD) | examples.dev].mean())


def cross_fitted(logits: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
    """Return each sentence's logit from members that did not see its label, and the spread of the probabilities.

    Args:
        logits: [K, N], a member a fold.
        examples: their bags and folds.

    Returns:
        Logit [N]: of the member of the response's own fold, or the mean over members for a response without fold;
        standard deviation of the members' probabilities [N].
    """
    fold = examples.segments.expand(examples.fold)
    own = logits.gather(0, fold.clamp(min=0)[None]).squeeze(0)
    spread = torch.sigmoid(logits.double()).std(0, correction=0)
    return torch.where(fold == NO_FOLD, logits.mean(0), own), spread
