"""Streams of tables hold a few row groups, however long the table."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fractal_core.store.artefact import Artefact
from fractal_core.text.columnar import parquet_rows

ROWS, WIDTH, GROUP = 40_000, 64, 2_000


@contextmanager
def given(path):
    """Takes the place of the check of an artefact's content."""
    yield path


@pytest.fixture
def path(tmp_path):
    """A table of 10 MB that cannot be compressed, in twenty row groups."""
    values = np.random.default_rng(0).integers(0, 256, ROWS * WIDTH * 4, dtype=np.uint8).view(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), WIDTH)
    pq.write_table(pa.table({"vector": vectors}), tmp_path / "t.parquet", row_group_size=GROUP)
    return tmp_path / "t.parquet"


def test_batches_hold_little(path, monkeypatch):
    """Never half of the table at once."""
    monkeypatch.setattr(Artefact, "_reading", lambda self, name: given(path))
    artefact = Artefact(SimpleNamespace(root=path.parent), "f", SimpleNamespace())
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in artefact.batches("t", ("vector",), GROUP):
        most = max(most, pa.total_allocated_bytes() - before)
        rows += batch.num_rows
    assert rows == ROWS
    assert most < ROWS * WIDTH * 4 / 2


def test_rows_of_an_input_file_hold_little(path):
    """The same of a file that responses are read from: a million of them need no more than a thousand."""
    before, most = pa.total_allocated_bytes(), 0
    for row in parquet_rows(path, ["vector"], lambda names: None):
        if row.line % 500 == 1:
            most = max(most, pa.total_allocated_bytes() - before)
    assert row.line == ROWS
    assert most < ROWS * WIDTH * 4 / 2
