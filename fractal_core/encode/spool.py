"""Pooled vectors on their way to table `embeddings`: spooled to disk as they come, read back sorted by text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from fractal_core.store.stage import EarlierResult

_BATCH_ROWS = 16_384


def text_hash(text: str) -> str:
    """Return BLAKE2b-128 of a text in UTF-8, in hexadecimal: the key of table `embeddings`."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class VectorSpool:
    """Appends vectors to a file; only their hashes are held in memory."""

    def __init__(self, path: Path, dimensions: int) -> None:
        """Open an empty spool at `path` for float32 vectors of the given width."""
        self._path = path
        self._dimensions = dimensions
        self._hashes: list[str] = []
        self._stream = path.open("wb")

    def append(self, key: str, vector: np.ndarray) -> None:
        """Add the vector of a text that was not added before.

        Args:
            key: its `text_hash`.
            vector: float32 [dimensions].
        """
        self._hashes.append(key)
        self._stream.write(np.ascontiguousarray(vector, dtype=np.float32).tobytes())

    def take(self, earlier: Sequence[EarlierResult], wanted: set[str]) -> int:
        """Add the vectors of texts that earlier results have.

        Args:
            earlier: artefacts with table `embeddings`.
            wanted: hashes of texts, added or not.

        Returns:
            How many were added.

        Raises:
            StoreError: if a vector is nowhere.
        """
        left = wanted - set(self._hashes)
        count = len(left)
        for result in earlier:
            if not left:
                break
            for batch in result.batches("embeddings", ("text_hash", "vector"), _BATCH_ROWS):
                hashes = batch.column("text_hash").to_pylist()
                flat = pc.list_flatten(batch.column("vector")).to_numpy(zero_copy_only=False).reshape(len(hashes), -1)
                for row, key in enumerate(hashes):
                    if key in left:
                        self.append(key, flat[row])
                        left.discard(key)
        if left:
            raise StoreError(
                f"{len(left):,} texts of sentences that were compared before have no vector in the earlier results; "
                "run again with --force embed."
            )
        return count

    def sorted_batches(self, rows: int = 16_384) -> Iterator[tuple[list[str], np.ndarray]]:
        """Close the spool and yield its hashes, in order, with their vectors, float32 [at most rows, dimensions]."""
        self._stream.close()
        if not self._hashes:
            return
        vectors = np.memmap(self._path, dtype=np.float32, mode="r", shape=(len(self._hashes), self._dimensions))
        order = np.argsort(np.array(self._hashes), kind="stable")
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            yield [self._hashes[index] for index in chosen], vectors[chosen]
