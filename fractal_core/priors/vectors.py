"""Distinct sentence texts and their embeddings: a text that occurs twice is one row of one matrix."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def distinct(column: pa.ChunkedArray[Any]) -> tuple[pa.Array[Any], NDArray[np.int64]]:
    """Return the distinct strings of a column in order of first appearance, and each row's number among them.

    Returns:
        A large_string array of length T, and [N] int64 in [0, T).
    """
    # 64-bit offsets: the texts of a large data set together exceed 2 GiB.
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def text_vectors(texts: pa.Array[Any], embeddings: Iterable[pa.RecordBatch]) -> NDArray[np.float32]:
    """Collect the embeddings of texts from table `embeddings`, scaled to length 1.

    Args:
        texts: T distinct strings.
        embeddings: batches with the columns text_hash (BLAKE2b-128 of the text in UTF-8) and vector.

    Returns:
        [T, D] float32; a zero vector stays zero.

    Raises:
        StoreError: a text has no embedding.
    """
    digests = [blake2b(str(text).encode(), digest_size=16).hexdigest() for text in texts.to_pylist()]
    hashes = pa.array(digests, pa.string())
    matrix: NDArray[np.float32] | None = None
    found = np.zeros(len(hashes), dtype=np.bool_)
    for batch in embeddings:
        place = pc.index_in(batch.column("text_hash"), value_set=hashes)
        wanted = place.is_valid()
        rows = place.filter(wanted).to_numpy(zero_copy_only=False)
        if len(rows) == 0:
            continue
        flat = pc.list_flatten(batch.column("vector").filter(wanted)).to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(rows), -1).astype(np.float64)
        if matrix is None:
            matrix = np.zeros((len(hashes), vectors.shape[1]), dtype=np.float32)
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
