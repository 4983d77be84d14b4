"""Reuse by row: what a stage made of a unit is found again by a key of all that the unit is made from.

A unit is what a row-local stage turns into consecutive rows of a table without looking at anything else: a response
into its sentences, say. Beside its tables such a stage writes a file of keys, one a unit; a later run of the same code
and parameters computes the units whose keys are in none of the earlier artefacts, and takes the rows of the others.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.store.stage import EarlierResult

KEYS_FILE = "keys.parquet"
_KEY_BYTES = 16
_GROUPS_HELD = 4


def unit_key(*parts: Any) -> bytes:
    """Return the key of a unit made from these JSON values, in this order: BLAKE2b-128."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


class KeyWriter:
    """The file of keys of a table that is being written, in the order of its rows."""

    def __init__(self, path: Path) -> None:
        """Start with no unit; the file is made by `close`."""
        self._path = path
        self._keys: list[bytes] = []
        self._rows: list[int] = []

    def add(self, keys: Iterable[bytes], rows: Iterable[int]) -> None:
        """Append units, each with the number of its rows."""
        self._keys.extend(keys)
        self._rows.extend(rows)

    def close(self) -> None:
        """Write the file."""
        keys = pa.array(self._keys, pa.binary(_KEY_BYTES))
        pq.write_table(pa.table({"key": keys, "rows": pa.array(self._rows, pa.int32())}), self._path)


class EarlierRows:
    """The rows of one table that earlier artefacts have, by unit."""

    def __init__(self, earlier: Sequence[EarlierResult], table: str, columns: Sequence[str]) -> None:
        """Read the keys; of a key in several artefacts, the first artefact counts.

        Args:
            earlier: artefacts that have a `KEYS_FILE`.
            table: whose rows are reused.
            columns: those that do not name the unit.
        """
        self._tables = [_Groups(result, table, tuple(columns)) for result in earlier]
        self._places: dict[bytes, tuple[int, int, int]] = {}
        for source, result in enumerate(earlier):
            first = 0
            for key, rows in _units(result.path(KEYS_FILE)):
                self._places.setdefault(key, (source, first, rows))
                first += rows

    def __contains__(self, key: bytes) -> bool:
        """Whether the rows of a unit are known."""
        return key in self._places

    def count(self, key: bytes) -> int:
        """Return the number of rows of a known unit."""
        return self._places[key][2]

    def take(self, keys: Sequence[bytes]) -> pa.Table:
        """Return the rows of known units, at least one unit, one after the other."""
        places = np.array([self._places[key] for key in keys], dtype=np.int64)
        source = np.repeat(places[:, 0], places[:, 2])
        within = np.arange(len(source)) - np.repeat(np.cumsum(places[:, 2]) - places[:, 2], places[:, 2])
        row = np.repeat(places[:, 1], places[:, 2]) + within
        pieces, order = [], []
        for number, groups in enumerate(self._tables):
            mine = np.flatnonzero(source == number)
            for piece, which in groups.take(row[mine]):
                pieces.append(piece)
                order.append(mine[which])
        if not pieces:
            return self._tables[0].schema.empty_table()
        return pa.concat_tables(pieces).take(np.argsort(np.concatenate(order)))


def merged(
    ids: pa.Array[Any], keys: Sequence[bytes], known: EarlierRows, computed: pa.Table, sizes: Sequence[int]
) -> tuple[pa.Table, list[int]]:
    """Put computed and known rows together in the order of their units.

    Args:
        ids: strings, of the units, for column response_id, which neither the known nor the computed rows have.
        keys: of the units.
        known: rows of some of them.
        computed: rows of the others, one unit after the other.
        sizes: rows of each of these.

    Returns:
        The rows, response_id first, and how many each unit has.
    """
    left = iter(sizes)
    counts = [known.count(key) if key in known else next(left) for key in keys]
    if len(sizes) < len(keys):
        there = np.array([key in known for key in keys])
        unit = np.repeat(np.arange(len(keys)), counts)
        of_known = there[unit]
        order = np.argsort(np.concatenate([np.flatnonzero(of_known), np.flatnonzero(~of_known)]), kind="stable")
        found = known.take([key for key in keys if key in known])
        computed = pa.concat_tables([found, computed.cast(found.schema)]).take(order)
    owners = ids.take(np.repeat(np.arange(len(ids)), counts))
    return computed.add_column(0, pa.field("response_id", pa.string(), nullable=False), owners), counts


class _Groups:
    """Row groups of one table, a few of them held."""

    def __init__(self, result: EarlierResult, table: str, columns: tuple[str, ...]) -> None:
        self._result, self._table, self._columns = result, table, columns
        self._ends = np.cumsum(result.group_rows(table))
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    @property
    def schema(self) -> pa.Schema:
        """Of the columns."""
        return self._group(0).schema

    def take(self, rows: NDArray[np.int64]) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
        """Yield rows by group, and their places among those asked for."""
        group = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(group):
            which = np.flatnonzero(group == number)
            start = self._ends[number - 1] if number else 0
            yield self._group(int(number)).take(rows[which] - start), which

    def _group(self, number: int) -> pa.Table:
        if number not in self._held:
            self._held[number] = self._result.group(self._table, self._columns, number)
            while len(self._held) > _GROUPS_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


def _units(path: Path) -> Iterator[tuple[bytes, int]]:
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches():
        yield from zip(batch.column("key").to_pylist(), batch.column("rows").to_pylist(), strict=True)
