"""Writing an artefact's tables: fixed row groups, and a content digest for every column.

The digest is of Arrow data, not of Parquet bytes, in blocks of fixed size: it does not depend on how the rows came in
batches, nor on the Parquet writer. A stage's inputs are digests of the columns it reads, so a change in a column
it does not read cannot make it stale.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.store.canonical import file_digest
from fractal_core.store.content import update_with_array
from fractal_core.store.manifest import FileEntry

if TYPE_CHECKING:
    from fractal_core.tables import Table

GROUP_ROWS = 16_384


class TableWriter:
    """Writes one table as one Parquet file, in row groups of GROUP_ROWS rows."""

    def __init__(self, table: Table, path: Path) -> None:
        """Start a table; the file is created with the first rows, or empty by `close`."""
        self._table = table
        self._path = path
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._rows = 0
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._digests = {column.name: hashlib.sha256() for column in table.columns}

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows; raises TypeError if columns or types are not the declared ones, or a null is not allowed."""
        block = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        if block.column_names != list(self._digests):
            raise TypeError(
                f"table {self._table.name}: columns {block.column_names}, declared are {list(self._digests)}"
            )
        if self._schema is None:
            self._schema = self._table.schema_like(block.schema)
        for column in self._table.columns:
            if not column.nullable and block.column(column.name).null_count:
                raise TypeError(
                    f"table {self._table.name}: column {column.name} has nulls, which it is declared not to"
                )
        block = block.cast(self._schema)
        self._pending.append(block)
        self._pending_rows += block.num_rows
        while self._pending_rows >= GROUP_ROWS:
            self._flush(GROUP_ROWS)

    def close(self) -> FileEntry:
        """Write what is left, flush it to disk, and return its entry for the manifest."""
        if self._schema is None:
            self.write(self._table.schema.empty_table())
        if self._pending_rows:
            self._flush(self._pending_rows)
        self._open().close()
        with self._path.open("rb+") as stream:
            os.fsync(stream.fileno())
        return FileEntry(
            name=self._path.name,
            bytes=self._path.stat().st_size,
            sha256=file_digest(self._path),
            rows=self._rows,
            columns={name: state.hexdigest() for name, state in self._digests.items()},
        )

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            assert self._schema is not None
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd", write_page_checksum=True)
        return self._writer

    def _flush(self, rows: int) -> None:
        pending = pa.concat_tables(self._pending)
        block = pending.slice(0, rows).combine_chunks()
        rest = pending.slice(rows)
        self._pending, self._pending_rows = ([rest] if rest.num_rows else []), rest.num_rows
        for name, state in self._digests.items():
            update_with_array(state, block.to_batches()[0].column(name))
        self._open().write_table(block, row_group_size=rows)
        self._rows += rows
