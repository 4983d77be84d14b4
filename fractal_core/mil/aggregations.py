"""From sentence logits to the log-probability of a response's label.

A new aggregation is one function and one line of `AGGREGATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.segments import Segments


class BagLogProbabilities(NamedTuple):
    """log P(y_B = 1) and log P(y_B = 0) of every bag, each [..., B], at most 0."""

    positive: Tensor
    negative: Tensor


Aggregation = Callable[["Tensor", "Segments"], BagLogProbabilities]

# Below this, log1p(exp(x)) / exp(x) and (1 - exp(-s)) / s are taken from their series, exact to double precision.
_SMALL_LOGIT = -12.0
_LOG_SMALL = math.log(1e-3)


def log_softplus(x: Tensor) -> Tensor:
    """Return log(log(1 + exp(x))), finite for any finite x although softplus itself underflows; same shape."""
    tail = x < _SMALL_LOGIT
    tiny = torch.exp(torch.where(tail, x, torch.full_like(x, _SMALL_LOGIT)))
    series = x - tiny * (0.5 - tiny * (5.0 / 24.0))
    # torch's softplus turns linear at 20, wrong in the ninth digit; -logsigmoid(-x) does not.
    direct = torch.log(-logsigmoid(-torch.where(tail, torch.zeros_like(x), x)))
    return torch.where(tail, series, direct)


def log1mexp_of_log(log_s: Tensor) -> Tensor:
    """Return log(1 - exp(-s)) given log(s), so that an s too small to represent keeps its logarithm; same shape."""
    tiny = log_s < _LOG_SMALL
    s_tiny = torch.exp(torch.where(tiny, log_s, torch.full_like(log_s, _LOG_SMALL)))
    series = log_s - s_tiny * (0.5 - s_tiny / 24.0)
    s = torch.exp(torch.where(tiny, torch.zeros_like(log_s), log_s))
    large = s > math.log(2.0)
    middle = torch.log(-torch.expm1(-torch.where(large, torch.ones_like(s), s)))
    return torch.where(tiny, series, torch.where(large, torch.log1p(-torch.exp(-s)), middle))


def minimum(logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """P(y_B = 1) = min p_i (FRACTAL, arXiv 2404.04817): the gradient reaches one sentence of each bag."""
    lowest = segments.minimum(logits)
    return BagLogProbabilities(logsigmoid(lowest), logsigmoid(-lowest))


def maximum(logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """P(y_B = 1) = max p_i = 1 - min(1 - p_i): the gradient reaches one sentence of each bag."""
    return _mirrored(minimum, logits, segments)


def average(logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """P(y_B = 1) = mean of p_i, the expected share of positive sentences."""
    log_size = torch.log(segments.sizes.to(logits.dtype))
    positive = segments.logsumexp(logsigmoid(logits)) - log_size
    negative = segments.logsumexp(logsigmoid(-logits)) - log_size
    # The larger one is near 0, where the difference above keeps few digits; the smaller one, below log 1/2, gives it.
    mostly = positive > negative
    smaller = torch.where(mostly, negative, positive)
    larger = torch.log1p(-torch.exp(smaller))
    return BagLogProbabilities(torch.where(mostly, larger, smaller), torch.where(mostly, smaller, larger))


def noisy_and(logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """P(y_B = 1) = product of p_i: all sentences are positive, independently.

    With s = -sum log p_i, log P(y_B = 0) = log(1 - exp(-s)) is taken from log s = logsumexp of log softplus(-logit),
    which neither underflows nor loses its gradient where every p_i rounds to 1.
    """
    log_s = segments.logsumexp(log_softplus(-logits))
    return BagLogProbabilities(segments.sum(logsigmoid(logits)), log1mexp_of_log(log_s))


def noisy_or(logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """P(y_B = 1) = 1 - product of (1 - p_i): at least one sentence is positive, independently."""
    return _mirrored(noisy_and, logits, segments)


def _mirrored(aggregation: Aggregation, logits: Tensor, segments: Segments) -> BagLogProbabilities:
    positive, negative = aggregation(-logits, segments)
    return BagLogProbabilities(negative, positive)


AGGREGATIONS: dict[str, Aggregation] = {
    "min": minimum,
    "max": maximum,
    "avg": average,
    "noisy_and": noisy_and,
    "noisy_or": noisy_or,
}


def aggregate(name: str, logits: Tensor, segments: Segments) -> BagLogProbabilities:
    """Return log P(y_B = 1) and log P(y_B = 0) of every bag.

    Args:
        name: a key of `AGGREGATIONS`.
        logits: float32 or float64 [..., N], finite; log-odds of each sentence. Stable, with finite gradients, to at
            least +-1000.
        segments: the bags.

    Returns:
        Two tensors [..., B] of the dtype of the logits.

    Raises:
        ValueError: if there is no aggregation of that name.
    """
    if name not in AGGREGATIONS:
        raise ValueError(f"There is no aggregation {name!r}: use one of {', '.join(AGGREGATIONS)}.")
    return AGGREGATIONS[name](logits, segments)
