"""Commands that look after a workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from fractal_core.commands.options import DEFAULT_WORKSPACE, Debug, Json, WorkspacePath
from fractal_core.console import Output

commands = typer.Typer()


@commands.command(epilog="Example: fractal status --last 5")
def status(
    last: Annotated[int, typer.Option("--last", min=1, help="How many runs to list, the newest first.")] = 20,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the runs: state, time, rows, figures, size on disk; and the schedules that are being served."""
    from fractal_core.status import print_status, take_status
    from fractal_core.store.workspace import open_workspace

    del debug
    output = Output(as_json)
    found = take_status(open_workspace(workspace, create=False), last)
    if as_json:
        output.json(found)
    else:
        print_status(found, output.console)


@commands.command(epilog="Example: fractal gc --keep-runs 3 --dry-run")
def gc(
    keep_runs: Annotated[int, typer.Option("--keep-runs", min=1, help="How many completed runs to keep.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove what none of the newest runs needs, and what killed runs left behind."""
    from fractal_core.store.collecting import collect, report
    from fractal_core.store.workspace import open_workspace

    del debug
    garbage = collect(open_workspace(workspace, create=False), keep_runs, dry_run=dry_run)
    Output(as_json).say(*report(garbage, dry_run=dry_run))


@commands.command(epilog="Example: fractal doctor --deep")
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read every file and compare its SHA-256.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the workspace and the installation, and settle what killed runs left behind."""
    from flows.orphans import lasting_orphans
    from fractal_core.doctor import examine

    del debug
    findings = examine(workspace, deep=deep, orphans=lasting_orphans())
    output = Output(as_json)
    if as_json:
        output.json([finding.__dict__ for finding in findings])
    else:
        for finding in findings:
            output.console.print(f"{finding.level:8} {finding.text}", markup=False, highlight=False, soft_wrap=True)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)
