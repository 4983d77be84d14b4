"""Responses of random vectors and labels, in the sizes of real ones: what training costs does not depend on more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fractal_core.mil.examples import NO_FOLD, Examples, PriorTerms
from fractal_core.mil.losses import SentencePairs, pair_correlation
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.scorers.features import Features
from fractal_core.mil.segments import Segments
from fractal_core.mil.starting import start_from
from fractal_core.mil.task import Task
from fractal_core.mil.training import Schedule, fit

BATCH = 256
# wikiqa's train split: 2,118 responses with 20,360 sentences, 1 to 30 each, of standard deviation 6.2; no contexts.
RESPONSES = 2_118
MEAN, DEVIATION, MOST = 20_360 / 2_118, 6.2, 30
# Of its dev split, for each of train.
_DEV = 296 / 2_118


def sizes_like_wikiqa(responses: int, seed: int = 0) -> Tensor:
    """Return numbers of sentences from 1 to 30 with the mean and about the spread of wikiqa's: int64 [B].

    Gamma variates, to which one is added or taken here and there until the total is right.
    """
    generator = torch.Generator().manual_seed(seed)
    # A sum of squared normal numbers is a gamma variate of half their number as shape.
    squares = round(2 * MEAN**2 / DEVIATION**2)
    drawn = torch.randn(responses, squares, generator=generator).square().sum(1) * (MEAN / squares)
    sizes = drawn.round().to(torch.int64).clamp(1, MOST)
    while gap := round(MEAN * responses) - int(sizes.sum()):
        step = 1 if gap > 0 else -1
        movable = torch.nonzero((sizes + step >= 1) & (sizes + step <= MOST)).flatten()
        chosen = movable[torch.randperm(len(movable), generator=generator)[: abs(gap)]]
        sizes[chosen] += step
    return sizes


def with_dev(responses: int) -> int:
    """Return how many responses there are with those of dev, at least one, if so many are of train."""
    return responses + max(1, round(_DEV * responses))


def make_vectors(count: int, width: int, seed: int) -> Tensor:
    """Return random unit vectors, float32 [count, width]."""
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def make_examples(
    features: Features, sizes: Tensor, train: int, dealings: int, folds: int, terms: PriorTerms, seed: int
) -> Examples:
    """Return responses of random binary labels.

    Args:
        features: [N, F].
        sizes: int64 [B], summing to N.
        train: how many of them, the first, are of train; the others are of dev.
        dealings: into folds.
        folds: of a dealing; with 1, members see every response of train, and are judged by those of dev.
        terms: targets of the prior terms.
        seed: of labels and folds.
    """
    generator = torch.Generator().manual_seed(seed)
    responses = len(sizes)
    order = torch.stack([torch.randperm(train, generator=generator) for _ in range(dealings)])
    fold = torch.full((dealings, responses), NO_FOLD)
    if folds > 1:
        fold[:, :train] = order % folds
    return Examples(
        features=features,
        priors={},
        families={},
        segments=Segments.from_sizes(sizes),
        units=torch.arange(responses)[:, None],
        labels=torch.randint(0, 2, (responses,), generator=generator).to(torch.float64),
        fold=fold,
        train=torch.arange(responses) < train,
        dev=torch.arange(responses) >= train,
        gold=torch.full((len(features),), torch.nan, dtype=torch.float64),
        terms=terms,
        members=folds,
    )


def similarity_terms(sentences: Tensor, queries: Tensor, segments: Segments) -> PriorTerms:
    """Return FRACTAL's priors P1 of query and sentence, (1 + cosine) / 2, and P2 of the sentences of a response.

    Args:
        sentences: unit vectors [N, D].
        queries: unit vectors [B, D].
        segments: the responses.
    """
    similar = (1 + (sentences * queries[segments.ids]).sum(1)) / 2
    pairs = SentencePairs(segments)
    return PriorTerms(probabilities={"query": similar}, pairs=(pairs, pair_correlation(sentences, pairs)))


def make_fit(
    examples: Examples, scorer: str, pooling: str, weights: dict[str, float], schedule: Schedule
) -> Callable[[], None]:
    """Return a function that trains on examples from the start.

    Args:
        examples: of binary labels, under MAX.
        scorer: a key of `SCORERS`.
        pooling: a key of `POOLINGS`.
        weights: of the prior terms.
        schedule: of the training; of no epochs, the held-out loss alone is computed, once.
    """
    task = Task("max", "binary", pooling)
    start = start_from(examples, task, scorer, "none", None)
    if schedule.epochs == 0:
        start = replace(start, goes_on=True)

    def run() -> None:
        fit(examples, task, BagObjective(task, weights), start, schedule, lambda: None)

    return run
