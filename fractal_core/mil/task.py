"""What is learned: how sentences aggregate, what the labels are, and the loss between the two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import softplus

from fractal_core.mil.aggregations import ATTENTIVE, POOLINGS, aggregate
from fractal_core.mil.counts import count_log_likelihood
from fractal_core.mil.labels import whole_count
from fractal_core.mil.losses import bag_cross_entropy
from fractal_core.mil.ordinal import ordinal_cross_entropy, ordinal_log_probabilities
from fractal_core.mil.preferences import preference_log_likelihood

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.segments import Segments


# Of a response, where preferences are adjusted for a family of evidence: its prior's mean and minimum.
COVARIATES = 2


@dataclass(frozen=True)
class Task:
    """A way to learn sentences from units: a unit is one response with a label, or two with a preference.

    Attributes:
        aggregation: "min", "max" or "avg", what a response label means.
        kind: of the labels, as trained: "binary", "share", "count", "ordinal", "real" or "preference".
        pooling: how scores are pooled: a key of `POOLINGS`.
        loss: "likelihood", "count" (exact count likelihood), "mae" or "mse" (on the pooled probability).
        grades: the highest ordinal grade.
        adjusted: the family of evidence that preferences are adjusted for (`fractal_core.mil.adjusting`), "" for none.
    """

    aggregation: str
    kind: str
    pooling: str = "noisy"
    loss: str = "likelihood"
    grades: int = 1
    adjusted: str = ""

    @property
    def pooled(self) -> str:
        """The name of the aggregation in training."""
        return POOLINGS[self.pooling][self.aggregation]

    @property
    def attentive(self) -> bool:
        """Whether pooling takes attention logits."""
        return self.pooled in ATTENTIVE

    @property
    def extras(self) -> int:
        """How many numbers a member learns beside its scorer.

        Gaps between grades; or how likely ties are, and what each covariate of a response weighs.
        """
        if self.kind == "ordinal":
            return self.grades - 1
        if self.kind == "preference":
            return 1 + (COVARIATES if self.adjusted else 0)
        return 0

    def judged(self, pooling: str = "noisy") -> Task:
        """Return the task whose loss judges what was learned: the likelihood of the labels under a pooling.

        noisy is that of independent sentences. Attention has no likelihood without its weights, so noisy judges it.
        Real labels have no likelihood without a noise; their hard aggregate is judged by the squared error.
        """
        if self.kind == "real":
            return replace(self, pooling="hard", loss="mse")
        judged = replace(self, pooling=pooling, loss="count" if self.kind == "count" else "likelihood")
        return replace(judged, pooling="noisy") if judged.attentive else judged

    def losses(
        self,
        logits: Tensor,
        extra: Tensor,
        labels: Tensor,
        segments: Segments,
        attention: Tensor | None = None,
        handicap: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of every member and unit, [M, U], 0 for an unlabelled unit (NaN).

        Args:
            logits: floating [M, n], of the sentences of the units' responses; those of a pair follow each other.
            extra: [M, extras].
            labels: floating [U]: 0 or 1, a share (a count is given as one, and a real value as a share of its range),
                a grade, or whether the first of a pair is preferred (1, 0, or 0.5 for a tie).
            segments: the responses.
            attention: [M, n], where the pooling takes it.
            handicap: [M, U], as `handicaps` returns it.
        """
        if self.kind == "ordinal":
            levels = cumulative_logits(logits, extra)
            return ordinal_cross_entropy(ordinal_log_probabilities(self.pooled, levels, segments, attention), labels)
        if self.loss == "count":
            return -count_log_likelihood(logits, whole_count(labels, segments), segments)
        pooled = aggregate(self.pooled, logits, segments, attention)
        if self.kind == "preference":
            pairs = torch.arange(segments.count, device=logits.device).reshape(-1, 2)
            return -preference_log_likelihood(pooled, pairs, labels.to(logits.dtype), extra[:, :1], handicap=handicap)
        if self.loss in ("mae", "mse"):
            return _distance(torch.exp(pooled.positive), labels.to(logits.dtype), self.loss)
        return bag_cross_entropy(pooled, labels)


def handicaps(extra: Tensor, covariates: Tensor | None) -> Tensor | None:
    """Return how far the first response of each pair is ahead whatever its sentences, [M, U]; None if not adjusted.

    Args:
        extra: [M, E], of members of a task that is adjusted.
        covariates: [U, COVARIATES], by how much the first response exceeds the second.
    """
    return None if covariates is None else extra[:, 1:] @ covariates.to(extra.dtype).T


def cumulative_logits(logits: Tensor, extra: Tensor) -> Tensor:
    """Return the log-odds of P(y_i > c) for c = 0 to L - 1, the proportional-odds model (McCullagh 1980).

    Args:
        logits: [M, N], of P(y_i > 0).
        extra: [M, L - 1]; softplus of an entry is the gap between two thresholds.

    Returns:
        [M, L, N], non-increasing in c.
    """
    return logits[:, None, :] - _thresholds(extra)[:, :, None]


def own_cumulative_logits(logits: Tensor, extra: Tensor) -> Tensor:
    """Return the same for one logit a sentence [N] and gaps of its own, [N, L - 1]: [L, N]."""
    return (logits[:, None] - _thresholds(extra)).T


def _thresholds(extra: Tensor) -> Tensor:
    """Return where each grade begins, from 0: [..., L - 1] -> [..., L]."""
    gaps = softplus(extra).cumsum(-1)
    return torch.cat([gaps.new_zeros(len(gaps), 1), gaps], dim=-1)


def _distance(pooled: Tensor, labels: Tensor, loss: str) -> Tensor:
    """Return |pooled - label| or its square; 0 for NaN."""
    labelled = ~torch.isnan(labels)
    gap = torch.where(labelled, pooled - labels.nan_to_num(0.0), torch.zeros_like(pooled))
    return gap.abs() if loss == "mae" else gap.square()
