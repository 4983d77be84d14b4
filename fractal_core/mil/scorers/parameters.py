"""What a scorer is: a pure function of parameters whose tensors hold all members (folds x penalties) side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from fractal_core.mil.scorers.features import Features

Parameters: TypeAlias = "dict[str, Tensor]"


class Scorer(Protocol):
    """A family of scorers. Every tensor of its parameters has leading dimension M; `offset` and `bias` are [M].

    Those whose names begin with "weights" are penalised. All members add offset * prior + bias to what they make of the
    features; the offset is at least 0.
    """

    def start(self, members: int, width: int, generator: torch.Generator) -> Parameters:
        """Return float32 parameters of M members for features of a width, with offset 0, that score everything 0."""

    def logits(self, parameters: Parameters, features: Features, prior: Tensor) -> Tensor:
        """Return log-odds [M, N].

        Args:
            parameters: of M members, floating.
            features: [N, F], of the dtype of the parameters; a scorer may also take [N, C, F], C readings of each
                sentence, of which the best counts.
            prior: [N], of the same dtype.
        """


def copy(parameters: Parameters, members: Tensor | None = None) -> Parameters:
    """Return all members, or those numbered (int64 [m], repetitions allowed), without gradient and sharing nothing."""
    chosen = slice(None) if members is None else members
    return {name: tensor.detach()[chosen].clone() for name, tensor in parameters.items()}


@torch.no_grad()
def penalise(parameters: Parameters, names: Sequence[str], penalty: Tensor) -> None:
    """Add to the gradients that of half the squared norm of each member, times its penalty.

    Args:
        parameters: of M members, with gradients.
        names: of those that are penalised.
        penalty: [M].
    """
    for name in names:
        tensor = parameters[name]
        if tensor.grad is not None:
            tensor.grad.addcmul_(tensor, penalty.reshape(-1, *[1] * (tensor.dim() - 1)))


@torch.no_grad()
def replace(parameters: Parameters, members: Tensor, other: Parameters) -> None:
    """Overwrite members (int64 [m]), in place, with the members of the same numbers in `other`."""
    for name, tensor in parameters.items():
        tensor[members] = other[name][members]
