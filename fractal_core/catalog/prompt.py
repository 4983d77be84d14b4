"""`fractal sql`: a prompt. Queries end with a semicolon; on a pipe it reads statements and prints their results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from fractal_core.catalog.connection import connect
from fractal_core.catalog.interrupting import heeding_interrupts
from fractal_core.catalog.query import execute
from fractal_core.catalog.rendering import Format, as_text, print_table
from fractal_core.errors import QueryError
from fractal_core.store.workspace import open_workspace

_HELP = "Tables of all runs: SHOW TABLES; of the newest run: latest.NAME. DESCRIBE NAME shows columns. .quit leaves."


def converse(workspace: Path, form: Format) -> None:
    """Read queries from standard input until it ends, printing results; a wrong query is said and does not stop it.

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

    def warn(text: str) -> None:
        if text not in warned:
            sys.stderr.write(f"warning: {text}\n")
        warned.add(text)

    for statement in _statements(interactive):
        try:
            # A connection of its own for each, so that what it reads is compared first, and new runs are seen.
            connection = connect(store, warn, sql=statement)
            with heeding_interrupts(connection):
                cursor = execute(connection, statement)
                if form == "json":
                    sys.stdout.write(as_text(cursor, "json") + "\n")
                else:
                    print_table(cursor, console)
        except KeyboardInterrupt:
            if not interactive:
                raise
            sys.stdout.write("\n")
        except QueryError as error:
            failed = error
            sys.stderr.write(f"error: {error}\n")
    if failed is not None and not interactive:
        raise QueryError("A query failed, see above.")


def _statements(interactive: bool) -> Iterator[str]:
    """Yield statements: lines up to one that ends with a semicolon."""
    pending: list[str] = []
    while True:
        try:
            line = input(("  ...> " if pending else "fractal> ") if interactive else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            pending = []
            sys.stdout.write("\n")
            continue
        if not pending and line.strip() in (".quit", ".exit", "quit", "exit"):
            return
        pending.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(pending)
            pending = []
    if "".join(pending).strip():
        yield "\n".join(pending)
