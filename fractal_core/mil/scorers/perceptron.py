"""A multi-layer perceptron with an evidence prior as offset; FRACTAL's own scorer is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import gelu

from fractal_core.mil.scorers.features import affine_of, blocks, readings
from fractal_core.mil.scorers.products import affine

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.scorers.features import Features
    from fractal_core.mil.scorers.parameters import Parameters

# Hidden numbers held at once where no gradient is wanted, over all members.
_NUMBERS_AT_ONCE = 4_000_000


class Perceptron:
    """Logit = offset * prior + MLP(features), GELU between layers, all members in batched matrix products.

    Parameters: `weights.{layer}` [M, out, in] and `bias.{layer}` [M, out] of each hidden layer, `weights` [M, last]
    and `bias` [M] of the output, and `offset` [M].
    """

    def __init__(self, hidden: tuple[float, ...]) -> None:
        """Set the widths of the hidden layers.

        Args:
            hidden: of each layer, its width, or a fraction below 1 of the width of the features. FRACTAL
                (arXiv 2404.04817) has (0.5, 0.25).

        Raises:
            ValueError: if there is no layer, or a width is neither a fraction nor a whole number of units.
        """
        if not hidden or any(not (0 < width < 1 or (width >= 1 and width == int(width))) for width in hidden):
            raise ValueError(f"Hidden widths must be fractions below 1 or whole numbers of units, but are {hidden}.")
        self.hidden = hidden

    def widths(self, width: int) -> list[int]:
        """Return the width of every hidden layer for features of a width; each is at least 1."""
        return [max(1, round(width * size)) if size < 1 else int(size) for size in self.hidden]

    def start(self, members: int, width: int, generator: torch.Generator) -> Parameters:
        """Return members that differ in their hidden layers and score everything 0.

        Hidden weights are normal with variance 2 / inputs (He et al., arXiv 1502.01852); output weights, biases and
        offset are 0, so training starts from the prior.
        """
        widths = [width, *self.widths(width)]
        parameters: Parameters = {}
        for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
            drawn = torch.randn(members, outputs, inputs, generator=generator)
            parameters[f"weights.{layer}"] = drawn * math.sqrt(2 / max(inputs, 1))
            parameters[f"bias.{layer}"] = torch.zeros(members, outputs)
        parameters["weights"] = torch.zeros(members, widths[-1])
        parameters["bias"] = torch.zeros(members)
        parameters["offset"] = torch.zeros(members)
        return parameters

    def logits(self, parameters: Parameters, features: Features, prior: Tensor) -> Tensor:
        """Return log-odds [M, N] for features [N, F] or [N, C, F] and prior [N].

        Of C readings of a sentence (its context chunks) the largest output counts, as in FRACTAL. Without gradient
        the memory for hidden layers is bounded.
        """
        rows = readings(features)
        if torch.is_grad_enabled():
            output = self._forward(parameters, rows)
        else:
            widest = max(parameters[f"weights.{layer}"].shape[1] for layer in range(len(self.hidden)))
            block = max(1, _NUMBERS_AT_ONCE // (len(parameters["bias"]) * widest))
            output = torch.cat([self._forward(parameters, part) for part in blocks(rows, block)], dim=1)
        if len(features.shape) == 3:
            output = output.reshape(len(output), *features.shape[:2]).amax(-1)
        return output + parameters["offset"][:, None] * prior

    def _forward(self, parameters: Parameters, rows: Features) -> Tensor:
        """Return the output of every member for every row, [M, rows]."""
        weights, bias = parameters["weights.0"], parameters["bias.0"]
        # All members read the same rows: their first layers are one matrix.
        hidden = gelu(affine_of(bias.flatten(), weights.flatten(0, 1), rows))
        hidden = hidden.reshape(*bias.shape, len(rows))
        for layer in range(1, len(self.hidden)):
            weights, bias = parameters[f"weights.{layer}"], parameters[f"bias.{layer}"]
            hidden = gelu(affine(bias, weights, hidden))
        weights, bias = parameters["weights"], parameters["bias"]
        return torch.baddbmm(bias[:, None, None], weights[:, None, :], hidden).squeeze(1)
