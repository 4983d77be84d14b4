"""Bootstrap intervals of figures over responses, without a loop over draws: a draw is a weight for every response.

Sentences of one response are not independent, so they are drawn together (cluster bootstrap; Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13 for percentile intervals). Rows are sorted once; what a figure is under
each draw follows from cumulative sums of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

COVERAGE = 0.95
MOST_DRAWS, FEWEST_DRAWS = 1_000, 100
# Draws times rows: with more than 4,000 rows there are fewer draws than 1,000.
_WORK = 4_000_000
_AT_ONCE = 1_000_000
_SEED = 0
_BINS = 15

# Weights [D, N] of the rows, gold [N] and values [N], both in the order of `values` -> the figure of each draw [D].
Weighted = Callable[["Numbers", "Numbers", "Numbers"], "Numbers"]


def interval(
    measure: Weighted,
    gold: Numbers,
    values: Numbers,
    owner: NDArray[np.int64],
    most: int = MOST_DRAWS,
    around: float | None = None,
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % percentile interval of a figure, resampling whole responses.

    The draws are always the same: equal rows have equal intervals.

    Args:
        measure: the figure under weights.
        gold: float64 [N], as the figure wants them.
        values: float64 [N], likewise.
        owner: int64 [N], equal within a response (or pair).
        most: draws, at most.
        around: the figure, if draws have more of it than the rows themselves, as a calibration error, of which noise is
            a part: they are moved until their mean is the figure, and those below 0 are 0.

    Returns:
        Lower and upper bound over the draws for which the figure is defined; None both if there is none, or if all
        rows are of one response.
    """
    distinct, place = np.unique(owner, return_inverse=True)
    count = len(distinct)
    if count < 2:
        return None, None
    order = np.argsort(values, kind="stable")
    gold, values, place = gold[order], values[order], place[order]
    draws = int(np.clip(_WORK // len(values), FEWEST_DRAWS, MOST_DRAWS))
    draws = min(draws, most)
    step = max(1, _AT_ONCE // max(len(values), count))
    generator = np.random.default_rng(_SEED)
    found = []
    for low in range(0, draws, step):
        size = min(step, draws - low)
        chosen = generator.integers(0, count, size=(size, count)) + count * np.arange(size)[:, None]
        often = np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)
        found.append(measure(often[:, place].astype(np.float64), gold, values))
    figures = np.concatenate(found)
    figures = figures[~np.isnan(figures)]
    if len(figures) == 0:
        return None, None
    if around is not None:
        figures = np.maximum(figures - figures.mean() + around, 0.0)
    bounds = np.quantile(figures, [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0])
    return float(bounds[0]), float(bounds[1])


def auc_roc(weights: Numbers, gold: Numbers, values: Numbers) -> Numbers:
    """Return the weighted probability that a positive is above a negative, ties counting one half."""
    starts = _levels(values)
    positive = np.add.reduceat(weights * gold, starts, axis=1)
    negative = np.add.reduceat(weights * (1.0 - gold), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2.0
    return _ratio((positive * below).sum(1), positive.sum(1) * negative.sum(1))


def auc_pr(weights: Numbers, gold: Numbers, values: Numbers) -> Numbers:
    """Return the weighted average precision."""
    starts = _levels(values)
    positive = np.add.reduceat(weights * gold, starts, axis=1)[:, ::-1]
    every = np.add.reduceat(weights, starts, axis=1)[:, ::-1]
    precision = _ratio(np.cumsum(positive, axis=1), np.cumsum(every, axis=1))
    gained = np.where(positive > 0, positive * np.nan_to_num(precision), 0.0).sum(1)
    return _ratio(gained, positive.sum(1))


def mean_of(contribution: Callable[[Numbers, Numbers], Numbers]) -> Weighted:
    """Return the weighted mean of what each row contributes, [N] and [N] -> [N]."""

    def measure(weights: Numbers, gold: Numbers, values: Numbers) -> Numbers:
        return _ratio(weights @ contribution(gold, values), weights.sum(1))

    return measure


def accuracy_at(threshold: float) -> Weighted:
    """Return the weighted accuracy of taking values from a threshold on for positive."""
    return mean_of(lambda gold, values: ((values >= threshold) == (gold == 1)).astype(np.float64))


def f1_at(threshold: float) -> Weighted:
    """Return the weighted F1 of taking values from a threshold on for positive."""

    def measure(weights: Numbers, gold: Numbers, values: Numbers) -> Numbers:
        said = (values >= threshold).astype(np.float64)
        return _ratio(2.0 * (weights @ (said * gold)), weights @ said + weights @ gold)

    return measure


def ece(weights: Numbers, gold: Numbers, values: Numbers) -> Numbers:
    """Return the weighted calibration error over bins of equal mass; rows of one value share their gold labels."""
    starts = _levels(values)
    size = np.diff(np.append(starts, len(values)))
    excess = np.repeat(np.add.reduceat(gold, starts) / size, size) - values
    total = weights.sum(1, keepdims=True)
    middle = np.cumsum(weights, axis=1) - weights / 2.0
    bin_of = np.minimum((middle * _BINS / total).astype(np.int64), _BINS - 1)
    flat = (bin_of + _BINS * np.arange(len(weights))[:, None]).ravel()
    sums = np.bincount(flat, weights=(weights * excess).ravel(), minlength=_BINS * len(weights))
    return _ratio(np.abs(sums.reshape(-1, _BINS)).sum(1), total[:, 0])


def _levels(values: Numbers) -> NDArray[np.int64]:
    """Return where each distinct value begins, of sorted ones."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    """Return a quotient, NaN where the denominator is 0."""
    result: Numbers = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return result
