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

from fractal_core.catalog.records import RUNS, STAGES, runs_table, stages_table
from fractal_core.store.artefact import Artefact, find_artefact
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.workspace import Workspace
from fractal_core.tables import TABLES, Table

RunFiles = dict[str, list[tuple[str, Path]]]


def connect(workspace: Workspace, warn: Callable[[str], None] = lambda text: None) -> duckdb.DuckDBPyConnection:
    """Return a locked connection: views only, no access to files but the listed artefacts, settings frozen.

    Damaged artefacts are left out, and `warn` hears of each. What statements may be executed on it is decided by
    `fractal_core.catalog.query`.
    """
    connection = duckdb.connect()
    runs = list_runs(workspace)
    files = _table_files(workspace, runs, warn)
    connection.register("_runs", runs_table(runs))
    connection.register("_stages", stages_table(runs))
    connection.execute("CREATE SCHEMA latest")
    newest = next((run.run_id for run in runs if run.state == "completed"), "")
    for schema, only in (("main", None), ("latest", newest)):
        condition = "" if only is None else f" WHERE run_id = '{only}'"
        for name in (RUNS, STAGES):
            connection.execute(f"CREATE VIEW {schema}.{name} AS SELECT * FROM _{name}{condition} ORDER BY run_id DESC")
        # `responses` counts its sentences, so that view must be there first.
        for table in sorted(TABLES.values(), key=lambda table: table.name == "responses"):
            found = [(run, path) for run, path in files[table.name] if only is None or run == only]
            connection.execute(f"CREATE VIEW {schema}.{table.name} AS {_view(schema, table, found)}")
    paths = sorted({str(path) for entries in files.values() for _, path in entries})
    settings: dict[str, str | bool | list[str]] = {
        "python_enable_replacements": False,
        "temp_directory": str(Path(tempfile.gettempdir()) / "fractal-query"),
        "allowed_paths": paths,
        "enable_external_access": False,
        "lock_configuration": True,
    }
    for setting, value in settings.items():
        connection.execute(f"SET {setting} = {_literal(value)}")
    return connection


def _table_files(workspace: Workspace, runs: Sequence[RunRecord], warn: Callable[[str], None]) -> RunFiles:
    """Return table -> (run, Parquet file), newest run first; damaged artefacts are left out."""
    files: RunFiles = {name: [] for name in TABLES}
    known: dict[tuple[str, str], Artefact | None] = {}
    for run in runs:
        for stage, fingerprint in run.fingerprints().items():
            key = (stage, fingerprint)
            if key not in known:
                artefact = find_artefact(workspace, stage, fingerprint)
                damage = "its manifest is missing or damaged" if artefact is None else artefact.damage()
                if damage:
                    warn(f"stage {stage} of run {run.run_id} is left out ({damage}); run again to compute it anew")
                known[key] = None if damage else artefact
            artefact = known[key]
            if artefact is not None:
                for name in artefact.manifest.tables:
                    if name in files:
                        files[name].append((run.run_id, artefact.path(name)))
    return files


def _view(schema: str, table: Table, found: Sequence[tuple[str, Path]]) -> str:
    if not found:
        columns = ", ".join(f"NULL::{_sql_type(field.type)} AS {_quoted(field.name)}" for field in table.schema)
        rows = f"SELECT NULL::VARCHAR AS run_id, {columns} WHERE false"
    else:
        rows = " UNION ALL BY NAME ".join(
            f"SELECT {_literal(run)} AS run_id, * FROM read_parquet({_literal(str(path))})" for run, path in found
        )
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
