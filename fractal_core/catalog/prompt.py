"""`fractal sql`: a prompt. Queries end with a semicolon; on a pipe it reads statements and prints their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
from rich.console import Console

from fractal_core.catalog.connection import connect
from fractal_core.catalog.interrupting import heeding_interrupts
from fractal_core.catalog.query import execute
from fractal_core.catalog.rendering import Format, as_text, print_table
from fractal_core.console import say_error
from fractal_core.errors import QueryError
from fractal_core.interruption import answered
from fractal_core.store.workspace import open_workspace

_HELP = "Tables of all runs: SHOW TABLES; of the newest run: latest.NAME. DESCRIBE NAME shows columns. .quit leaves."


def converse(workspace: Path, form: Format) -> bool:
    """Read queries from standard input until it ends, printing results; a wrong query is said and does not stop it.

    Returns:
        Whether all answers had all rows, none left out as damaged.

    Raises:
        QueryError: if standard input is no terminal and a query failed (after the rest was answered).
        StoreError: if there is no workspace.
    """
    store = open_workspace(workspace, create=False)
    interactive = sys.stdin.isatty()
    console = Console(width=None if sys.stdout.isatty() else 200)
    if interactive:
        import readline  # noqa: F401  line editing and history for input()

        console.print(_HELP, markup=False)
    failed: QueryError | None = None
    warned: set[str] = set()
    gaps: list[bool] = []

    def warn(text: str) -> None:
        if text not in warned:
            sys.stderr.write(f"warning: {text}\n")
        warned.add(text)

    def connected(sql: str) -> duckdb.DuckDBPyConnection:
        # A connection of its own for each, so that what it reads is compared first, and new runs are seen.
        return connect(store, warn, sql=sql, on_gap=lambda: gaps.append(True))

    for statement in _statements(interactive):
        try:
            _answer(statement, connected, form, console)
        except KeyboardInterrupt:
            if not interactive:
                raise
            answered()
            sys.stdout.write("\n")
        except QueryError as error:
            failed = error
            say_error(str(error), as_json=form == "json")
    if failed is not None and not interactive:
        raise QueryError("A query failed, see above.")
    return not gaps


def _answer(statement: str, connected: Callable[[str], duckdb.DuckDBPyConnection], form: str, console: Console) -> None:
    if statement.startswith("."):
        raise QueryError(f"There is no command {statement}. {_HELP}")
    connection = connected(statement)
    with heeding_interrupts(connection):
        cursor = execute(connection, statement)
        if form == "json":
            sys.stdout.write(as_text(cursor, "json") + "\n")
        else:
            print_table(cursor, console)


def _statements(interactive: bool) -> Iterator[str]:
    """Yield statements, which end with a semicolon or the input, and lines that begin with a dot between them."""
    pending = ""
    while True:
        try:
            line = input(("  ...> " if pending else "fractal> ") if interactive else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            answered()
            pending = ""
            sys.stdout.write("\n")
            continue
        if not pending and line.strip() in (".quit", ".exit", "quit", "exit"):
            return
        if not pending and line.lstrip().startswith("."):
            yield line.strip()
            continue
        pending += line + "\n"
        if ";" in line:
            *whole, pending = _parted(pending)
            yield from filter(_says_something, whole)
        pending = pending if pending.strip() else ""
    if _says_something(pending):
        yield pending


def _parted(text: str) -> list[str]:
    """Cut after semicolons, but for those in strings, quoted names and comments."""
    content = text.encode()  # DuckDB counts bytes
    starts = [start for start, kind in duckdb.tokenize(text) if kind == duckdb.token_type.operator]
    ends = [start + 1 for start in starts if content[start : start + 1] == b";"]
    return [content[low:high].decode() for low, high in pairwise([0, *ends, len(content)])]


def _says_something(text: str) -> bool:
    kinds = [kind for _, kind in duckdb.tokenize(text.rstrip().removesuffix(";"))]
    return any(kind != duckdb.token_type.comment for kind in kinds)
