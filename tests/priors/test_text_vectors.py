"""Distinct texts and the collection of their embeddings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.errors import StoreError
from fractal_core.priors.vectors import distinct, text_vectors


def key(text: str) -> str:
    """Hash a text as table embeddings does."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


@given(st.lists(st.lists(st.sampled_from(["a", "b", "", "é", "a "]), max_size=5), max_size=4))
def test_distinct_rebuilds_the_column(chunks: list[list[str]]) -> None:
    """Numbers lead back to the texts, in order of first appearance, over any chunks."""
    column = pa.chunked_array([pa.array(chunk, pa.string()) for chunk in chunks], pa.string())
    texts, number = distinct(column)
    flat = [text for chunk in chunks for text in chunk]
    assert texts.to_pylist() == list(dict.fromkeys(flat))
    assert [texts[int(i)].as_py() for i in number] == flat


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float32())])
def test_collects_what_is_asked_for(kind: pa.DataType, tmp_path: Path) -> None:
    """Vectors come in the order of the texts, over several batches, other texts are passed over, all have length 1."""
    vectors = {"one": [3.0, 4.0], "two": [0.0, 2.0], "query": [9.0, 9.0], "zéro": [0.0, 0.0]}
    rows = sorted((key(text), vector) for text, vector in vectors.items())
    table = pa.table({"text_hash": [row[0] for row in rows], "vector": pa.array([row[1] for row in rows], kind)})
    texts, file = pa.array(["two", "zéro", "one"]), tmp_path / "vectors.npy"
    actual = text_vectors(texts, table.to_batches(max_chunksize=1))
    np.testing.assert_allclose(actual, [[0, 1], [0, 0], [0.6, 0.8]], rtol=1e-6)
    assert actual.dtype == np.float32
    mapped = text_vectors(texts, table.to_batches(max_chunksize=1), file)
    assert isinstance(mapped, np.memmap)
    assert mapped.tobytes() == np.load(file).tobytes() == actual.tobytes()


def test_missing_embedding_is_an_error() -> None:
    """The message counts the missing texts and quotes the first."""
    batch = pa.record_batch({"text_hash": [key("a")], "vector": pa.array([[1.0]], pa.list_(pa.float32(), 1))})
    with pytest.raises(StoreError, match="2 of 3 distinct sentence texts .* 'b'"):
        text_vectors(pa.array(["a", "b", "c"]), [batch])
