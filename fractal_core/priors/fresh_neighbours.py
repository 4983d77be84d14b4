"""New sentences among the neighbours of those whose neighbours are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fractal_core.priors.occurrences import Candidates, Occurrences
from fractal_core.priors.similarity import SIMILARITY_ERROR, cosines_of_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fractal_core.priors.known_neighbours import Known
    from fractal_core.priors.sentences import Sentences

    Rows = NDArray[np.int64]
    Nearest = tuple[NDArray[np.int32], NDArray[np.float32]]

BLOCK_ROWS = 16_384
BLOCK_CELLS = 8_000_000


def neighbours_now(
    sentences: Sentences, known: Known, advance: Callable[[int], None]
) -> Iterator[tuple[Rows, NDArray[np.int32], NDArray[np.float32]]]:
    """Yield blocks of settled sentences that a new one may be near to, with their neighbours as they are now.

    Those are the nearest of the known ones and of the new sentences, and no others: however the known ones were found,
    the same come out whether the new sentences came at once or one after the other.

    Args:
        sentences: all of now.
        known: neighbours found earlier.
        advance: told how many sentences are finished.

    Yields:
        [B] int64 sentences, [B, K] int32 neighbours, and [B, K] float32 similarities as in `Known`.
    """
    vectors, text, response = sentences
    responses = int(response[-1]) + 1 if len(response) else 0
    where = Occurrences(text[known.fresh], response[known.fresh], len(vectors), responses)
    fresh = np.unique(text[known.fresh])
    beside = np.ascontiguousarray(vectors[fresh].T)
    settled = np.flatnonzero(known.settled)
    settled = settled[np.argsort(text[settled], kind="stable")]
    # Without a last neighbour (NaN) every new sentence is one.
    last = np.nan_to_num(known.similarities[:, -1], nan=-np.inf) - SIMILARITY_ERROR
    step = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(len(fresh), 1)))
    for low in range(0, len(settled), step):
        block = settled[low : low + step]
        queries, query = np.unique(text[block], return_inverse=True)
        cosine = vectors[queries] @ beside
        if len(queries) < len(block):
            cosine = cosine[query]
        row, column = np.divmod(np.flatnonzero(cosine >= last[block, None]), max(len(fresh), 1))
        changed, owner = np.unique(row, return_inverse=True)
        advance(len(block))
        block = block[changed]
        pairs = Candidates(owner, fresh[column], cosines_of_pairs(vectors, text[block][owner], fresh[column]))
        places, cosines, _ = where.nearest(pairs, response[block], known.rows.shape[1])
        rows = np.where(places >= 0, known.fresh[places], -1).astype(np.int32)
        yield block, *_nearer((known.rows[block], known.similarities[block]), (rows, cosines))


def _nearer(one: Nearest, other: Nearest) -> Nearest:
    """Return the K nearest of two times K, none of which is in both, by descending similarity, then row."""
    rows, similarities = (np.concatenate(both, axis=1) for both in zip(one, other, strict=True))
    order = np.lexsort((rows, np.where(rows < 0, np.inf, -similarities)))[:, : one[0].shape[1]]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(similarities, order, axis=1)
