"""Commands that run by themselves, and that show Prefect's pages."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fractal_core.commands.options import DEFAULT_WORKSPACE, ConfigPath, Debug, Json, Settings, WorkspacePath
from fractal_core.console import Output

commands = typer.Typer()


@commands.command(epilog='Example: fractal serve fractal.toml --cron "0 2 * * *"')
def serve(
    config: ConfigPath,
    cron: Annotated[
        str | None, typer.Option("--cron", help="When to run, in this machine's time zone.", show_default=False)
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", help="Run every so many seconds.", min=1, show_default=False)
    ] = None,
    overlap: Annotated[
        Literal["skip", "wait"],
        typer.Option("--overlap", help="While this configuration is being run: skip the tick, or run it afterwards."),
    ] = "skip",
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a configuration on a schedule: new data is labelled as it comes, only what changed is computed."""
    from flows.serve import ServeRequest, serve

    request = ServeRequest(config, workspace, cron, interval, tuple(settings or ()), overlap, debug)
    serve(request, Output(as_json))


@commands.command(epilog="Example: fractal ui --no-browser")
def ui(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Say the address, and open nothing.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Open Prefect's UI on this machine: flow runs, stages, row counts, figures."""
    from flows.ui import show_ui

    show_ui(workspace, Output(as_json), browser=not no_browser, debug=debug)
