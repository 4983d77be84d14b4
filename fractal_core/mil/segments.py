"""Ragged bags: sentences of many responses in one flat tensor, reduced and expanded without a loop over responses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def concatenated_ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """Return start, start + 1, ..., start + length - 1 for every pair, one after the other.

    Args:
        starts: int64 [B].
        lengths: int64 [B], 0 or more.

    Returns:
        int64 [sum of lengths].
    """
    before = lengths.cumsum(0) - lengths
    shift = torch.repeat_interleave(starts - before, lengths)
    return shift + torch.arange(shift.shape[0], device=shift.device)


@dataclass(frozen=True, eq=False)
class Segments:
    """B bags of consecutive sentences; bag b holds sentences offsets[b] to offsets[b + 1] - 1.

    Values have any leading dimensions and the sentences (N) or bags (B) in the last one. All reductions are
    deterministic on the CPU: a bag's result does not depend on the other bags it is computed with.

    Args:
        offsets: int64 [B + 1], from 0, strictly increasing (no empty bag). B = 0 is allowed.

    Raises:
        ValueError: if the offsets are anything else; the message names the first bag at fault.
    """

    offsets: Tensor

    def __post_init__(self) -> None:
        """Check the offsets."""
        offsets = self.offsets
        if offsets.dtype != torch.int64 or offsets.dim() != 1 or offsets.shape[0] == 0:
            raise ValueError(
                f"Offsets must be a non-empty int64 vector, but are {offsets.dtype} of shape {tuple(offsets.shape)}."
            )
        if int(offsets[0]) != 0:
            raise ValueError(f"Offsets must start at 0, but start at {int(offsets[0])}.")
        bad = torch.nonzero(self.sizes < 1).flatten()
        if bad.shape[0]:
            bag = int(bad[0])
            raise ValueError(
                f"Every bag needs a sentence, but {bad.shape[0]} have none, first bag {bag} "
                f"(offsets {int(offsets[bag])} to {int(offsets[bag + 1])}): leave such responses out."
            )

    @classmethod
    def from_sizes(cls, sizes: Tensor) -> Segments:
        """Return bags of the given sizes (integer [B], each 1 or more; ValueError otherwise)."""
        sizes = sizes.to(torch.int64)
        return cls(torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))

    @cached_property
    def sizes(self) -> Tensor:
        """Number of sentences of each bag, int64 [B]."""
        return self.offsets[1:] - self.offsets[:-1]

    @cached_property
    def ids(self) -> Tensor:
        """Bag of each sentence, int64 [N]."""
        return torch.repeat_interleave(torch.arange(self.count, device=self.offsets.device), self.sizes)

    @property
    def count(self) -> int:
        """Number of bags, B."""
        return self.offsets.shape[0] - 1

    @cached_property
    def total(self) -> int:
        """Number of sentences, N."""
        return int(self.offsets[-1])

    def to(self, device: torch.device | str) -> Segments:
        """Return the same bags with their offsets on `device`."""
        return Segments(self.offsets.to(device))

    def sum(self, values: Tensor) -> Tensor:
        """Sum over each bag's sentences: [..., N] -> [..., B], same dtype."""
        self._check(values, self.total, "sentences")
        return values.new_zeros(*values.shape[:-1], self.count).index_add(-1, self.ids, values)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each bag's sentences: floating [..., N] -> [..., B], same dtype."""
        return self.sum(values) / self.sizes.to(values.dtype)

    def minimum(self, values: Tensor) -> Tensor:
        """Smallest value of each bag: [..., N] -> [..., B]; the gradient reaches only the sentence `argmin` names."""
        return values.gather(-1, self.argmin(values))

    def maximum(self, values: Tensor) -> Tensor:
        """Largest value of each bag: [..., N] -> [..., B]; the gradient reaches only the sentence `argmax` names."""
        return values.gather(-1, self.argmax(values))

    def argmin(self, values: Tensor) -> Tensor:
        """Index into N of each bag's smallest value, the first of equals (a NaN counts as smallest): int64 [..., B]."""
        return self._first_extreme(values, "min")

    def argmax(self, values: Tensor) -> Tensor:
        """Index into N of each bag's largest value, the first of equals (a NaN counts as largest): int64 [..., B]."""
        return self._first_extreme(values, "max")

    def logsumexp(self, values: Tensor) -> Tensor:
        """Log of the sum of exponentials over each bag's sentences: floating [..., N] -> [..., B].

        Does not overflow; a bag of nothing but -inf gives -inf, with gradient 0.
        """
        peak = self._extreme(values.detach(), "max")
        peak = torch.where(torch.isinf(peak), torch.zeros_like(peak), peak)
        total = self.sum(torch.exp(values - self.expand(peak)))
        empty = total == 0
        logarithm = torch.log(torch.where(empty, torch.ones_like(total), total)) + peak
        return logarithm.masked_fill(empty, -torch.inf)

    def expand(self, values: Tensor) -> Tensor:
        """Give every sentence its bag's value: [..., B] -> [..., N]."""
        self._check(values, self.count, "bags")
        return values.index_select(-1, self.ids)

    def rank_descending(self, values: Tensor) -> Tensor:
        """Place in its bag by descending value, from 0, equals by position: [..., N] -> int64 [..., N]."""
        self._check(values, self.total, "sentences")
        order = torch.sort(values.detach(), dim=-1, descending=True, stable=True).indices
        order = order.gather(-1, torch.sort(self.ids[order], dim=-1, stable=True).indices)
        # Sorted by bag, each bag's sentences fill its own range again, so a place in that range is a rank.
        place = torch.arange(self.total, device=values.device) - self.expand(self.offsets[:-1])
        return torch.empty_like(order).scatter(-1, order, place.expand(order.shape))

    def select(self, bag_indices: Tensor) -> tuple[Tensor, Segments]:
        """Take some bags, in the given order, as a mini-batch.

        Args:
            bag_indices: int64 [b], 0 to B - 1; a bag may come more than once.

        Returns:
            The indices into N of the bags' sentences, and the Segments of the bags taken.
        """
        sizes = self.sizes[bag_indices]
        return concatenated_ranges(self.offsets[bag_indices], sizes), Segments.from_sizes(sizes)

    def _first_extreme(self, values: Tensor, reduction: str) -> Tensor:
        self._check(values, self.total, "sentences")
        values = values.detach()
        rows = values.reshape(values.shape[:-1].numel(), self.total)
        extreme = self._extreme(rows, reduction).index_select(-1, self.ids)
        # A NaN equals nothing; naming it here lets it reach the result instead of an index out of range.
        row, position = torch.nonzero((rows == extreme) | torch.isnan(rows), as_tuple=True)
        # They come in order of row and position, so the first of each bag follows one of another bag.
        bag = self.ids[position] + row * self.count
        first = torch.ones_like(bag, dtype=torch.bool)
        first[1:] = bag[1:] != bag[:-1]
        return position[first].reshape(*values.shape[:-1], self.count)

    def _extreme(self, values: Tensor, reduction: str) -> Tensor:
        """Return each bag's "min" or "max", NaN if a value of it is: [..., N] -> [..., B]."""
        self._check(values, self.total, "sentences")
        if not values.is_floating_point():  # segment_reduce is several times as fast, but takes nothing else.
            start = values.new_zeros(*values.shape[:-1], self.count)
            return start.scatter_reduce(-1, self.ids.expand(values.shape), values, f"a{reduction}", include_self=False)
        # Laid out anew, since it reads by strides, which may be anything where a dimension has size 1.
        rows = values.reshape(-1).reshape(values.shape[:-1].numel(), self.total)
        sizes = self.sizes.expand(len(rows), -1).reshape(-1).reshape(len(rows), self.count)
        extreme = torch.segment_reduce(rows, reduction, lengths=sizes, axis=1, unsafe=True)
        return extreme.reshape(*values.shape[:-1], self.count)

    def _check(self, values: Tensor, expected: int, what: str) -> None:
        if values.dim() == 0 or values.shape[-1] != expected:
            raise ValueError(
                f"The last dimension must be the {expected} {what}, but the values have shape {tuple(values.shape)}."
            )
