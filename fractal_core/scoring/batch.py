"""The tables of a few responses, handed to the functions of the stages as their inputs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fractal_core.store.stage import EarlierResult, Predecessor


class BatchInputs:
    """`Inputs` in memory: tables by name, and the external files of the run. There is nothing earlier."""

    def __init__(self, tables: Mapping[str, pa.Table], sources: Mapping[str, list[Path]]) -> None:
        """Hold them."""
        self.tables = dict(tables)
        self._sources = sources

    def table(self, name: str) -> pa.Table:
        """Return a table."""
        return self.tables[name]

    def batches(self, name: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Stream a table."""
        yield from self.tables[name].to_batches(max_chunksize=rows)

    def rows(self, name: str) -> int:
        """Return the number of rows of a table."""
        return self.tables[name].num_rows

    def file(self, name: str) -> Path:
        """Raise a StoreError: a batch has no files of earlier stages."""
        raise StoreError(f"There is no file {name} of a batch of responses.")

    def sources(self, name: str) -> list[Path]:
        """Return external files."""
        return self._sources.get(name, [])

    def earlier(self) -> Sequence[EarlierResult]:
        """Return nothing."""
        return []

    def continued(self) -> Predecessor | None:
        """Return nothing."""
        return None
