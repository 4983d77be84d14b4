"""One Parquet file a split, written as the rows come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fractal_core.text.splits import SPLITS

# The same row groups, and so the same bytes, however the rows come in batches.
GROUP_ROWS = 8_192


class SplitFiles:
    """Files of some rows each: those of a split go to the file of that split, in the order in which they come."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        """Write the rows of a split to `path_of(split)`; use as a context manager, which ends the files."""
        self._path_of = path_of
        self._waiting: dict[str, list[pa.Table]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._stack = ExitStack()
        self._rows: dict[str, int] = {}

    @property
    def rows(self) -> dict[str, int]:
        """Split -> rows so far, train first; without those that have none."""
        return {split: self._rows[split] for split in SPLITS if split in self._rows}

    def __enter__(self) -> SplitFiles:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, unless something went wrong, and close the files."""
        with self._stack:
            if error is None:
                for split in sorted(self._waiting):
                    self._flush(split, at_least=1)

    def write(self, rows: pa.Table) -> None:
        """Add rows; their column `split` says where each goes, and is not written."""
        splits = rows.column("split")
        rest = rows.drop_columns(["split"])
        for value in pc.unique(splits):
            split = str(value)
            mine = rest.filter(pc.equal(splits, value))
            self._rows[split] = self._rows.get(split, 0) + mine.num_rows
            self._waiting.setdefault(split, []).append(mine)
            self._flush(split, at_least=GROUP_ROWS)

    def _flush(self, split: str, at_least: int) -> None:
        waiting = self._waiting[split]
        while sum(block.num_rows for block in waiting) >= at_least:
            rows = pa.concat_tables(waiting)
            self._writer(split, rows.schema).write_table(rows.slice(0, GROUP_ROWS).combine_chunks(), GROUP_ROWS)
            waiting[:] = [rows.slice(GROUP_ROWS)]

    def _writer(self, split: str, schema: pa.Schema) -> pq.ParquetWriter:
        if split not in self._writers:
            path = self._path_of(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writers[split] = self._stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
        return self._writers[split]
