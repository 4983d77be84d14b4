"""The probability of each sentence's label once its response's label is known, for independent sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import logsigmoid

from fractal_core.mil.aggregations import noisy_and, noisy_or
from fractal_core.mil.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

KINDS = ("min", "max", "avg")
_BISECTIONS = 48
_NUMBERS_AT_ONCE = 2_000_000


def posterior(kind: str, logits: Tensor, labels: Tensor, segments: Segments) -> Tensor:
    """Return P(y_i = 1 | y_B) of every sentence.

    Under avg the count n * y need not be whole. It is then read as the mixture of the two nearest counts whose mean is
    n * y, the reading of least spread: the posteriors still sum to n * y, and whole counts are exact.

    Args:
        kind: "min" (a response is positive iff every sentence is), "max" (iff one is), "avg" (the share that is).
        logits: floating [..., N], finite; log-odds of each sentence before the label is looked at.
        labels: floating [B]; 0 or 1 for min and max, in [0, 1] for avg. NaN is an unlabelled response, whose posterior
            is the probability itself.
        segments: the bags.

    Returns:
        float64 [..., N] in [0, 1]. The sum over a labelled bag is n * y under avg.

    Raises:
        ValueError: if the kind is unknown or a label is outside its range.
    """
    labels = checked_labels(kind, labels, segments)
    logits = logits.detach().to(torch.float64)
    given = _GIVEN[kind](logits, labels.nan_to_num(0.0), segments)
    return torch.where(torch.isnan(segments.expand(labels)), probability(logits), given.clamp(0, 1))


def checked_labels(kind: str, labels: Tensor, segments: Segments) -> Tensor:
    """Return the labels as float64 [B]; ValueError if there are not B, or one is neither NaN nor fit for this kind."""
    if kind not in KINDS:
        raise ValueError(f"A response label cannot be read as {kind!r}: use one of {', '.join(KINDS)}.")
    if labels.shape != (segments.count,):
        raise ValueError(f"Each of {segments.count} bags needs a label, but the labels are {tuple(labels.shape)}.")
    labels = labels.to(torch.float64)
    fits = (labels >= 0) & (labels <= 1) if kind == "avg" else (labels == 0) | (labels == 1)
    bad = torch.nonzero(~(fits | torch.isnan(labels))).flatten()
    if bad.shape[0]:
        wanted, bag = "in [0, 1]" if kind == "avg" else "0 or 1", int(bad[0])
        raise ValueError(f"Labels under {kind} must be {wanted} or NaN, but bag {bag} has {float(labels[bag])}.")
    return labels


def expected_count(labels: Tensor, segments: Segments) -> Tensor:
    """Return n * y of each bag, float64 [B]; whole or half where it is so but for rounding (100 * 0.29, float32)."""
    sizes = segments.sizes.to(torch.float64)
    count = sizes * labels.to(torch.float64)
    snapped = torch.round(2 * count) / 2
    return torch.where((count - snapped).abs() <= 1e-7 * sizes, snapped, count)


def probability(x: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-x)): torch.sigmoid differs in the last bit with an element's place in the tensor."""
    return (1 + torch.exp(-x)).reciprocal()


def _given_minimum(logits: Tensor, labels: Tensor, segments: Segments) -> Tensor:
    """1 for y = 1; for y = 0, (p_i - P) / (1 - P) with P = prod p, as 1 - (1 - p_i) / (1 - P) against cancellation."""
    surely_negative = logsigmoid(-logits) - segments.expand(noisy_and(logits, segments).negative)
    not_all = -torch.expm1(surely_negative.clamp(max=0))
    return torch.where(segments.expand(labels) == 1, torch.ones_like(logits), not_all)


def _given_maximum(logits: Tensor, labels: Tensor, segments: Segments) -> Tensor:
    """0 for y = 0; for y = 1, p_i / (1 - prod (1 - p))."""
    some = torch.exp((logsigmoid(logits) - segments.expand(noisy_or(logits, segments).positive)).clamp(max=0))
    return torch.where(segments.expand(labels) == 1, some, torch.zeros_like(logits))


def _given_average(logits: Tensor, labels: Tensor, segments: Segments) -> Tensor:
    """Exact for a whole count, linear between the two nearest otherwise."""
    repeats = logits.numel() // segments.total if segments.total else 0
    flat_segments = Segments.from_sizes(segments.sizes.repeat(repeats))
    flat, count = logits.flatten(), expected_count(labels, segments).repeat(repeats)
    below = count.floor()
    result = _given_count(flat, below.to(torch.int64), flat_segments)
    between = torch.nonzero(count > below).flatten()
    if between.shape[0]:
        sentences, part = flat_segments.select(between)
        above = _given_count(flat[sentences], below[between].to(torch.int64) + 1, part)
        weight = part.expand((count - below)[between])
        result[sentences] = torch.lerp(result[sentences], above, weight)
    return result.reshape(logits.shape)


