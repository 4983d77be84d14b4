"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fractal_core.commands.completion import complete_setting, complete_stage

ConfigPath = Annotated[Path, typer.Argument(help="Configuration file (TOML).", show_default=False)]
WorkspacePath = Annotated[Path, typer.Option("--workspace", "-w", help="Folder of the artefacts.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a key: --set train.epochs=5.", show_default=False, autocompletion=complete_setting
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="Stop after this stage.", show_default=False, autocompletion=complete_stage),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        help="Compute this stage even if it is current.",
        show_default=False,
        autocompletion=complete_stage,
    ),
]
RunId = Annotated[
    str | None,
    typer.Option("--run", help="Take this run's results; the newest of CONFIG as it is now.", show_default=False),
]
IfRunning = Annotated[
    Literal["wait", "skip"],
    typer.Option("--if-running", help="While another process runs this configuration: wait for it, or skip this run."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")]

DEFAULT_WORKSPACE = Path(".fractal")
