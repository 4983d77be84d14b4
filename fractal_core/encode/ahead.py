"""Work of a GPU that is started before the results of the last are taken, and transfers that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def one_ahead(begin: Callable[[Piece], Callable[[], Result]], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield the results of pieces of work in order; each piece has begun before the one in front of it is finished.

    Args:
        begin: starts a piece, and returns what waits for its end and gives its result.
        pieces: of the work.
    """
    finish: Callable[[], Result] | None = None
    for piece in pieces:
        begun = begin(piece)
        if finish is not None:
            yield finish()
        finish = begun
    if finish is not None:
        yield finish()


def sent(tensor: Tensor, device: str) -> Tensor:
    """Return a tensor of the CPU on a device; to a GPU it travels through pinned memory while the CPU goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device == "cuda" else tensor.to(device)


def fetched(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Start to bring a tensor to the CPU; what is returned waits until it is there, and gives it."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()

    def wait() -> np.ndarray:
        arrived.synchronize()
        return pinned.numpy().copy()  # pinned memory is scarce

    return wait
