"""Is a query one question with one answer? Decided on its parsed form, before it is executed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from fractal_core.errors import QueryError

# Table functions that make rows out of their arguments alone; all others read files, settings or further SQL.
_ROW_MAKERS = frozenset({"range", "generate_series", "unnest"})
# Written without parentheses, these look like columns; they are the time of day.
_CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})


def tables_read(connection: duckdb.DuckDBPyConnection, sql: str, offered: Collection[str]) -> list[str]:
    """Return which of the tables on offer a query reads, sorted.

    Raises:
        QueryError: it is not valid SQL, not one SELECT, reads anything but these tables, or calls something whose
            value changes from run to run (random numbers, the clock, a sample without a seed).
        duckdb.Error: it cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise QueryError(f"priors.sql must be one SELECT, but is {' and '.join(kinds) or 'empty'}.")
    text = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()[0][0]
    try:
        tree = json.loads(text)
    except RecursionError:
        raise QueryError("priors.sql nests too deeply to be checked; break long chains into sub-queries.") from None
    if tree["error"]:
        raise QueryError(f"priors.sql cannot be checked: {tree['error_message']}.")
    nodes = list(_nodes(tree))
    _check_repeatable(nodes, _changing_functions(connection))
    named = {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    read = set()
    for node in nodes:
        if node.get("type") == "BASE_TABLE":
            path = [node["catalog_name"], node["schema_name"], node["table_name"]]
            name = ".".join(part for part in path if part)
            if name.lower() in offered:
                read.add(name.lower())
            elif name.lower() not in named:
                raise QueryError(f"priors.sql reads {name!r}; it can read the tables {', '.join(sorted(offered))}.")
    return sorted(read)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON tree."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_repeatable(nodes: list[dict[str, Any]], changing: Collection[str]) -> None:
    for node in nodes:
        if node.get("type") == "TABLE_FUNCTION" and (name := node["function"]["function_name"].lower()):
            if name not in _ROW_MAKERS:
                raise QueryError(f"priors.sql may not read from {name}(); it can read the tables of the run alone.")
        elif "function_name" in node and node["function_name"].lower() in changing:
            raise QueryError(
                f"priors.sql calls {node['function_name']}(), which is not the same in every run: leave it out."
            )
        columns = node.get("column_names", [])
        if node.get("type") == "COLUMN_REF" and len(columns) == 1 and columns[0].lower() in _CLOCKS:
            raise QueryError(f"priors.sql uses {columns[0]}, which is not the same in every run: leave it out.")
        sample = node.get("sample")
        if sample and not sample["repeatable"]:
            raise QueryError(
                "priors.sql takes a sample, which is not the same in every run: give it a seed, (bernoulli, 1)."
            )


def _changing_functions(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Name the functions whose value is not decided by their arguments; error() has no value at all."""
    found = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
        "WHERE stability <> 'CONSISTENT' AND function_name <> 'error' "
        "OR macro_definition LIKE '%current_%' OR macro_definition LIKE '%sleep_ms%'"
    ).fetchall()
    return frozenset(name for (name,) in found)
