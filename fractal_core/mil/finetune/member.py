"""One fold's model: how it is calibrated before training and how it scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.finetune.heads import HEADS
from fractal_core.mil.finetune.reading import Reading, reading_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from fractal_core.mil.finetune.encoder import TrainableEncoder
    from fractal_core.mil.finetune.examples import TextBags
    from fractal_core.mil.finetune.heads import Head, HeadParameters

_CALIBRATION_STEPS = 100
# Combined vectors held at once when sentences are scored.
_SENTENCES_AT_ONCE = 4_096


@dataclass(frozen=True, eq=False)
class Member:
    """A fold's model.

    Attributes:
        family: what sentences are read against.
        head: its parameters, on the CPU.
        encoder: the trained weights, on the CPU; None if no check found any better than the untrained ones.
        epochs: epochs after which they were taken, 0 for those that training started from.
        history: (epochs, mean loss of the stopping responses in nats) of every check, what it started from first.
    """

    family: str
    head: HeadParameters
    encoder: dict[str, Tensor] | None
    epochs: float
    history: list[tuple[float, float]]


def calibrate(head: Head, combined: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[HeadParameters, float]:
    """Fit a head to vectors that stay as they are, by the bag loss and a ridge (L-BFGS, all responses at once).

    Args:
        head: the kind of head.
        combined: what `head.combine` made of the vectors.
        loss: from logits [n] to the mean loss.

    Returns:
        Its parameters, and the loss reached.
    """
    start = head.start(combined)
    parameters = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.LBFGS(
        list(parameters.values()), max_iter=_CALIBRATION_STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(head.logits(parameters, combined)) + head.ridge(parameters, start).to("cpu")
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = {name: value.detach() for name, value in parameters.items()}
    return found, float(loss(head.logits(found, combined)))


@torch.no_grad()
def read(encoder: TrainableEncoder, reading: Reading, needed: Tensor) -> Tensor:
    """Return the vectors of units (int64 [u]) by the encoder as it is now, without gradient: float32 [u, D]."""
    return encoder.read(reading.units, needed)


@torch.no_grad()
def head_logits(head: Head, parameters: HeadParameters, vectors: Tensor, rows: Tensor) -> Tensor:
    """Return the logits of sentences whose units are rows [n, S] of vectors [u, D]: float32 [n], on the CPU."""
    on_device = {name: value.to(vectors.device) for name, value in parameters.items()}
    parts = [
        head.logits(on_device, head.combine(vectors, part.to(vectors.device))).cpu()
        for part in torch.split(rows, _SENTENCES_AT_ONCE)
    ]
    return torch.cat(parts)


def score(encoder: TrainableEncoder, mode: str, members: Sequence[Member], bags: TextBags) -> Tensor:
    """Score every sentence with every member.

    Args:
        encoder: of the folder that the members were trained from.
        mode: "bi" or "cross", as they were trained.
        members: K of them.
        bags: the sentences; labels, folds and splits are not looked at.

    Returns:
        Log-odds, float32 [K, N], on the CPU.
    """
    head, everything = HEADS[mode], torch.arange(len(bags.sentence))
    readings = {family: reading_of(encoder, bags, mode, family) for family in {m.family for m in members}}
    # Folds that kept the untrained weights differ in their heads alone.
    untrained: dict[str, Tensor] = {}
    result = []
    for member in members:
        needed, rows = readings[member.family].select(everything)
        vectors = untrained.get(member.family) if member.encoder is None else None
        if vectors is None:
            encoder.load(member.encoder)
            vectors = read(encoder, readings[member.family], needed)
        if member.encoder is None:
            untrained[member.family] = vectors
        result.append(head_logits(head, member.head, vectors, rows))
    encoder.load(None)
    return torch.stack(result)
