"""Raw rows of Parquet and Arrow files."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.text.keys import RowKeys
from fractal_core.text.records import Fault, RawRow

OnColumns = Callable[[Sequence[str]], None]

BATCH_ROWS = 1_024
_ARROW_FILE_MAGIC = b"ARROW1"
# `json.dumps` would make an encoder for each row.
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


def parquet_rows(
    path: Path, wanted: Sequence[str], on_columns: OnColumns, known: Container[bytes] = ()
) -> Iterator[RawRow]:
    """Read the wanted columns of a Parquet file; `line` is the row's number from 1, `raw` these columns as JSON."""
    # Buffered ahead, all of the file would be held.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        schema = file.schema_arrow
        on_columns(schema.names)
        present = [field for field in schema if field.name in wanted]
        batches = file.iter_batches(batch_size=BATCH_ROWS, columns=[field.name for field in present])
        yield from _rows(batches, present, known)


def arrow_rows(
    path: Path, wanted: Sequence[str], on_columns: OnColumns, known: Container[bytes] = ()
) -> Iterator[RawRow]:
    """Read the wanted columns of an Arrow IPC file, in the stream form (as `datasets` writes it) or the file form."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(len(_ARROW_FILE_MAGIC)) == _ARROW_FILE_MAGIC
        source.seek(0)
        if is_file:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            yield from _arrow_batches(file.schema, batches, wanted, on_columns, known)
        else:
            with closing(pa.ipc.open_stream(source)) as stream:
                yield from _arrow_batches(stream.schema, iter(stream), wanted, on_columns, known)


def _arrow_batches(
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    wanted: Sequence[str],
    on_columns: OnColumns,
    known: Container[bytes],
) -> Iterator[RawRow]:
    on_columns(schema.names)
    present = [field for field in schema if field.name in wanted]
    slices = (batch.slice(start, BATCH_ROWS) for batch in batches for start in range(0, batch.num_rows, BATCH_ROWS))
    yield from _rows(slices, present, known)


def _rows(batches: Iterator[pa.RecordBatch], fields: list[pa.Field[Any]], known: Container[bytes]) -> Iterator[RawRow]:
    names = [field.name for field in fields]
    # Values of different types may look alike in JSON.
    keys = RowKeys(names, [str(field.type) for field in fields])
    line = 0
    for batch in batches:
        columns = {name: _column(batch.column(name)) for name in names}
        suspects = [name for name, (_, sound) in columns.items() if not sound]
        for values in zip(*(values for values, _ in columns.values()), strict=True):
            line += 1
            row = dict(zip(names, values, strict=True))
            raw = _JSON.encode(row)
            fault = _fault(row, suspects)
            key = keys.of(raw.encode("utf-8", "surrogatepass")) if fault is None else keys.of_fault(fault, raw)
            yield RawRow(line, key, None if key in known else fault or row, raw)


def _fault(row: dict[str, object], suspects: list[str]) -> Fault | None:
    damaged = [name for name in suspects if isinstance(row[name], _NotUtf8)]
    return Fault("text is not UTF-8", f"column {damaged[0]}") if damaged else None


class _NotUtf8:
    """Stands for a value that says it is text and is not."""

    def __init__(self, error: UnicodeDecodeError) -> None:
        self._shown = error.object.decode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        return self._shown


def _column(array: pa.Array[Any]) -> tuple[list[object], bool]:
    """Return the values, and whether all of them are what they say they are."""
    try:
        return list(array.to_pylist()), True
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in array], False


def _value(scalar: pa.Scalar[Any]) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return _NotUtf8(error)
