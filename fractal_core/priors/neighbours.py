"""The nearest sentences of other responses.

FAISS proposes distinct texts; the order is then decided by similarities computed again in float64, so that ties and
rounding come out the same on every device. A row is settled when no text that FAISS did not propose could still come
before its last neighbour; the others are searched again, twice as deep, and in the end against everything. What an
earlier result knows is compared with the sentences that are new since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fractal_core.priors.fresh_neighbours import neighbours_now
from fractal_core.priors.known_neighbours import Known, nothing_known
from fractal_core.priors.occurrences import Candidates, Occurrences
from fractal_core.priors.similarity import SIMILARITY_ERROR, cosines_of_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.priors.index import Index
    from fractal_core.priors.sentences import Sentences

    Rows = NDArray[np.int64]

DEEPEST = 1024
GPU_DEEPEST = 2048
"""FAISS on a GPU returns no more than this many."""
BLOCK_ROWS = 16_384
BLOCK_PAIRS = 1_000_000
BLOCK_CELLS = 8_000_000


class Block(NamedTuple):
    """Sentences to be settled at once.

    Attributes:
        rows: [B] int64, sorted by text, so that they have few distinct ones.
        depth: how many texts the index proposes for each; 0 to compare with every text.
        final: whether what is found then is all there is to find.
    """

    rows: Rows
    depth: int
    final: bool


class Settled(NamedTuple):
    """What was found for the sentences of a block.

    Attributes:
        rows: [B, count] int32 sentences by descending cosine, then row order, -1 past the last candidate.
        similarities: [B, count] float32 their cosines in [-1, 1], NaN there.
        settled: [B] bool, whether no text that was not proposed could come before the last of them.
    """

    rows: NDArray[np.int32]
    similarities: NDArray[np.float32]
    settled: NDArray[np.bool_]


# Settles blocks in their order: in this process, or elsewhere.
Settle = Callable[["Iterator[Block]"], "Iterator[tuple[Block, Settled]]"]


def nearest_sentences(
    sentences: Sentences,
    count: int,
    index: Index,
    advance: Callable[[int], None] = lambda rows: None,
    settle: Settle | None = None,
    known: Known | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find each sentence's nearest sentences among the other responses, never its own.

    Args:
        sentences: N of them.
        count: neighbours wanted, at least 1.
        index: an index over their vectors; if it is exact, so are the neighbours.
        advance: told how many sentences are finished.
        settle: settles blocks as a `Search` over all this does; by default here.
        known: neighbours found earlier; only with an exact index.

    Returns:
        [N, count] int32 sentences by descending cosine, then row order, -1 past the last candidate; [N, count] float32
        cosines in [-1, 1], NaN there. Besides these and the vectors, memory is bounded by the block sizes.
    """
    known = known or nothing_known(len(sentences.text), count)
    rows, similarities = known.rows.copy(), known.similarities.copy()
    if len(sentences.text) == 0:
        return rows, similarities
    if known.settled.any():
        for changed, nearest, cosines in neighbours_now(sentences, known, advance):
            rows[changed], similarities[changed] = nearest, cosines
    if settle is None:
        settle = Search(sentences, count, index).settle
    pending: Rows = np.argsort(sentences.text, kind="stable")
    pending = pending[~known.settled[pending]]
    # Most of a sentence's nearest texts may be of its own response.
    sizes = np.unique(sentences.response, return_counts=True)[1]
    depth = count + 1 + min(64, int(np.quantile(sizes, 0.95)))
    deepest = max(DEEPEST, min(2 * count, GPU_DEEPEST))
    while len(pending):
        unsettled = []
        for block, found in settle(_blocks(pending, depth, deepest, count, index)):
            done = block.rows[found.settled]
            rows[done], similarities[done] = found.rows[found.settled], found.similarities[found.settled]
            unsettled.append(block.rows[~found.settled])
            advance(len(done))
        pending = np.concatenate(unsettled)
        depth *= 2
    return rows, similarities


def _blocks(pending: Rows, depth: int, deepest: int, count: int, index: Index) -> Iterator[Block]:
    """Cut sentences that are not settled, sorted by text, into blocks."""
    final = index.exact and depth >= index.size
    if final or depth <= min(deepest, index.size):
        depth = min(depth, index.size)
        step = max(1, min(BLOCK_ROWS, BLOCK_PAIRS // (depth + count)))
    else:
        depth, final, step = 0, True, max(1, BLOCK_CELLS // index.size)
    for low in range(0, len(pending), step):
        yield Block(pending[low : low + step], depth, final)


class Search:
    """Looks for the neighbours of some sentences among all."""

    def __init__(self, sentences: Sentences, count: int, index: Index) -> None:
        """Take what `nearest_sentences` takes; there is at least one sentence."""
        self._vectors, self._text, self._response = sentences
        self._count, self._index = count, index
        self._where = Occurrences(self._text, self._response, len(self._vectors), int(self._response[-1]) + 1)
        self._exclusive: tuple[Rows, Rows] | None = None

    def settle(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Settled]]:
        """Settle blocks one after the other."""
        for block in blocks:
            yield block, self.settled(block)

    def settled(self, block: Block) -> Settled:
        """Settle a block."""
        pairs, floor = self._proposed(block) if block.depth else self._exhaustive(block.rows)
        found, cosines, many = self._where.nearest(pairs, self._response[block.rows], self._count)
        enough = (many == self._count) & (cosines[:, -1] > floor + self._index.error)
        return Settled(found, cosines, enough | block.final)

    def _proposed(self, block: Block) -> tuple[Candidates, NDArray[np.float32]]:
        """Return the texts the index proposes, and the similarity above which it proposes all it can find."""
        queries, query = np.unique(self._text[block.rows], return_inverse=True)
        nearby, texts = self._index.search(self._vectors[queries], block.depth)
        real = texts >= 0
        cosine = np.zeros(texts.shape, dtype=np.float32)
        cosine[real] = cosines_of_pairs(
            self._vectors, np.broadcast_to(queries[:, None], texts.shape)[real], texts[real]
        )
        owner, slot = np.nonzero(real[query])
        chosen = query[owner]
        # A short list means that the lists searched hold no more.
        floor = np.where(real[:, -1], nearby[:, -1], np.float32(-np.inf))
        return Candidates(owner, texts[chosen, slot], cosine[chosen, slot]), floor[query]

    def _exhaustive(self, block: Rows) -> tuple[Candidates, NDArray[np.float32]]:
        """Return every text that can be among the nearest, found by comparing with all texts."""
        size = len(self._vectors)
        if self._exclusive is None:
            self._exclusive = self._where.exclusive()
        start, exclusive = self._exclusive
        text, response = self._text[block], self._response[block]
        cosine = self._vectors[text] @ self._vectors.T
        # Texts that occur nowhere but in the sentence's own response cannot be neighbours.
        first, many = start[response], start[response + 1] - start[response]
        owner = np.repeat(np.arange(len(block)), many)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(many) - many, many)
        cosine[owner, exclusive[first[owner] + within]] = -np.inf
        kth = max(0, size - self._count)
        bound = np.partition(cosine, kth, axis=1)[:, kth] - SIMILARITY_ERROR
        owner, texts = np.nonzero((cosine >= bound[:, None]) & (cosine > -np.inf))
        exact = cosines_of_pairs(self._vectors, text[owner], texts)
        return Candidates(owner, texts, exact), np.full(len(block), -np.inf, dtype=np.float32)
