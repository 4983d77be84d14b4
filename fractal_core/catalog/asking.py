"""`fractal query`: one question, one answer, in the format asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from rich.console import Console

from fractal_core.catalog.connection import connect
from fractal_core.catalog.interrupting import heeding_interrupts
from fractal_core.catalog.query import execute
from fractal_core.catalog.rendering import Format, as_text, print_table, write_parquet
from fractal_core.errors import UsageError
from fractal_core.store.outside import check_free, check_outside
from fractal_core.store.workspace import open_workspace


def ask(workspace: Path, sql: str, form: str, output: Path | None, *, force: bool = False) -> bool:
    """Execute a query and print or write its result; return whether it has all rows, none left out as damaged.

    Raises:
        QueryError: if the query is wrong or not allowed, or the file cannot be written.
        StoreError: if there is no workspace.
        KeyboardInterrupt: if Ctrl-C was pressed meanwhile.
        UsageError: if the format is unknown, Parquet is to be printed, or the file is not to be written: it is in the
            workspace, or there already and `force` is not given.
    """
    if form not in get_args(Format):
        raise UsageError(f"--format {form} is unknown; it is one of {', '.join(get_args(Format))}.")
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs a file: add --output FILE.")
    store = open_workspace(workspace, create=False)
    if output is not None:
        check_outside(store, output)
        check_free(output, force=force)
    gaps: list[bool] = []
    connection = connect(store, _warn, sql=sql, on_gap=lambda: gaps.append(True))
    with heeding_interrupts(connection):
        cursor = execute(connection, sql)
        if form == "parquet" and output is not None:
            write_parquet(cursor, output)
        elif form == "table" and output is None:
            print_table(cursor, Console(width=None if sys.stdout.isatty() else 200))
        else:
            _print_or_write(as_text(cursor, "csv" if form == "table" else form), output)  # type: ignore[arg-type]
    return not gaps


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


def _print_or_write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text + "\n")
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror}); name another with --output.") from error
