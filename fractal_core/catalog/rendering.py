"""Writing the result of a query: a table for people, CSV, JSON or Parquet for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from fractal_core.appearing import appearing
from fractal_core.errors import QueryError

Format = Literal["table", "csv", "json", "parquet"]
_CELL = 120
_TABLE_ROWS = 1_000
# C0 but for tab and line feed, which only move on, DEL, and C1.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write_parquet(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write a result as Parquet, streaming; return the number of rows. The file appears only when it is complete."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DuckDB warns of a copy that streaming in batches keeps small
        reader: Any = cursor.to_arrow_reader(65_536)
    rows = 0
    try:
        with appearing(path) as stream, pq.ParquetWriter(stream, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
    except OSError as error:
        raise QueryError(f"{path} cannot be written ({error.strerror}); name another with --output.") from error
    return rows


def as_text(cursor: duckdb.DuckDBPyConnection, form: Format) -> str:
    """Return a whole result as CSV or JSON (a list of objects)."""
    names = [column[0] for column in cursor.description or []]
    rows = cursor.fetchall()
    if form == "json":
        return json.dumps(
            [dict(zip(names, row, strict=True)) for row in rows], default=_plain, ensure_ascii=False, indent=1
        )
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return stream.getvalue().rstrip("\n")


def print_table(cursor: duckdb.DuckDBPyConnection, console: Console) -> None:
    """Print a result as a table: the first thousand rows, long cells cut."""
    names = [column[0] for column in cursor.description or []]
    rows = cursor.fetchmany(_TABLE_ROWS + 1)
    table = Table(*map(_harmless, names), header_style="bold", show_lines=False)
    for row in rows[:_TABLE_ROWS]:
        table.add_row(*(_short(value) for value in row))
    console.print(table, markup=False)
    if len(rows) > _TABLE_ROWS:
        console.print(f"the first {_TABLE_ROWS} rows; --format csv, json or parquet gives all", style="dim")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.6g}"
    text = _harmless("" if value is None else str(_cell(value)))
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _harmless(text: str) -> str:
    """Escape control characters, by which data could move the cursor, colour, or rename a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
