"""Commands that ask the tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fractal_core.commands.options import DEFAULT_WORKSPACE, ConfigPath, Debug, Json, Settings, WorkspacePath
from fractal_core.console import Output
from fractal_core.interruption import interruptible

commands = typer.Typer()
# The exit code where a damaged artefact is left out of an answer.
INCOMPLETE = 3


@commands.command(epilog='Example: fractal query "SELECT text, score FROM latest.sentences JOIN latest.pseudolabels '
             'USING (response_id, sentence_index) ORDER BY score LIMIT 10"')  # fmt: skip
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.", show_default=False)],
    form: Annotated[str, typer.Option("--format", "-f", help="table, csv, json or parquet.")] = "table",
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to the screen.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask the tables a question in SQL (DuckDB; read-only)."""
    from fractal_core.catalog.asking import ask

    del debug
    text = sys.stdin.read() if sql == "-" else sql
    with interruptible():
        whole = ask(workspace, text, "json" if as_json else form, file, force=force)
    _leave(whole)


@commands.command(epilog="Example: fractal evaluate fractal.toml --gold annotated.jsonl --split test")
def evaluate(
    config: ConfigPath,
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold", help="File of gold sentence labels, in place of those of the input.", show_default=False
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Show this split alone: train, dev or test.")] = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare scores and priors with gold labels and response labels, with 95 % intervals."""
    from flows.evaluate import evaluate as evaluate_results
    from fractal_core.evaluation.showing import of_split, print_figures

    del debug
    output = Output(as_json)
    found = evaluate_results(config, workspace, tuple(settings or ()), gold, output.reporter())
    metrics = of_split(found.metrics, split)
    reliability = [row for row in found.reliability if split in (None, row["split"])]
    if as_json:
        output.json({**found.__dict__, "metrics": metrics, "reliability": reliability})
    else:
        # As `fractal query` does, a file or a pipe gets all that there is.
        print_figures(metrics, reliability, output.console if sys.stdout.isatty() else Console(width=200))


@commands.command(epilog="Example: fractal sql --workspace .fractal")
def sql(workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: Json = False, debug: Debug = False) -> None:
    """Open a prompt for SQL; end each query with a semicolon, leave with .quit or Ctrl-D."""
    from fractal_core.catalog.prompt import converse

    del debug
    with interruptible():
        whole = converse(workspace, "json" if as_json else "table")
    _leave(whole)


def _leave(whole: bool) -> None:
    """Leave with an exit code of its own if rows are missing from what was answered."""
    if not whole:
        raise typer.Exit(INCOMPLETE)
