"""Rows kept on disk until all have been read, so that they can be put in order with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.text.records import OWN_REJECT_SCHEMA, OWN_SCHEMA, Response

SPOOL_ROWS = 8_192
SPOOL_CHARACTERS = 1 << 25

# File (its number) and line of a row.
_PLACE: tuple[pa.Field[Any], ...] = (
    pa.field("file", pa.int32(), nullable=False),
    pa.field("line", pa.int64(), nullable=False),
)
_KEY = pa.field("key", pa.binary(), nullable=False)

# A row that was read before: what it is lies in an earlier result.
KNOWN_SCHEMA = pa.schema([*_PLACE, _KEY])
# `dealt` is the split that a hash of the group says.
VALID_SCHEMA = pa.schema(
    [
        *KNOWN_SCHEMA,
        pa.field("dealt", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) if name == "own_split" else OWN_SCHEMA.field(name) for name in Response._fields),
    ]
)
BAD_SCHEMA = pa.schema([*KNOWN_SCHEMA, *OWN_REJECT_SCHEMA])
RAW_SCHEMA = pa.schema([*_PLACE, pa.field("raw", pa.string(), nullable=False)])


class Spools(NamedTuple):
    """Where new valid rows, new bad rows, and the places of known rows are spooled."""

    valid: Path
    bad: Path
    known: Path


class SpoolWriter:
    """Appends rows to a Parquet file, in pieces of bounded size."""

    def __init__(self, path: Path | IO[bytes], schema: pa.Schema) -> None:
        """Create the file, or write to one that is open; it is complete once the writer is closed."""
        self._schema = schema
        # Texts hardly repeat, and nobody looks for some of them: a dictionary and statistics would cost time only.
        self._writer = pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False, write_statistics=False)
        self._rows: list[tuple[object, ...]] = []
        self._characters = 0

    def add(self, row: tuple[object, ...], characters: int = 0) -> None:
        """Append a row of about so many characters."""
        self._rows.append(row)
        self._characters += characters
        if len(self._rows) >= SPOOL_ROWS or self._characters >= SPOOL_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(self._schema.names, zip(*self._rows, strict=True), strict=True)
            table = pa.Table.from_pydict({name: list(values) for name, values in columns}, schema=self._schema)
            self._writer.write_table(table)
            self._rows.clear()
            self._characters = 0

    def __enter__(self) -> SpoolWriter:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left, unless an error ended the reading, and close the file."""
        if error is None:
            self._flush()
        self._writer.close()


def in_pieces(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut a stream of tables anew, into pieces of so many rows each; the last may have fewer, and none is empty."""
    rest: pa.Table | None = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while rest.num_rows >= rows:
            yield rest.slice(0, rows).combine_chunks()
            rest = rest.slice(rows)
    if rest is not None and rest.num_rows:
        yield rest.combine_chunks()
