"""Priors of many sentences computed by other processes, which find the vectors and the index in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fractal_core.priors.correlation import BLOCK_ROWS, response_blocks, response_correlation
from fractal_core.priors.index import build_index, save_index, saved_index
from fractal_core.priors.neighbours import Block, Search, Settled
from fractal_core.priors.sentences import Sentences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.engine import Advance, Do, Parcel
    from fractal_core.priors.index import Index
    from fractal_core.store.stage import Runtime

# Blocks of sentences that are correlated in one shard.
_BLOCKS_A_SHARD = 8


class Apart:
    """Correlation and neighbours by the processes of an engine."""

    def __init__(self, sentences: Sentences, file: Path, runtime: Runtime, scratch: Callable[[str], Path]) -> None:
        """Take sentences with vectors mapped from a file, of which other processes read the parts that they need."""
        self._vectors, self._runtime, self._scratch = file, runtime, scratch
        self._rounds = counting()
        mapped, self._text, self._response = sentences
        if isinstance(mapped, np.memmap):
            mapped.flush()

    def correlation(self) -> NDArray[np.float32]:
        """Return what `response_correlation` returns."""
        text, response = self._text, self._response
        blocks = list(response_blocks(response, BLOCK_ROWS))

        def shards() -> Iterator[tuple[None, Parcel]]:
            for first in range(0, len(blocks), _BLOCKS_A_SHARD):
                # Cut where blocks are cut in one process, so that sums are of the same rows.
                part = slice(blocks[first][0], blocks[min(first + _BLOCKS_A_SHARD, len(blocks)) - 1][1])
                yield None, {"text": text[part], "response": response[part]}

        made = [found["correlation"] for _, found in self._deal(correlating, {}, shards(), "correlate")]
        return np.concatenate([*made, np.zeros(0, dtype=np.float32)])

    def settling(
        self, sentences: Sentences, count: int, index: Index
    ) -> Callable[[Iterable[Block]], Iterator[tuple[Block, Settled]]]:
        """Return what settles blocks of all sentences or of leading ones, see `nearest_sentences`."""
        graph = self._scratch("index.faiss").resolve()
        if index.graph is not None:
            save_index(index, graph)
        common = {
            "texts": len(sentences.vectors), "text": sentences.text, "response": sentences.response, "count": count,
            "graph": "" if index.graph is None else str(graph),
        }  # fmt: skip

        def settle(blocks: Iterable[Block]) -> Iterator[tuple[Block, Settled]]:
            shards = ((block, block._asdict()) for block in blocks)
            for block, found in self._deal(settling, common, shards, f"neighbours-{next(self._rounds)}"):
                yield block, Settled(**{name: found[name] for name in Settled._fields})

        return settle

    def _deal(self, work: Any, common: Parcel, shards: Any, name: str) -> Iterator[tuple[Any, Parcel]]:
        common = {**common, "vectors": str(self._vectors)}
        return self._runtime.engine.deal(self._runtime, work, common, shards, self._scratch(name))


def correlating(common: Parcel, runtime: Runtime) -> Do:
    """Return what computes the `correlation` of sentences with the others of their responses."""
    del runtime
    return partial(_correlate, _mapped(common))


def _correlate(vectors: NDArray[np.float32], shard: Parcel, advance: Advance) -> Parcel:
    del advance
    return {"correlation": response_correlation(Sentences(vectors, shard["text"], shard["response"]))}


def settling(common: Parcel, runtime: Runtime) -> Do:
    """Return what settles a block of sentences, see `nearest_sentences`."""
    vectors = _mapped(common)[: common["texts"]]
    index = (
        saved_index(Path(common["graph"])) if common["graph"] else build_index(vectors, "flat", device=runtime.device)
    )
    sentences = Sentences(vectors, common["text"], common["response"])
    return partial(_settle, Search(sentences, common["count"], index))


def _settle(search: Search, shard: Parcel, advance: Advance) -> Parcel:
    del advance
    return search.settled(Block(**shard))._asdict()


def _mapped(common: Parcel) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(common["vectors"], mmap_mode="r", allow_pickle=False)
    return found
