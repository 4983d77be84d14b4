"""The correlation prior: how alike a sentence is to the other sentences of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fractal_core.priors.sentences import Sentences

# Sentences held at once.
BLOCK_ROWS = 8192


def response_correlation(sentences: Sentences, block_rows: int = BLOCK_ROWS) -> NDArray[np.float32]:
    """Return the mean of (1 + Pearson) / 2 with the other sentences of the response: P2 of the FRACTAL paper, averaged.

    Pearson's coefficient is over embedding dimensions. With u the centred vector scaled to length 1, the coefficients
    of sentence i with the others of response B sum to u_i . (sum_B u - u_i), so the work is linear in sentences.

    Args:
        sentences: N sentences; their vectors may have any length.
        block_rows: sentences held at once; a larger response is held whole.

    Returns:
        [N] float32 in [0, 1], NaN for the only sentence of a response. A constant vector, for which Pearson's
        coefficient is undefined, counts as uncorrelated (0.5).
    """
    vectors, text, response = sentences
    result = np.full(len(text), np.nan, dtype=np.float32)
    bounds = _bounds(response)
    for first, last in _blocks(bounds, block_rows):
        low, high = bounds[first], bounds[last]
        units = _standard(vectors[text[low:high]])
        sizes = np.diff(bounds[first : last + 1])
        sums = np.repeat(np.add.reduceat(units, bounds[first:last] - low, axis=0), sizes, axis=0)
        others = np.repeat(sizes - 1, sizes)
        total = np.einsum("nd,nd->n", units, sums - units)
        mean = np.divide(total, others, out=np.full(len(total), np.nan), where=others > 0)
        result[low:high] = np.clip((1.0 + mean) / 2.0, 0.0, 1.0)
    return result


def response_blocks(response: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of the sentences that are held at once, of so many rows at most or one larger response.

    Args:
        response: [N] int64, non-decreasing: the response of each sentence.
        rows: at most so many, if no response has more.
    """
    bounds = _bounds(response)
    for first, last in _blocks(bounds, rows):
        yield int(bounds[first]), int(bounds[last])


def _bounds(response: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each response begins, and the end."""
    if len(response) == 0:
        return np.zeros(1, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, response[1:] != response[:-1]])
    return np.append(starts, len(response))


def _blocks(bounds: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of whole responses of at most `rows` sentences, or one larger response."""
    first, count = 0, len(bounds) - 1
    while first < count:
        last = int(np.searchsorted(bounds, bounds[first] + rows, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _standard(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre each vector over its dimensions and scale it to length 1; a constant vector becomes 0."""
    units = vectors.astype(np.float64)
    size = np.abs(units).max(axis=1, keepdims=True)
    units -= units.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("nd,nd->n", units, units))[:, None]
    # What is left of a constant vector after centring is rounding, not direction.
    scaled: NDArray[np.float64] = np.divide(units, length, out=np.zeros_like(units), where=length > 1e-9 * size)
    return scaled
