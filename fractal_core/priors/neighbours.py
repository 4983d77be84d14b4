"""The nearest sentences of other responses.

FAISS proposes distinct texts; the order is then decided by similarities computed again in float64, so that ties and
rounding come out the same on every device. A row is settled when no text that FAISS did not propose could still come
before its last neighbour; the others are searched again, twice as deep, and in the end against everything. What an
earlier result knows is compared with the sentences that are new since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.priors.fresh_neighbours import neighbours_now
from fractal_core.priors.index import SIMILARITY_ERROR
from fractal_core.priors.known_neighbours import Known, nothing_known
from fractal_core.priors.occurrences import Candidates, Occurrences
from fractal_core.priors.similarity import cosines_of_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.priors.index import Index

    Rows = NDArray[np.int64]

DEEPEST = 1024
GPU_DEEPEST = 2048
"""FAISS on a GPU returns no more than this many."""
BLOCK_ROWS = 16_384
BLOCK_PAIRS = 1_000_000
BLOCK_CELLS = 8_000_000


def nearest_sentences(
    vectors: NDArray[np.float32],
    text: NDArray[np.int64],
    response: NDArray[np.int64],
    count: int,
    index: Index,
    advance: Callable[[int], None] = lambda rows: None,
    known: Known | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find each sentence's nearest sentences among the other responses, never its own.

    Args:
        vectors: [T, D] float32 of length 1, one a distinct text.
        text: [N] int64, the distinct text of each sentence.
        response: [N] int64, non-decreasing: the response of each sentence.
        count: neighbours wanted, at least 1.
        index: an index over `vectors`; if it is exact, so are the neighbours.
        advance: told how many sentences are finished.
        known: neighbours found earlier; only with an exact index.

    Returns:
        [N, count] int32 sentences by descending cosine, then row order, -1 past the last candidate; [N, count] float32
        cosines in [-1, 1], NaN there. Besides these and `vectors`, memory is bounded by the block sizes.
    """
    known = known or nothing_known(len(text), count)
    rows, similarities = known.rows.copy(), known.similarities.copy()
    if len(text) == 0:
        return rows, similarities
    where = Occurrences(text, response, len(vectors))
    if known.settled.any():
        for block, found, cosines in neighbours_now(vectors, text, response, known):
            rows[block], similarities[block] = found, cosines
        advance(int(known.settled.sum()))
    pending = where.order[~known.settled[where.order]]
    # Most of a sentence's nearest texts may be of its own response.
    sizes = np.unique(response, return_counts=True)[1]
    depth = count + 1 + min(64, int(np.quantile(sizes, 0.95)))
    deepest = max(DEEPEST, min(2 * count, GPU_DEEPEST))
    while len(pending):
        complete = index.exact and depth >= index.size
        if complete or depth <= min(deepest, index.size):
            blocks = _proposed(vectors, text, pending, min(depth, index.size), count, index)
        else:
            complete = True
            blocks = _exhaustive(vectors, text, response, pending, count, where)
        unsettled = []
        for block, pairs, floor in blocks:
            found, cosines, many = where.nearest(pairs, response[block], count)
            settled = complete | ((many == count) & (cosines[:, -1] > floor + index.error))
            rows[block[settled]], similarities[block[settled]] = found[settled], cosines[settled]
            unsettled.append(block[~settled])
            advance(int(settled.sum()))
        pending = np.concatenate(unsettled)
        depth *= 2
    return rows, similarities


Block = tuple["Rows", Candidates, "NDArray[np.float32]"]


def _proposed(
    vectors: NDArray[np.float32], text: Rows, pending: Rows, depth: int, count: int, index: Index
) -> Iterator[Block]:
    """Yield blocks of rows, the texts the index proposes, and the similarity above which it proposes all it can find.

    `pending` is sorted by text, so a block has few distinct ones.
    """
    step = max(1, min(BLOCK_ROWS, BLOCK_PAIRS // (depth + count)))
    for low in range(0, len(pending), step):
        block = pending[low : low + step]
        queries, query = np.unique(text[block], return_inverse=True)
        nearby, texts = index.search(vectors[queries], depth)
        real = texts >= 0
        cosine = np.zeros(texts.shape, dtype=np.float32)
        cosine[real] = cosines_of_pairs(vectors, np.broadcast_to(queries[:, None], texts.shape)[real], texts[real])
        owner, slot = np.nonzero(real[query])
        chosen = query[owner]
        # A short list means that the lists searched hold no more.
        floor = np.where(real[:, -1], nearby[:, -1], np.float32(-np.inf))
        yield block, Candidates(owner, texts[chosen, slot], cosine[chosen, slot]), floor[query]


def _exhaustive(
    vectors: NDArray[np.float32], text: Rows, response: Rows, pending: Rows, count: int, where: Occurrences
) -> Iterator[Block]:
    """Yield blocks of rows with every text that can be among their nearest, found by comparing with all texts."""
    size = len(vectors)
    start, exclusive = where.exclusive(int(response[-1]) + 1)
    step = max(1, BLOCK_CELLS // size)
    for low in range(0, len(pending), step):
        block = pending[low : low + step]
        cosine = vectors[text[block]] @ vectors.T
        # Texts that occur nowhere but in the sentence's own response cannot be neighbours.
        first, many = start[response[block]], start[response[block] + 1] - start[response[block]]
        owner = np.repeat(np.arange(len(block)), many)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(many) - many, many)
        cosine[owner, exclusive[first[owner] + within]] = -np.inf
        kth = max(0, size - count)
        bound = np.partition(cosine, kth, axis=1)[:, kth] - SIMILARITY_ERROR
        owner, texts = np.nonzero((cosine >= bound[:, None]) & (cosine > -np.inf))
        exact = cosines_of_pairs(vectors, text[block][owner], texts)
        yield block, Candidates(owner, texts, exact), np.full(len(block), -np.inf, dtype=np.float32)
