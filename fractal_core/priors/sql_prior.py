"""The SQL prior: a number a sentence from the user's own query.

The query sees the tables it is handed and nothing else: no files, no settings, no labels. It runs on one thread, so
that the same tables give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from fractal_core.errors import QueryError
from fractal_core.priors.sql_check import tables_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = ("response_id", "sentence_index")
_LOCKED = {"python_enable_replacements": "false", "enable_external_access": "false", "lock_configuration": "true"}
# Errors that no rows could avert.
_WITHOUT_ROWS = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)


def sql_prior(sql: str, tables: Mapping[str, Callable[[], pa.Table]], keys: pa.Table) -> NDArray[np.float32]:
    """Run a query for response_id, sentence_index and prior, and put its numbers beside the sentences.

    Args:
        sql: one SELECT.
        tables: what it may read, by name; a table is loaded only if the query names it.
        keys: [N] rows, response_id (text) and sentence_index (whole numbers) of the sentences, each pair once.

    Returns:
        [N] float32, NaN where the query gives a sentence no row, or null.

    Raises:
        QueryError: the query fails, is refused, has other columns, or its rows are not finite numbers for sentences
            that exist, each at most once.
    """
    found = _run(sql, tables)
    _check_columns(found)
    row = _rows(found, keys)
    values = _numbers(found.column("prior"))
    endless = np.flatnonzero(~np.isfinite(values) & found.column("prior").is_valid().to_numpy())
    if len(endless):
        raise QueryError(
            f"priors.sql gives {len(endless):,} sentences a number that is not finite, the first being "
            f"{_name(found, int(endless[0]))}; use NULL where nothing is known."
        )
    result = np.full(keys.num_rows, np.nan, dtype=np.float32)
    result[row] = values
    return result


def check_sql_prior(sql: str, schemas: Mapping[str, pa.Schema | None]) -> None:
    """Find what is wrong with a query before there are rows: its words, and the tables, columns and types it names.

    Args:
        sql: one SELECT.
        schemas: what it may read, by name; of a query that reads a table whose columns are not known yet (None), the
            columns are not looked at.

    Raises:
        QueryError: the query fails, is refused, or has other columns, whatever is in the tables.
    """
    tables = {name: _columns_unknown if schema is None else schema.empty_table for name, schema in schemas.items()}
    try:
        found = _run(sql, tables, limit=0)
    except _ColumnsUnknown:
        return
    except QueryError as error:
        if isinstance(error.__cause__, duckdb.Error) and not isinstance(error.__cause__, _WITHOUT_ROWS):
            return  # rows may be all that is lacking
        raise
    _check_columns(found)
    _check_keys(found)
    _numbers(found.column("prior"))


class _ColumnsUnknown(Exception):  # noqa: N818
    """A query reads a table whose columns are not known yet."""


def _columns_unknown() -> pa.Table:
    raise _ColumnsUnknown


def _check_columns(found: pa.Table) -> None:
    if sorted(found.column_names) != sorted((*KEYS, "prior")):
        names = ", ".join(found.column_names)
        raise QueryError(f"priors.sql gives the columns {names}; it must give {', '.join(KEYS)} and prior.")


def _run(sql: str, tables: Mapping[str, Callable[[], pa.Table]], limit: int | None = None) -> pa.Table:
    # Whoever keeps an error (Prefect does, to the end) keeps the frames of its traceback, and their variables. None of
    # these may be a connection: left open when the interpreter ends, it makes DuckDB's bindings print their innards.
    try:
        return _answer(sql, tables, limit)
    except duckdb.Error as error:
        raise QueryError(f"priors.sql: {_one_sentence(error)}") from error.with_traceback(None)
    except QueryError as error:
        raise error.with_traceback(None) from None


def _answer(sql: str, tables: Mapping[str, Callable[[], pa.Table]], limit: int | None) -> pa.Table:
    # Without a folder for temporary files, a query that does not fit in memory fails instead of writing to disk.
    with duckdb.connect(config={"threads": 1, "temp_directory": ""}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in tables_read(connection, sql, tables.keys()):
            connection.register(name, tables[name]())
        for setting, value in _LOCKED.items():
            connection.execute(f"SET {setting} = {value}")
        relation = connection.sql(sql)
        found: pa.Table = (relation if limit is None else relation.limit(limit)).to_arrow_table()
        return found


def _one_sentence(error: duckdb.Error) -> str:
    """DuckDB's message on one line, without the excerpt of the query."""
    return " ".join(str(error).split("\n\nLINE")[0].split())


def _check_keys(found: pa.Table) -> None:
    ids, index = found.column("response_id"), found.column("sentence_index")
    if not (pa.types.is_string(ids.type) and pa.types.is_integer(index.type)):
        raise QueryError(
            f"priors.sql gives response_id as {ids.type} and sentence_index as {index.type}; "
            f"they must be text and a whole number, as in table sentences."
        )


def _rows(found: pa.Table, keys: pa.Table) -> NDArray[np.int64]:
    """Return the row of each found sentence among `keys`."""
    _check_keys(found)
    ids, index = found.column("response_id"), found.column("sentence_index")
    if ids.null_count or index.null_count:
        raise QueryError(
            f"priors.sql gives {max(ids.null_count, index.null_count):,} rows whose key is NULL; leave them out."
        )
    joined = _keyed(found, "place").join(_keyed(keys, "row"), list(KEYS), join_type="left outer").sort_by("place")
    unknown = np.flatnonzero(joined.column("row").is_null().to_numpy())
    if len(unknown):
        raise QueryError(
            f"priors.sql gives {len(unknown):,} rows for sentences that are not there, the first being "
            f"{_name(found, int(unknown[0]))}; take the keys from table sentences."
        )
    rows: NDArray[np.int64] = joined.column("row").to_numpy().astype(np.int64)
    twice = np.flatnonzero(np.bincount(rows, minlength=1) > 1)
    if len(twice):
        raise QueryError(
            f"priors.sql gives {len(twice):,} sentences more than one row, the first being "
            f"{_name(keys, int(twice[0]))}; GROUP BY response_id, sentence_index."
        )
    return rows


def _keyed(table: pa.Table, name: str) -> pa.Table:
    """Return the keys of a table with the number of each row as column `name`."""
    ids, index = (
        table.column("response_id").cast(pa.string()),
        table.column("sentence_index").cast(pa.int64(), safe=False),
    )
    return pa.table({KEYS[0]: ids, KEYS[1]: index, name: np.arange(table.num_rows)})


def _name(table: pa.Table, row: int) -> str:
    return f"{table.column('response_id')[row].as_py()!r}, {table.column('sentence_index')[row].as_py()}"


def _numbers(column: pa.ChunkedArray[Any]) -> NDArray[np.float32]:
    """Return numbers or truth values as float32, NaN for null, infinite for what float32 cannot hold."""
    kind = column.type
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    if not any(test(kind) for test in numeric):
        raise QueryError(f"priors.sql gives prior as {kind}; it must be a number.")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    with np.errstate(over="ignore"):
        return column.cast(pa.float64()).to_numpy().astype(np.float32)