_GIVEN = {"min": _given_minimum, "max": _given_maximum, "avg": _given_average}


def _given_count(logits: Tensor, count: Tensor, segments: Segments) -> Tensor:
    """P(y_i = 1 | sum of y = count) = p_i P(the others sum to count - 1) / P(all sum to count): float64 [N].

    Multiplying all odds of a bag by one number does not change it, so the odds are first tilted until the expected
    count is the count, which is then also the most likely one: nothing that matters underflows.
    """
    size = segments.sizes
    inner = count.clamp(min=1).minimum((size - 1).clamp(min=1))  # Counts 0 and n are answered at the end.
    tilted = logits + segments.expand(_tilt(logits, inner, segments))
    p, q = probability(tilted), probability(-tilted)
    result = torch.empty_like(p)
    for bags in _blocks(size):
        width = int(size[bags].max())
        column = torch.arange(width, device=p.device)
        present = column < size[bags, None]
        index = (segments.offsets[bags, None] + column).clamp(max=segments.total - 1)
        # A column past the end is a sentence that is surely negative: it changes no count.
        p_rows, q_rows = torch.where(present, p[index], 0.0), torch.where(present, q[index], 1.0)
        result[index[present]] = _count_posterior(p_rows, q_rows, inner[bags])[present]
    chosen = segments.expand(count)
    result = torch.where(chosen <= 0, torch.zeros_like(result), result)
    return torch.where(chosen >= segments.expand(size), torch.ones_like(result), result)


def _tilt(logits: Tensor, count: Tensor, segments: Segments) -> Tensor:
    """Return t [B] such that sigmoid(logit + t) sums to about the count; any t is exact, this one is stable."""
    share = torch.logit(count / segments.sizes.to(torch.float64), eps=1e-9)
    low, high = share - segments.maximum(logits), share - segments.minimum(logits)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        over = segments.sum(probability(logits + segments.expand(middle))) > count
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return (low + high) / 2


def _blocks(sizes: Tensor) -> Iterator[Tensor]:
    """Yield bags of similar size together, so that padding wastes little, in blocks that bound the memory."""
    order = torch.sort(sizes, stable=True).indices
    step = torch.floor(4 * torch.log2(sizes[order].to(torch.float64)))
    _, lengths = torch.unique_consecutive(step, return_counts=True)
    for group in torch.split(order, lengths.tolist()):
        yield from torch.split(group, max(1, _NUMBERS_AT_ONCE // int(sizes[group[-1]])))


def _count_posterior(p: Tensor, q: Tensor, count: Tensor) -> Tensor:
    """Posterior of each sentence given the count: p, q = 1 - p float64 [b, w], count int64 [b] in 1 to w; as p."""
    width = p.shape[1]
    pmf = p.new_zeros(p.shape[0], width + 1)
    pmf[:, 0] = 1.0
    for t in range(width):
        carried = pmf[:, : t + 1] * p[:, t : t + 1]
        pmf[:, : t + 1] *= q[:, t : t + 1]
        pmf[:, 1 : t + 2] += carried
    # As polynomials, pmf = (q_i + p_i x) * others. Its coefficient count - 1 of others is reached from the end that
    # divides by the larger of p_i and q_i, so that errors do not grow. Both ways are lined up to arrive at the last
    # step; the zeros they start with stay exactly zero.
    steps = int(torch.maximum(count.max(), (width + 1 - count).max()))
    offset = torch.arange(steps - 1, -1, -1, device=p.device)
    upward = count[:, None] - 1 - offset
    downward = count[:, None] + offset
    from_below = torch.where(upward >= 0, pmf.gather(1, upward.clamp(min=0)), 0.0)
    from_above = torch.where(downward <= width, pmf.gather(1, downward.clamp(max=width)), 0.0)
    rising = p <= q
    smaller, larger = torch.minimum(p, q), torch.maximum(p, q)
    others = torch.zeros_like(p)
    for s in range(steps):
        coefficient = torch.where(rising, from_below[:, s : s + 1], from_above[:, s : s + 1])
        others = (coefficient - smaller * others) / larger
    return p * others / pmf.gather(1, count[:, None])
