"""Batches of texts of like length: padding is wasted arithmetic, and unsorted batches cost twice the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of texts in batches of at most `batch_tokens` padded tokens, shortest texts first.

    Every index comes exactly once; texts of equal length keep their order; a text longer than `batch_tokens` is a
    batch of its own.

    Args:
        lengths: tokens of each text, special tokens included.
        batch_tokens: most tokens in a batch, padding included.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
