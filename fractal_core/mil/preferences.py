"""Preferences between two responses: their likelihood in training, and sentence labels that agree with them.

In training the aggregates compete (Bradley-Terry). For sentence labels a preference is an event of independent
sentences: one response's minimum, maximum or share of positive sentences is larger than the other's, or equals it.
Pairs are int64 [P, 2] of bags; preferred is floating [P]: 1 the first won, 0 the second, 0.5 tie, NaN unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import logsigmoid

from fractal_core.mil.aggregations import noisy_and, noisy_or
from fractal_core.mil.labels import checked_preferences, outcomes
from fractal_core.mil.logarithms import probability
from fractal_core.mil.posterior import posterior
from fractal_core.mil.pseudolabels import most_likely
from fractal_core.mil.share_comparison import best_counts, share_event

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.logarithms import BagLogProbabilities
    from fractal_core.mil.segments import Segments

STRENGTHS = ("odds", "probability")


def preference_log_likelihood(
    bags: BagLogProbabilities,
    pairs: Tensor,
    preferred: Tensor,
    log_tie: Tensor | None = None,
    strength: str = "odds",
    handicap: Tensor | None = None,
) -> Tensor:
    """Return the log-probability of each preference between two aggregates.

    Bradley and Terry (1952): a response wins with probability in proportion to its strength pi; Davidson (1970): a tie
    in proportion to nu * sqrt(pi_A pi_B). With the odds of the aggregate as strength, sigmoid of the difference of
    log-odds; with the probability, FRACTAL's y_A / (y_A + y_B) (arXiv 2404.04817).

    Args:
        bags: log P(y_B = 1) and log P(y_B = 0), each [..., B].
        pairs: int64 [P, 2].
        preferred: floating [P], 1, 0, 0.5 or NaN, whose likelihood and gradient are 0.
        log_tie: log nu, a scalar or [..., 1]; none for no ties, where 0.5 counts as half a win for either.
        strength: "odds" or "probability".
        handicap: [..., P], log of what multiplies the first response's strength whatever its sentences are, as the
            home side's in games; none for 0.

    Returns:
        [..., P] of the dtype of the bags, at most 0.

    Raises:
        ValueError: if the strength is unknown.
    """
    if strength not in STRENGTHS:
        raise ValueError(f"There is no strength {strength!r} of a response: use one of {', '.join(STRENGTHS)}.")
    log_strength = bags.positive - bags.negative if strength == "odds" else bags.positive
    lead = log_strength.index_select(-1, pairs[:, 0]) - log_strength.index_select(-1, pairs[:, 1])
    if handicap is not None:
        lead = lead + handicap.to(lead.dtype)
    known = ~torch.isnan(preferred)
    wins = preferred.nan_to_num(0.5).to(lead.dtype)
    if log_tie is None:
        value = wins * logsigmoid(lead) + (1 - wins) * logsigmoid(-lead)
    else:
        tie = log_tie.to(lead.dtype).expand_as(lead)
        chosen = torch.where(wins == 1, lead / 2, torch.where(wins == 0, -lead / 2, tie))
        value = chosen - torch.logsumexp(torch.stack([lead / 2, -lead / 2, tie]), dim=0)
    return torch.where(known, value, torch.zeros_like(value))


def preference_log_event(kind: str, logits: Tensor, pairs: Tensor, preferred: Tensor, segments: Segments) -> Tensor:
    """Return log P(the responses' aggregates compare as preferred) of each pair, for independent sentence labels.

    Args:
        kind: "min" or "max" (a response is 0 or 1), "avg" (it is its share of positive sentences).
        logits: floating [..., N], finite.
        pairs: int64 [P, 2]; a bag is in at most one pair.
        preferred: floating [P], 1, 0, 0.5 or NaN, whose likelihood and gradient are 0.
        segments: the bags.

    Returns:
        [..., P] of the dtype of the logits, at most 0; the gradient is posterior - probability.

    Raises:
        ValueError: if the kind is unknown, or a pair or a preference is not fit.
    """
    preferred = checked_preferences(kind, pairs, preferred, segments)
    if kind == "avg":
        result: Tensor = _ShareLogEvent.apply(logits, pairs, preferred, segments)  # type: ignore[no-untyped-call]
        return result
    (first, not_first), (second, not_second) = _bag_sides(kind, logits, pairs, segments)
    tie = torch.logaddexp(first + second, not_first + not_second)
    value = torch.where(preferred == 1, first + not_second, torch.where(preferred == 0, not_first + second, tie))
    return torch.where(torch.isnan(preferred), torch.zeros_like(value), value)


def preference_posterior(kind: str, logits: Tensor, pairs: Tensor, preferred: Tensor, segments: Segments) -> Tensor:
    """Return P(y_i = 1 | the preference) of every sentence, exact; arguments and errors of `preference_log_event`.

    Returns:
        float64 [..., N] in [0, 1]; the probability itself where a bag is in no pair whose preference is known.
    """
    preferred = checked_preferences(kind, pairs, preferred, segments)
    logits = logits.detach().to(torch.float64)
    outcome = outcomes(pairs, preferred, segments)
    if kind == "avg":
        known = ~torch.isnan(preferred)
        given = share_event(logits, pairs[known], preferred[known], segments)[1]
    else:
        if_one = posterior(kind, logits, torch.ones_like(outcome), segments)
        if_zero = posterior(kind, logits, torch.zeros_like(outcome), segments)
        (first, not_first), (second, not_second) = _bag_sides(kind, logits, pairs, segments)
        both = probability(first + second - not_first - not_second)
        one = outcome.nan_to_num(0.5).expand(*logits.shape[:-1], -1).clone()
        one[..., pairs.flatten()] = torch.where(
            (preferred == 0.5).repeat_interleave(2), both.repeat_interleave(2, dim=-1), one[..., pairs.flatten()]
        )
        given = torch.lerp(if_zero, if_one, segments.expand(one))
    return torch.where(torch.isnan(segments.expand(outcome)), probability(logits), given)


def most_likely_given_preference(
    kind: str, logits: Tensor, pairs: Tensor, preferred: Tensor, segments: Segments
) -> Tensor:
    """Return the labelling of highest probability among those that compare as preferred, exact.

    Under min and max the winner is 1 and the loser 0, and equals are both 1 or both 0, whichever is likelier (1 if both
    are). Under avg it is the best pair of numbers of positive sentences, each taken by the highest logits. Arguments
    and errors of `preference_log_event`.

    Returns:
        int8 [..., N] of 0 and 1; each sentence's own more likely label where no preference is known.
    """
    preferred = checked_preferences(kind, pairs, preferred, segments)
    logits = logits.detach().to(torch.float64)
    outcome = outcomes(pairs, preferred, segments)
    unknown = torch.isnan(segments.expand(outcome))
    if kind == "avg":
        known = ~torch.isnan(preferred)
        counts = best_counts(logits, pairs[known], preferred[known], segments)
        chosen = (segments.rank_descending(logits) < segments.expand(counts)).to(torch.int8)
        return torch.where(unknown, (logits >= 0).to(torch.int8), chosen)
    if_one = most_likely(kind, logits, torch.ones_like(outcome), segments)
    if_zero = most_likely(kind, logits, torch.zeros_like(outcome), segments)
    # A labelling's log-likelihood is the sum of the logits of its ones, up to a constant.
    gain = segments.sum(logits * (if_one - if_zero))
    ones = (outcome == 1).expand_as(gain).clone()
    tied = pairs[preferred == 0.5]
    ones[..., tied.flatten()] = (gain[..., tied].sum(dim=-1) >= 0).repeat_interleave(2, dim=-1)
    labels = torch.where(segments.expand(ones), if_one, if_zero)
    return torch.where(unknown, (logits >= 0).to(torch.int8), labels)


def preferences_agree(kind: str, pseudolabels: Tensor, pairs: Tensor, preferred: Tensor, segments: Segments) -> Tensor:
    """Say whether sentence labels (integer [..., N]) compare as preferred: bool [..., P], true where it is unknown."""
    preferred = checked_preferences(kind, pairs, preferred, segments)
    ones, size = segments.sum(pseudolabels.to(torch.int64)), segments.sizes
    first, second = pairs[:, 0], pairs[:, 1]
    if kind == "avg":
        lead = ones[..., first] * size[second] - ones[..., second] * size[first]
    else:
        value = ((ones == size) if kind == "min" else (ones > 0)).to(torch.int64)
        lead = value[..., first] - value[..., second]
    return (torch.sign(lead) == 2 * preferred - 1) | torch.isnan(preferred)


class _ShareLogEvent(torch.autograd.Function):
    """The log-probability of a comparison of shares, whose derivative by a logit is posterior - probability."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, pairs: Tensor, preferred: Tensor, segments: Segments) -> Tensor:
        known = ~torch.isnan(preferred)
        exact = logits.to(torch.float64)
        value = exact.new_zeros(*exact.shape[:-1], pairs.shape[0])
        value[..., known], given = share_event(exact, pairs[known], preferred[known], segments)
        ctx.segments, ctx.pairs, ctx.known = segments, pairs, known
        ctx.save_for_backward((given - probability(exact)).to(logits.dtype))
        return value.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        of_pair = torch.where(ctx.known, outputs[0], torch.zeros_like(outputs[0]))
        of_bag = of_pair.new_zeros(*of_pair.shape[:-1], ctx.segments.count)
        of_bag[..., ctx.pairs.flatten()] = of_pair.repeat_interleave(2, dim=-1)
        return ctx.segments.expand(of_bag) * gradient, None, None, None


def _bag_sides(
    kind: str, logits: Tensor, pairs: Tensor, segments: Segments
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return log P(1) and log P(0) of the first bag of each pair, and of the second, each [..., P]."""
    both = (noisy_and if kind == "min" else noisy_or)(logits, segments)
    first, second = ((both.positive[..., bags], both.negative[..., bags]) for bags in (pairs[:, 0], pairs[:, 1]))
    return first, second
