"""The default scorer: logistic regression on standardised evidence, with an evidence prior as offset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fractal_core.mil.scorers.features import dense

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.scorers.features import Features
    from fractal_core.mil.scorers.parameters import Parameters


class Linear:
    """Logit = offset * prior + weights . features + bias, with weights [M, F], bias [M] and offset [M]."""

    def start(self, members: int, width: int, generator: torch.Generator) -> Parameters:
        """Return zeros, float32; nothing is drawn."""
        del generator
        return {"weights": torch.zeros(members, width), "bias": torch.zeros(members), "offset": torch.zeros(members)}

    def logits(self, parameters: Parameters, features: Features, prior: Tensor) -> Tensor:
        """Return log-odds [M, N] for features [N, F] and prior [N]."""
        constant = parameters["bias"][:, None] + parameters["offset"][:, None] * prior
        return torch.addmm(constant, parameters["weights"], dense(features).T)


def contributions(parameters: Parameters, features: Tensor, prior: Tensor) -> Tensor:
    """Return what each feature adds to the mean logit of the members of a `Linear` scorer.

    Args:
        parameters: of M members.
        features: [N, F].
        prior: [N].

    Returns:
        [N, F + 1]: mean over members of weight * feature, and of offset * prior in the last column. With the mean bias
        a row sums to the mean logit.
    """
    of_features = parameters["weights"].detach().mean(0) * features
    of_prior = parameters["offset"].detach().mean() * prior
    return torch.cat([of_features, of_prior[:, None]], dim=1)
