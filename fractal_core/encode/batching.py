"""Batches of texts of like length: padding is wasted arithmetic, and unsorted batches cost twice the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


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


class FixedBatch(NamedTuple):
    """Texts to be read at once as a matrix of `rows` texts of `width` tokens, however many texts there are.

    Attributes:
        indices: of the texts, at most `rows`.
        rows: of the matrix; what the texts leave over is filled up.
        width: tokens of each row, padding included.
    """

    indices: list[int]
    rows: int
    width: int


def fixed_batches(lengths: Sequence[int], batch_tokens: int, most_tokens: int, step: int = 8) -> Iterator[FixedBatch]:
    """Yield batches whose shape follows from the length of a text alone, shortest texts first.

    A matrix product rounds by its shape, so a text that is always read in a matrix of the same shape always gets the
    same vector to the last bit, whatever is read beside it: rows can be computed apart, or again, and put together.

    Args:
        lengths: tokens of each text, special tokens included, at most `most_tokens`.
        batch_tokens: about the tokens of a matrix; one row at least.
        most_tokens: longest text that the encoder takes.
        step: widths are multiples of it.
    """
    by_width: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_width.setdefault(min(most_tokens, max(1, -(-length // step)) * step), []).append(index)
    for width, indices in sorted(by_width.items()):
        rows = max(1, batch_tokens // width)
        for start in range(0, len(indices), rows):
            yield FixedBatch(indices[start : start + rows], rows, width)
