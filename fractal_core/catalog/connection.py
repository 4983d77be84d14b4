"""An in-memory DuckDB with a view for every table over committed artefacts, and no way to write or get out.

Without a prefix a table has the rows of all runs, with column `run_id`; in schema `latest` it has those of the newest
completed run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from fractal_core.catalog.finding import Found, LeftOut, find_tables, named_in, not_come_to, verified
from fractal_core.catalog.records import RUNS, STAGES, runs_table, stages_table
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.workspace import Workspace
from fractal_core.tables import TABLES, Table


def connect(
    workspace: Workspace,
    warn: Callable[[str], None] = lambda text: None,
    *,
    sql: str | None = None,
    on_gap: Callable[[], None] = lambda: None,
) -> duckdb.DuckDBPyConnection:
    """Return a locked connection: views only, no access to files but those compared here, settings frozen.

    What statements may be executed on it is decided by `fractal_core.catalog.query`.

    Args:
        workspace: where the artefacts are.
        warn: hears of each damaged artefact that is left out, and of tables that the newest run has not come to.
        sql: the one question that will be asked; only the tables that it names are compared with their SHA-256, and
            no others can be read then. All of them without it.
        on_gap: called if a table that the question names lacks rows, for an artefact is damaged.
    """
    runs = list_runs(workspace)
    newest = next((run for run in runs if run.state == "completed"), None)
    named = named_in(sql, newest.run_id if newest else "")

    def leave_out(each: LeftOut) -> None:
        warn(str(each))
        if named.lacks(each):
            on_gap()

    found = find_tables(workspace, runs, leave_out)
    if newest is not None and sql is not None:
        for text in not_come_to(newest, found, named):
            warn(text)
    wanted = [each for each in found if named.has(each.table, each.run_id)]
    try:
        return _connect(workspace, runs, named.newest, found, wanted, leave_out)
    except duckdb.Error:
        # The metadata of a table nobody asks for can be damaged so that not even a view of it can be made.
        if len(wanted) == len(found):
            raise
        return _connect(workspace, runs, named.newest, found, found, leave_out)


def _connect(
    workspace: Workspace,
    runs: Sequence[RunRecord],
    newest: str,
    found: Sequence[Found],
    wanted: Sequence[Found],
    leave_out: Callable[[LeftOut], None],
) -> duckdb.DuckDBPyConnection:
    readable, damaged = verified(workspace, wanted, leave_out)
    whole = [each for each in found if (each.artefact.stage, each.artefact.fingerprint) not in damaged]
    connection = duckdb.connect()
    connection.register("_runs", runs_table(runs))
    connection.register("_stages", stages_table(runs))
    connection.execute("CREATE SCHEMA latest")
    for schema, only in (("main", None), ("latest", newest)):
        condition = "" if only is None else f" WHERE run_id = '{only}'"
        for name in (RUNS, STAGES):
            connection.execute(f"CREATE VIEW {schema}.{name} AS SELECT * FROM _{name}{condition} ORDER BY run_id DESC")
        # `responses` counts its sentences, so that view must be there first.
        for table in sorted(TABLES.values(), key=lambda table: table.name == "responses"):
            parts = [each for each in whole if each.table == table.name and only in (None, each.run_id)]
            connection.execute(f"CREATE VIEW {schema}.{table.name} AS {_view(schema, table, parts)}")
    settings: dict[str, str | bool | list[str]] = {
        "python_enable_replacements": False,
        "temp_directory": str(Path(tempfile.gettempdir()) / "fractal-query"),
        "allowed_paths": sorted({str(each.path) for each in readable}),
        "enable_external_access": False,
        "lock_configuration": True,
    }
    for setting, value in settings.items():
        connection.execute(f"SET {setting} = {_literal(value)}")
    return connection


def _view(schema: str, table: Table, parts: Sequence[Found]) -> str:
    # Every column there is now, also where all runs are from before it was.
    columns = ", ".join(f"NULL::{_sql_type(field.type)} AS {_quoted(field.name)}" for field in table.schema)
    files = (
        f"SELECT {_literal(each.run_id)} AS run_id, * FROM read_parquet({_literal(str(each.path))})" for each in parts
    )
    rows = " UNION ALL BY NAME ".join([f"SELECT NULL::VARCHAR AS run_id, {columns} WHERE false", *files])
    if table.name == "responses":
        counts = f"SELECT run_id, response_id, count(*) AS sentence_count FROM {schema}.sentences GROUP BY ALL"
        return f"SELECT r.*, c.sentence_count FROM ({rows}) r LEFT JOIN ({counts}) c USING (run_id, response_id)"
    return rows


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _sql_type(kind.value_type) + "[]"
    return {"string": "VARCHAR", "bool": "BOOLEAN", "float": "FLOAT", "double": "DOUBLE"}.get(
        str(kind), {"int8": "TINYINT", "int32": "INTEGER", "int64": "BIGINT"}.get(str(kind), "VARCHAR")
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str | bool | Sequence[str]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "[" + ", ".join(_literal(item) for item in value) + "]"
