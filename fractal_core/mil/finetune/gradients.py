"""The gradient of a loss that couples many texts, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from fractal_core.mil.finetune.encoder import TrainableEncoder, Units


def accumulate(encoder: TrainableEncoder, units: Units, chosen: Tensor, objective: Callable[[Tensor], Tensor]) -> float:
    """Add the gradient of a loss to the encoder's parameters and to whatever else the loss depends on.

    A bag loss needs the vectors of all its texts at once. If their activations do not fit into `encoder.batch_tokens`,
    the vectors are computed without them, then the loss and its gradient by each vector, and last each batch is read
    again to pass that gradient on (gradient caching, Gao et al., arXiv 2101.06983): exact, as there is no dropout.
    Texts without a gradient, such as all but the best chunk of a sentence, are not read again. Batches are shared by
    the processes of `encoder.team`; what fits into memory at once is computed by each of them.

    Args:
        encoder: what is trained.
        units: all units.
        chosen: int64 [u], the units to read, each once.
        objective: from their vectors [u, D] to the loss.

    Returns:
        The loss.
    """
    batches = encoder.batches(units, chosen)
    if encoder.padded_tokens(units, chosen, batches) <= encoder.batch_tokens:
        loss = objective(encoder.read(units, chosen, batches))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
    with torch.no_grad():
        vectors = encoder.read(units, chosen, batches)
    loss = objective(vectors.requires_grad_())
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = vectors.grad if vectors.grad is not None else torch.zeros_like(vectors)
    moved = torch.nonzero(gradient.abs().sum(1) > 0).flatten()
    again, gradient = chosen[moved.cpu()], gradient[moved]

    def backward(batch: Tensor) -> None:
        vectors = encoder.vectors(units, again[batch])
        (vectors * gradient[batch.to(gradient.device)]).sum().backward()  # type: ignore[no-untyped-call]

    encoder.team.accumulate(encoder.trained(), encoder.batches(units, again), backward)
    return float(loss.detach())
