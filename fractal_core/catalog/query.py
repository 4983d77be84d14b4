"""Executing one read-only statement."""

from __future__ import annotations

import re

import duckdb

from fractal_core.errors import QueryError

_EXPLAIN = re.compile(r"^\s*explain(\s+analyze)?(\s*\([^)]*\))?\s", re.IGNORECASE)


def execute(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Execute a single SELECT (or FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN of these); return its cursor.

    Raises:
        QueryError: if it is no valid SQL, more than one statement, or anything but a question.
        duckdb.InterruptException: if the connection was told to stop.
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError(f"A query is one statement, and this has {len(statements)}; ask one after the other.")
        if not _is_question(connection, statements[0], sql):
            kind = statements[0].type.name
            raise QueryError(f"Queries only read: {kind} is not allowed; to keep a result use --output FILE.")
        return connection.execute(statements[0])
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise QueryError(_one_sentence(error)) from error


def _is_question(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, sql: str) -> bool:
    if statement.type == duckdb.StatementType.SELECT:
        return True
    if statement.type == duckdb.StatementType.EXPLAIN:
        inner, found = _EXPLAIN.subn("", sql, count=1)
        kinds = [part.type for part in connection.extract_statements(inner)]
        return bool(found) and kinds == [duckdb.StatementType.SELECT]
    return False


def _one_sentence(error: duckdb.Error) -> str:
    """DuckDB's message without the excerpt of the query, on one line."""
    text = str(error).split("\n\nLINE")[0]
    return " ".join(text.split())
