"""Scored sentences on their way out: a Parquet file, JSON lines in a file, or JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.appearing import appearing
from fractal_core.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fractal_core.scoring.incoming import Rejected

SUFFIXES = (".parquet", ".jsonl")
_GROUP_ROWS = 16_384


class Writer(Protocol):
    """Takes tables of scored sentences."""

    def write(self, rows: pa.Table) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write what is left."""


class _JsonLines:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            self._stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        self._stream.flush()


class _Parquet:
    """Row groups have one size, so that the file does not depend on the batches."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pending: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        self._pending.append(rows)
        while sum(table.num_rows for table in self._pending) >= _GROUP_ROWS:
            self._flush(_GROUP_ROWS)

    def close(self) -> None:
        if self._pending:
            self._flush(_GROUP_ROWS)
        if self._writer is not None:
            self._writer.close()

    def _flush(self, count: int) -> None:
        rows = pa.concat_tables(self._pending)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, rows.schema, compression="zstd")
        self._writer.write_table(rows.slice(0, count).combine_chunks())
        self._pending = [rows.slice(count)] if rows.num_rows > count else []


@contextmanager
def writing(output: Path | None) -> Iterator[Writer]:
    """Open an output, which appears as a whole when the context ends well.

    Args:
        output: a file that ends in one of `SUFFIXES`; None for JSON lines on standard output.

    Raises:
        UsageError: if the suffix is another.
        StoreError: if the file cannot be written.
    """
    if output is None:
        writer: Writer = _JsonLines(sys.stdout.buffer)
        yield writer
        writer.close()
        return
    if output.suffix not in SUFFIXES:
        raise UsageError(f"--output {output} says no format: its name must end in {' or '.join(SUFFIXES)}.")
    with _one_sentence(output), appearing(output) as stream:
        writer = _Parquet(stream) if output.suffix == ".parquet" else _JsonLines(stream)
        yield writer
        writer.close()


@contextmanager
def keeping(path: Path | None) -> Iterator[Callable[[Rejected], None]]:
    """Yield what keeps rows that cannot be scored, as JSON lines.

    Args:
        path: the file, which is there afterwards only if a row was kept; None for standard error.

    Raises:
        StoreError: if the file cannot be written.
    """
    if path is None:
        yield lambda row: print(_line(row), file=sys.stderr)  # noqa: T201
        return
    kept: list[int] = []
    with _one_sentence(path), appearing(path, lambda: bool(kept)) as stream:

        def keep(row: Rejected) -> None:
            kept.append(row.line)
            stream.write(_line(row).encode() + b"\n")

        yield keep


def _line(row: Rejected) -> str:
    return json.dumps({"source": row.source, "line": row.line, **row.reject._asdict()}, ensure_ascii=False)


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); name another with --output."
        ) from error
