"""Distinct sentence texts and their embeddings: a text that occurs twice is one row of one matrix."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.format import open_memmap

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_ROWS_AT_ONCE = 8_192
"""Vectors are held in float64, several times, while they are scaled."""
_HASH_LETTERS = 32


def distinct(column: pa.ChunkedArray[Any]) -> tuple[pa.Array[Any], NDArray[np.int64]]:
    """Return the distinct strings of a column in order of first appearance, and each row's number among them.

    Returns:
        A large_string array of length T, and [N] int64 in [0, T).
    """
    # 64-bit offsets: the texts of a large data set together exceed 2 GiB.
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def text_vectors(
    texts: pa.Array[Any], embeddings: Iterable[pa.RecordBatch], file: Path | None = None
) -> NDArray[np.float32]:
    """Collect the embeddings of texts from table `embeddings`, scaled to length 1.

    Args:
        texts: T distinct strings.
        embeddings: batches with the columns text_hash (BLAKE2b-128 of the text in UTF-8) and vector.
        file: where to write them, as `numpy.save` does, and map them from, if there is any; in memory without it.

    Returns:
        [T, D] float32; a zero vector stays zero.

    Raises:
        StoreError: a text has no embedding.
        OSError: there is no room for the file.
    """
    keys = _hashes(texts)
    order = np.argsort(keys, kind="stable")
    matrix: NDArray[np.float32] | None = None
    found = np.zeros(len(keys), dtype=np.bool_)
    for batch in _in_pieces(embeddings):
        place, wanted = _places(batch.column("text_hash"), keys, order)
        rows = place[wanted]
        if len(rows) == 0:
            continue
        flat = pc.list_flatten(batch.column("vector").filter(pa.array(wanted))).to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(rows), -1).astype(np.float64)
        if matrix is None:
            shape = (len(keys), vectors.shape[1])
            matrix = np.zeros(shape, np.float32) if file is None else _mapped(file, shape)
        length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        matrix[rows] = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        found[rows] = True
    if not found.all():
        first = texts[int(np.argmin(found))].as_py()
        message = (
            f"{int((~found).sum())} of {len(found)} distinct sentence texts have no row in table embeddings, the first "
            f"being {first[:60]!r}; run again with --force embed."
        )
        raise StoreError(message)
    return matrix if matrix is not None else np.zeros((0, 1), dtype=np.float32)


def _mapped(file: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Map a new file of zeros."""
    matrix: NDArray[np.float32] = open_memmap(file, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        # Without room of its own a full disk would end the process by a signal, at the first number written.
        with file.open("r+b") as room:
            os.posix_fallocate(room.fileno(), 0, file.stat().st_size)
    return matrix


def _in_pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for low in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield batch.slice(low, _ROWS_AT_ONCE)


def _hashes(texts: pa.Array[Any]) -> NDArray[np.bytes_]:
    """Return the keys of texts in table embeddings, [T] of 32 bytes."""
    result = np.empty(len(texts), dtype=f"S{_HASH_LETTERS}")
    for low in range(0, len(texts), _ROWS_AT_ONCE):
        part = texts.slice(low, _ROWS_AT_ONCE).to_pylist()
        result[low : low + _ROWS_AT_ONCE] = [blake2b(str(text).encode(), digest_size=16).hexdigest() for text in part]
    return result


def _places(
    column: pa.Array[Any], keys: NDArray[np.bytes_], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each hash of a column is among keys, and whether it is; `order` sorts the keys."""
    names = column.to_numpy(zero_copy_only=False).astype(keys.dtype)
    if len(keys) == 0:
        return np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.bool_)
    at = np.searchsorted(keys, names, sorter=order)
    place: NDArray[np.int64] = order[np.minimum(at, len(keys) - 1)]
    return place, keys[place] == names
