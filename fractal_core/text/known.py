"""Rows that were read before: their keys, and what an earlier result of the stage says of them.

Beside its tables the stage writes two files. `INDEX_FILE` has the key of each row, and where what was made of it lies:
in table responses, in table rejects, or, of valid rows whose id another row has, in `REPEATED_FILE`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.text.records import OWN_REJECT_SCHEMA, OWN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from fractal_core.store.stage import EarlierResult

INDEX_FILE = "keys.parquet"
REPEATED_FILE = "repeated.parquet"

_INDEX_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("key", pa.binary(), nullable=False),
    pa.field("place", pa.string(), nullable=False),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("own_split", pa.string()),
    pa.field("dealt", pa.string()),
)
_INDEX_SCHEMA = pa.schema(_INDEX_FIELDS)
_OWN = ", ".join(f'"{name}"' for name in OWN_SCHEMA.names)
_OWN_REJECT = ", ".join(f'"{name}"' for name in OWN_REJECT_SCHEMA.names)


class IndexWriter:
    """The index of a result that is being written."""

    def __init__(self, path: Path) -> None:
        """Create the file; it is complete once the writer is closed."""
        self._writer = pq.ParquetWriter(path, _INDEX_SCHEMA, compression="zstd")
        self._rows: dict[str, int] = {}

    def add(self, place: str, rows: pa.Table) -> None:
        """Append the next rows of "responses", "rejects" or "repeated"; those without a key are not to be found again.

        Args:
            place: where they lie.
            rows: with the columns key and, of valid rows, own_split and dealt.
        """
        first = self._rows.get(place, 0)
        self._rows[place] = first + rows.num_rows
        rows = rows.append_column("place", pa.repeat(place, rows.num_rows))
        rows = rows.append_column("row", pa.array(range(first, first + rows.num_rows), pa.int64()))
        for name in {"own_split", "dealt"}.difference(rows.column_names):
            rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
        found_by_key = rows.filter(rows.column("key").is_valid())
        self._writer.write_table(found_by_key.select(_INDEX_SCHEMA.names).cast(_INDEX_SCHEMA))

    def __enter__(self) -> IndexWriter:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._writer.close()


def known_keys(indices: Sequence[str]) -> set[bytes]:
    """Return the keys that `INDEX_FILE`s of earlier results have, given their paths."""
    keys: set[bytes] = set()
    for path in indices:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(columns=["key"]):
            found: list[Any] = batch.column("key").to_pylist()
            keys.update(found)
    return keys


def load_index(connection: DuckDBPyConnection, earlier: Sequence[EarlierResult]) -> None:
    """Make table `known_rows`: of each key where the first result that has it keeps its rows."""
    connection.execute(
        "CREATE TEMP TABLE known_rows "
        "(key BLOB, result INTEGER, place VARCHAR, row BIGINT, own_split VARCHAR, dealt VARCHAR)"
    )
    for number, result in enumerate(earlier):
        connection.execute(
            "INSERT INTO known_rows SELECT key, $number, place, row, own_split, dealt FROM read_parquet($path) "
            "WHERE key NOT IN (SELECT key FROM known_rows)",
            {"number": number, "path": str(result.path(INDEX_FILE))},
        )


def join_known(connection: DuckDBPyConnection, earlier: Sequence[EarlierResult]) -> tuple[list[str], list[str]]:
    """Return queries for the valid and the bad ones of the rows that view `known_places` has: file, line and key.

    They have the columns of views `new_valid` and `new_bad` as `Gathered` makes them.
    """
    connection.execute(
        "CREATE TEMP TABLE used AS SELECT file, line, key, result, place, row, own_split, dealt "
        "FROM known_places JOIN known_rows USING (key)"
    )
    found = connection.execute("SELECT DISTINCT result, place FROM used ORDER BY ALL").fetchall()
    valid, bad = [], []
    for number, place in found:
        view = f"{place}_{number}"
        path = earlier[number].path(REPEATED_FILE if place == "repeated" else place)
        connection.read_parquet(str(path), file_row_number=True).create_view(view)
        source = f"FROM {view} JOIN used ON result = {number} AND place = '{place}' AND row = file_row_number"
        if place == "rejects":
            bad.append(f"SELECT file, used.line, key, {_OWN_REJECT}, true AS known {source}")
        else:
            valid.append(f"SELECT file, used.line, key, dealt, own_split, {_OWN}, true AS known {source}")
    return valid, bad
