"""Commands that make a configuration, run it, and say what a run would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fractal_core.commands.options import (
    DEFAULT_WORKSPACE,
    ConfigPath,
    Debug,
    Force,
    IfRunning,
    Json,
    Settings,
    Until,
    WorkspacePath,
)
from fractal_core.console import Output

commands = typer.Typer()


@commands.command(epilog="Example: fractal init answers.jsonl --aggregation max")
def init(
    data: Annotated[Path, typer.Argument(help="Your data: a file or folder.", show_default=False)],
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="min, max, avg or auto: how sentence labels make the response label; min, or auto for pairs.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; fractal.toml beside the data.")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a commented fractal.toml beside your data."""
    from fractal_core.initialise import write_template

    del workspace, debug
    path = write_template(data, aggregation, output)
    Output(as_json).say({"config": str(path)}, f"Wrote {path}. Next: fractal run {path}")


@commands.command(epilog="Example: fractal run fractal.toml --set train.epochs=50 --until train")
def run(
    config: ConfigPath,
    until: Until = None,
    settings: Settings = None,
    force: Force = None,
    if_running: IfRunning = "wait",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Label every sentence: run what is stale, reuse the rest, and print a summary."""
    from flows.launch import Request, run_and_summarise
    from fractal_core.store.locks import LockHeldError
    from fractal_core.summary import print_summary

    output = Output(as_json)
    request = Request(config, workspace, tuple(settings or ()), until, tuple(force or ()), if_running, debug)
    try:
        summary = run_and_summarise(request, output.reporter())
    except LockHeldError as held:
        output.say({"state": "skipped", "reason": str(held)}, f"Skipped: {held}")
        return
    if as_json:
        output.json(summary)
    else:
        print_summary(summary, output.console)


@commands.command(epilog="Example: fractal plan fractal.toml --set segment.method=newline")
def plan(
    config: ConfigPath,
    until: Until = None,
    settings: Settings = None,
    force: Force = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what a run would compute, what it would reuse, and why."""
    from fractal_core.config_loading import load_config
    from fractal_core.planning import make_plan
    from fractal_core.store.workspace import open_workspace
    from fractal_core.summary import plan_rows, print_plan

    del debug
    loaded = load_config(config, settings or ())
    store = open_workspace(workspace)
    steps = make_plan(store, loaded, config_path=str(config), until=until, force=force or ())
    output = Output(as_json)
    if as_json:
        output.json(plan_rows(steps))
    else:
        print_plan(steps, store, output.console)
