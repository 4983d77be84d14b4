"""New sentences among the neighbours of those whose neighbours are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fractal_core.priors.occurrences import Candidates, Occurrences
from fractal_core.priors.similarity import SIMILARITY_ERROR, cosines_of_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fractal_core.priors.known_neighbours import Known
    from fractal_core.priors.sentences import Sentences

    Rows = NDArray[np.int64]

BLOCK_ROWS = 16_384
BLOCK_CELLS = 8_000_000


def neighbours_now(sentences: Sentences, known: Known) -> Iterator[tuple[Rows, NDArray[np.int32], NDArray[np.float32]]]:
    """Yield blocks of settled sentences that a new one may be near to, with their neighbours as they are now.

    Args:
        sentences: all of now.
        known: neighbours found earlier, by an exact search.

    Yields:
        [B] int64 sentences, [B, K] int32 neighbours, and [B, K] float32 similarities as in `Known`.
    """
    vectors, text, response = sentences
    fresh = np.unique(text[known.fresh])
    beside = vectors[fresh].T
    where = Occurrences(text, response, len(vectors))
    settled = where.order[known.settled[where.order]]
    last = known.similarities[:, -1] - SIMILARITY_ERROR
    step = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(len(fresh), 1)))
    for low in range(0, len(settled), step):
        block = settled[low : low + step]
        queries, query = np.unique(text[block], return_inverse=True)
        cosine = (vectors[queries] @ beside)[query]
        # Without a last neighbour (NaN) every other sentence is one.
        row, column = np.nonzero(~(cosine < last[block, None]))
        changed, owner = np.unique(row, return_inverse=True)
        block = block[changed]
        before, slot = np.nonzero(known.rows[block] >= 0)
        proposed = np.concatenate([fresh[column], text[known.rows[block][before, slot]]])
        once = np.unique(np.concatenate([owner, before]) * len(vectors) + proposed)
        owners, texts = once // len(vectors), once % len(vectors)
        pairs = Candidates(owners, texts, cosines_of_pairs(vectors, text[block][owners], texts))
        found, cosines, _ = where.nearest(pairs, response[block], known.rows.shape[1])
        yield block, found, cosines
