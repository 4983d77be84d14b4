"""Commands that hand results on, and take the files of others in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fractal_core.commands.options import DEFAULT_WORKSPACE, ConfigPath, Debug, Json, RunId, Settings, WorkspacePath
from fractal_core.console import Output
from fractal_core.errors import UsageError
from fractal_core.interruption import interruptible
from fractal_core.publish.contents import Format

commands = typer.Typer()
# Standard input or output, where a file is asked for.
STANDARD = Path("-")


@commands.command(epilog="Example: fractal score fractal.toml new.jsonl --output scores.parquet")
def score(
    config: ConfigPath,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders of responses; - or none for JSON lines on standard input."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=".parquet or .jsonl; JSON lines on standard output."),
    ] = None,
    run_id: RunId = None,
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score the sentences of new responses with the scorer that a run has trained."""
    from fractal_core.results import find_results
    from fractal_core.scoring.scoring import in_words, score_files
    from fractal_core.scoring.trained import NEEDED
    from fractal_core.store.outside import check_outside
    from fractal_core.store.workspace import open_workspace
    from fractal_core.text.files import input_files

    del debug
    store = open_workspace(workspace, create=False)
    if not files:
        if sys.stdin.isatty():
            raise UsageError("No responses are given; name files of them, or pipe JSON lines in.")
        files = [STANDARD]
    if STANDARD in files and len(files) > 1:
        raise UsageError(f"{STANDARD} is standard input, which is scored by itself; name files, or {STANDARD} alone.")
    target = None if file == STANDARD else file
    if target is not None:
        check_outside(store, target)
    results = find_results(store, config, settings or (), run_id, until=NEEDED)
    given = None if files == [STANDARD] else input_files(files)
    output = Output(as_json)
    if results.config.runtime.runner != "local":
        from flows.orphans import start_guard

        start_guard()
    with interruptible():
        said = score_files(results, given, target, output.reporter(), force=force)
    if target is not None:
        output.say(said, in_words(said))
    else:
        output.reporter().note(in_words(said))


@commands.command(epilog="Example: fractal report fractal.toml --output report.html")
def report(
    config: ConfigPath,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; fractal-report-RUN.html here.")
    ] = None,
    run_id: RunId = None,
    responses: Annotated[int, typer.Option("--responses", min=1, help="Most responses to list.")] = 10_000,
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is no earlier report.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one HTML file about a run: figures, charts, and responses with every sentence shaded by its score."""
    from fractal_core.report.writing import write_report

    del debug
    with interruptible():
        written = write_report(workspace, config, settings or (), run_id, file, responses, force=force)
    words = f"Wrote {written.report}: {written.listed:,} of {written.responses:,} responses of run {written.run_id}"
    Output(as_json).say(written.__dict__, words)


@commands.command(epilog="Example: fractal export fractal.toml --to hf --output labels --license cc-by-4.0")
def export(
    config: ConfigPath,
    to: Annotated[Format, typer.Option("--to", help="Format.", show_default=False)],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.", show_default=False)],
    run_id: RunId = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="trl-prm: right from this posterior on; as the pseudo-label says.", show_default=False),
    ] = None,
    with_context: Annotated[
        bool, typer.Option("--with-context", help="trl-prm, preference: documents come first in the prompt.")
    ] = False,
    pairs_per_query: Annotated[int, typer.Option(min=1, help="preference: most pairs of one query.")] = 100,
    license_name: Annotated[str, typer.Option("--license", help="Licence that the data set card names.")] = "unknown",
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that has other files in it.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hand the results of a run on, in the format of others; nothing is computed."""
    from fractal_core.publish.contents import Options
    from fractal_core.publish.exporting import export_results, in_words
    from fractal_core.results import find_results
    from fractal_core.store.workspace import open_workspace

    del debug
    results = find_results(open_workspace(workspace, create=False), config, settings or (), run_id)
    options = Options(threshold, with_context, pairs_per_query, license_name)
    with interruptible():
        export = export_results(results, to, folder, options, force=force)
    Output(as_json).say(export, in_words(export))


@commands.command(epilog="Example: fractal convert prm800k phase2_train.jsonl phase2_test.jsonl --output steps.jsonl")
def convert(
    name: Annotated[str, typer.Argument(help="Format; a wrong one lists the known ones.", show_default=False)],
    files: Annotated[list[Path], typer.Argument(help="Files of that format.", show_default=False)],
    file: Annotated[Path, typer.Option("--output", "-o", help="File of JSON lines to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make input for fractal from the files of a known data set."""
    from fractal_core.convert.converting import convert as convert_files
    from fractal_core.convert.converting import in_words
    from fractal_core.store.outside import check_outside
    from fractal_core.store.workspace import Workspace

    del debug
    check_outside(Workspace(workspace), file)
    output = Output(as_json)
    total = sum(path.stat().st_size for path in files if path.is_file())
    with interruptible(), output.reporter().progress("convert", total) as progress:
        said = convert_files(name, files, file, progress.advance, force=force)
    output.say(said, in_words(said))
