"""Raw rows of Parquet and Arrow files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.text.records import Fault, RawRow

BATCH_ROWS = 1_024
_ARROW_FILE_MAGIC = b"ARROW1"


def parquet_rows(path: Path, wanted: Sequence[str], on_columns: Callable[[Sequence[str]], None]) -> Iterator[RawRow]:
    """Read the wanted columns of a Parquet file; `line` is the row's number from 1, `raw` these columns as JSON."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        on_columns(names)
        present = [name for name in names if name in wanted]
        yield from _rows(file.iter_batches(batch_size=BATCH_ROWS, columns=present), present)


def arrow_rows(path: Path, wanted: Sequence[str], on_columns: Callable[[Sequence[str]], None]) -> Iterator[RawRow]:
    """Read the wanted columns of an Arrow IPC file, in the stream form (as `datasets` writes it) or the file form."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(len(_ARROW_FILE_MAGIC)) == _ARROW_FILE_MAGIC
        source.seek(0)
        if is_file:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            yield from _arrow_batches(file.schema, batches, wanted, on_columns)
        else:
            with closing(pa.ipc.open_stream(source)) as stream:
                yield from _arrow_batches(stream.schema, iter(stream), wanted, on_columns)


def _arrow_batches(
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    wanted: Sequence[str],
    on_columns: Callable[[Sequence[str]], None],
) -> Iterator[RawRow]:
    on_columns(schema.names)
    present = [name for name in schema.names if name in wanted]
    slices = (batch.slice(start, BATCH_ROWS) for batch in batches for start in range(0, batch.num_rows, BATCH_ROWS))
    yield from _rows(slices, present)


def _rows(batches: Iterator[pa.RecordBatch], names: list[str]) -> Iterator[RawRow]:
    line = 0
    for batch in batches:
        for values in zip(*(_column(batch.column(name)) for name in names), strict=True):
            line += 1
            row = dict(zip(names, values, strict=True))
            raw = json.dumps(row, ensure_ascii=False, default=str)
            damaged = [name for name, value in row.items() if isinstance(value, _NotUtf8)]
            if damaged:
                yield RawRow(line, Fault("text is not UTF-8", f"column {damaged[0]}"), raw)
            else:
                yield RawRow(line, row, raw)


class _NotUtf8:
    """Stands for a value that says it is text and is not."""

    def __init__(self, error: UnicodeDecodeError) -> None:
        self._shown = error.object.decode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        return self._shown


def _column(array: pa.Array[Any]) -> list[object]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in array]


def _value(scalar: pa.Scalar[Any]) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return _NotUtf8(error)
