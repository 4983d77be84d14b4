"""Who reads the batches of an encoder in training: one process, or several that hold the same weights.

Whatever their number, the gradient is the sum of the same batches' gradients in the same order. That is why it is not
left to DistributedDataParallel: its all-reduce adds up what each process has summed, so that float32 rounds otherwise
with each number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

Batches = Sequence[Tensor]


class Team(Protocol):
    """The processes; all of them call the same methods in the same order, with equal arguments."""

    def share(self, batches: Batches, read: Callable[[Tensor], Tensor], width: int) -> list[Tensor]:
        """Return the vectors of every batch, float32 [b, width], without gradient; each is read by one process."""

    def accumulate(
        self, parameters: Sequence[torch.nn.Parameter], batches: Batches, backward: Callable[[Tensor], None]
    ) -> None:
        """Make the sum of the batches' gradients the gradient of parameters that have none yet.

        Args:
            parameters: of the encoder.
            batches: in the order in which their gradients are added.
            backward: adds the gradient of a batch to the parameters.
        """


class Alone:
    """This process."""

    def share(self, batches: Batches, read: Callable[[Tensor], Tensor], width: int) -> list[Tensor]:
        """See `Team`."""
        del width
        return [read(batch) for batch in batches]

    def accumulate(
        self, parameters: Sequence[torch.nn.Parameter], batches: Batches, backward: Callable[[Tensor], None]
    ) -> None:
        """See `Team`."""
        del parameters
        for batch in batches:
            backward(batch)


class Ranks:
    """The processes of torch.distributed's default group, of which this is one."""

    def __init__(self, device: torch.device) -> None:
        """Take part.

        Args:
            device: of the encoder, which the group's backend can send from.
        """
        self._rank, self._world, self._device = dist.get_rank(), dist.get_world_size(), device

    def share(self, batches: Batches, read: Callable[[Tensor], Tensor], width: int) -> list[Tensor]:
        """See `Team`."""
        mine = {number: read(batches[number]) for number in range(self._rank, len(batches), self._world)}
        found = []
        for number, batch in enumerate(batches):
            vectors = mine[number] if number in mine else torch.empty(len(batch), width, device=self._device)
            dist.broadcast(vectors, src=number % self._world)
            found.append(vectors)
        return found

    def accumulate(
        self, parameters: Sequence[torch.nn.Parameter], batches: Batches, backward: Callable[[Tensor], None]
    ) -> None:
        """See `Team`. Each process takes neighbouring batches; the sum goes from one to the next, and then to all."""
        if not batches:
            return
        first, end = (-(-rank * len(batches) // self._world) for rank in (self._rank, self._rank + 1))
        made = []
        for batch in batches[first:end]:
            for parameter in parameters:
                parameter.grad = None
            backward(batch)
            made.append([parameter.grad for parameter in parameters])
        # A pooler that is not used has no gradient, and must not get one: its weights would decay.
        used = torch.zeros(len(parameters), dtype=torch.uint8, device=self._device)
        if self._rank == 0:
            used = torch.tensor([each is not None for each in made[0]], dtype=torch.uint8, device=self._device)
        dist.broadcast(used, src=0)
        trained = [parameter for parameter, mark in zip(parameters, used.tolist(), strict=True) if mark]
        sizes = [parameter.numel() for parameter in trained]
        last = min(len(batches), self._world) - 1
        total = self._summed([_flat(gradients) for gradients in made], sum(sizes), last)
        dist.broadcast(total, src=last)
        for parameter, part in zip(trained, torch.split(total, sizes), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def _summed(self, made: list[Tensor], size: int, last: int) -> Tensor:
        """Add this process's gradients to those of the batches before, and hand the sum on up to the last that has any.

        Returns:
            The sum, float32 [size]; anything if this process has no batch.
        """
        if not made:
            return torch.empty(size, device=self._device)
        if self._rank:
            total = torch.empty(size, device=self._device)
            dist.recv(total, src=self._rank - 1)
        else:
            total = made.pop(0)
        for gradient in made:
            total += gradient
        if self._rank < last:
            dist.send(total, dst=self._rank + 1)
        return total


def _flat(gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])
