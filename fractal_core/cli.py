"""The command line: each command is a few lines that call the library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fractal_core.console import Output, fail
from fractal_core.errors import FractalError

app = typer.Typer(
    name="fractal",
    help="Sentence scores from response labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(help="Configuration file (TOML).", show_default=False)]
WorkspacePath = Annotated[Path, typer.Option("--workspace", "-w", help="Folder of the artefacts.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set train.epochs=5.", show_default=False)
]
Until = Annotated[str | None, typer.Option("--until", help="Stop after this stage.", show_default=False)]
Force = Annotated[
    list[str] | None, typer.Option("--force", help="Compute this stage even if it is current.", show_default=False)
]
IfRunning = Annotated[
    Literal["wait", "skip"],
    typer.Option("--if-running", help="While another process runs this configuration: wait for it, or skip this run."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")]

DEFAULT_WORKSPACE = Path(".fractal")


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        Output(False).say(None, f"fractal {version('fractal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Sentence scores from response labels."""


@app.command(epilog="Example: fractal init answers.jsonl --aggregation max")
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


@app.command(epilog="Example: fractal run fractal.toml --set train.epochs=50 --until train")
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
    from flows.launch import Request, run_or_reuse
    from fractal_core.store.locks import LockHeldError
    from fractal_core.summary import print_summary, summarise

    output = Output(as_json)
    request = Request(config, workspace, tuple(settings or ()), until, tuple(force or ()), if_running, debug)
    try:
        store, record = run_or_reuse(request, output.reporter())
    except LockHeldError as held:
        output.say({"state": "skipped", "reason": str(held)}, f"Skipped: {held}")
        return
    summary = summarise(store, record)
    if as_json:
        output.json(summary)
    else:
        print_summary(summary, output.console)


@app.command(epilog="Example: fractal plan fractal.toml --set segment.method=newline")
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
    steps = make_plan(open_workspace(workspace), loaded, until=until, force=force or ())
    output = Output(as_json)
    if as_json:
        output.json(plan_rows(steps))
    else:
        print_plan(steps, output.console)


@app.command(epilog='Example: fractal query "SELECT text, score FROM latest.sentences JOIN latest.pseudolabels '
             'USING (response_id, sentence_index) ORDER BY score LIMIT 10"')  # fmt: skip
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.", show_default=False)],
    form: Annotated[str, typer.Option("--format", "-f", help="table, csv, json or parquet.")] = "table",
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to the screen.")] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask the tables a question in SQL (DuckDB; read-only)."""
    from fractal_core.catalog.asking import ask

    del debug
    text = sys.stdin.read() if sql == "-" else sql
    ask(workspace, text, "json" if as_json else form, file)


@app.command(epilog="Example: fractal sql --workspace .fractal")
def sql(workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: Json = False, debug: Debug = False) -> None:
    """Open a prompt for SQL; end each query with a semicolon, leave with .quit or Ctrl-D."""
    from fractal_core.catalog.prompt import converse

    del debug
    converse(workspace, "json" if as_json else "table")


@app.command(epilog="Example: fractal gc --keep-runs 3 --dry-run")
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


@app.command(epilog="Example: fractal doctor --deep")
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read every file and compare its SHA-256.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the workspace and the installation, and settle what killed runs left behind."""
    from flows.orphans import orphan_servers
    from fractal_core.doctor import examine

    del debug
    findings = examine(workspace, deep=deep, orphans=orphan_servers())
    output = Output(as_json)
    if as_json:
        output.json([finding.__dict__ for finding in findings])
    else:
        for finding in findings:
            output.console.print(f"{finding.level:8} {finding.text}", markup=False, highlight=False, soft_wrap=True)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; errors are one sentence, with a traceback only if --debug is given."""
    debug = "--debug" in sys.argv
    as_json = "--json" in sys.argv
    try:
        app()
    except FractalError as error:
        if debug:
            raise
        fail(str(error), as_json=as_json, code=error.exit_code)
    except (KeyboardInterrupt, BrokenPipeError):
        fail("Interrupted; finished stages are kept, run again to go on.", as_json=as_json, code=130)
    except Exception as error:  # the last line of defence: a defect of ours is still one sentence
        if debug:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        fail(
            f"This is a defect of fractal ({what}); run again with --debug and report the traceback.",
            as_json=as_json,
            code=1,
        )
