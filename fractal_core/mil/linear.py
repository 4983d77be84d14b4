"""The default scorer: logistic regression on standardised evidence, with an evidence prior as offset.

Many members (folds x penalties) are held in one set of tensors and trained and applied in one computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """M linear members: logit = offset * prior + weights . features + bias.

    Attributes:
        weights: float32 [M, F].
        bias: float32 [M].
        offset: float32 [M], at least 0; 0 leaves the prior out.
    """

    weights: Tensor
    bias: Tensor
    offset: Tensor

    def logits(self, features: Tensor, prior: Tensor) -> Tensor:
        """Return log-odds [M, N] for features [N, F] and prior [N]."""
        return torch.addmm(self.bias[:, None] + self.offset[:, None] * prior, self.weights, features.T)

    def parameters(self) -> list[Tensor]:
        """Return weights, bias and offset."""
        return [self.weights, self.bias, self.offset]

    def copy(self, members: Tensor | None = None) -> LinearScorer:
        """Return all or some members, detached from this one."""
        chosen = slice(None) if members is None else members
        return LinearScorer(*(p.detach()[chosen].clone() for p in self.parameters()))

    def replace(self, members: Tensor, other: LinearScorer) -> None:
        """Overwrite some members, in place, with the same members of `other`."""
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            mine[members] = theirs.detach()[members]
