"""Tables are written whole, and digests are of content."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.store import writing
from fractal_core.store.writing import TableWriter
from fractal_core.tables import TABLES, Column, Table

MIXED = Table(
    "mixed",
    "a row",
    (
        Column("key", pa.string(), "Key."),
        Column("number", pa.float64(), "Number.", nullable=True),
        Column("words", pa.list_(pa.string()), "Words.", nullable=True),
        Column("vector", None, "Vector."),
    ),
    ("key",),
)
ROWS = st.lists(
    st.tuples(
        st.text(max_size=5),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.lists(st.text(max_size=3), max_size=3),
        st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
    ),
    min_size=1,
    max_size=40,
)


def _table(rows):
    keys, numbers, words, vectors = zip(*rows, strict=True)
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "number": pa.array(numbers, pa.float64()),
            "words": pa.array(words, pa.list_(pa.string())),
            "vector": pa.array(vectors, pa.list_(pa.float32(), 2)),
        }
    )


def _write(path, pieces):
    writer = TableWriter(MIXED, path)
    for piece in pieces:
        writer.write(piece)
    return writer.close()


@settings(max_examples=50)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=5), group=st.integers(1, 7))
def test_bytes_do_not_depend_on_batches(tmp_path_factory, rows, cuts, group):
    """The same rows in any batches give the same digests and the same file, byte for byte."""
    folder = tmp_path_factory.mktemp("w")
    original, writing.GROUP_ROWS = writing.GROUP_ROWS, group
    try:
        table = _table(rows)
        edges = sorted({0, table.num_rows, *(c for c in cuts if c < table.num_rows)})
        pieces = [table.slice(a, b - a) for a, b in zip(edges, edges[1:], strict=False)]
        whole = _write(folder / "whole.parquet", [table])
        parts = _write(folder / "parts.parquet", pieces)
        assert parts.columns == whole.columns
        assert (folder / "parts.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
        assert pq.read_table(folder / "parts.parquet").to_pylist() == table.to_pylist()
    finally:
        writing.GROUP_ROWS = original


def test_digest_of_a_column_changes_with_it_alone(tmp_path):
    """A change in one column changes its digest and no other."""
    before = _write(tmp_path / "a.parquet", [_table([("a", 1.0, ["x"], [0, 1]), ("b", None, None, [1, 1])])])
    after = _write(tmp_path / "b.parquet", [_table([("a", 2.0, ["x"], [0, 1]), ("b", None, None, [1, 1])])])
    assert {name for name in after.columns if after.columns[name] != before.columns[name]} == {"number"}


def test_empty_table_is_written(tmp_path):
    """A table with no rows is a readable file with the declared columns."""
    entry = TableWriter(TABLES["rejects"], tmp_path / "rejects.parquet").close()
    assert entry.rows == 0
    assert pq.read_schema(tmp_path / "rejects.parquet").names == [c.name for c in TABLES["rejects"].columns]


def test_wrong_columns_are_an_error(tmp_path):
    """A stage cannot write columns that are not declared, nor in another order."""
    with pytest.raises(TypeError, match="declared are"):
        TableWriter(MIXED, tmp_path / "x.parquet").write(_table([("a", 1.0, None, [0, 0])]).select(["number", "key"]))


def test_null_in_a_column_without_nulls_is_an_error(tmp_path):
    """A null where the table declares none is a defect that is caught before anything is committed."""
    with pytest.raises(TypeError, match="key has nulls"):
        TableWriter(MIXED, tmp_path / "x.parquet").write(_table([(None, 1.0, None, [0, 0])]))
