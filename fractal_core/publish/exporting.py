"""`fractal export`: the results of a run in the format of others, from the tables of the store; nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fractal_core.publish.card import write_card
from fractal_core.publish.contents import Exporter, Format, Options
from fractal_core.publish.folder import new_folder
from fractal_core.publish.preference import write_preferences
from fractal_core.publish.sentences import write_data_set, write_parquet
from fractal_core.publish.stepwise import write_stepwise
from fractal_core.results import Results

_EXPORTERS: dict[Format, Exporter] = {
    "parquet": write_parquet,
    "hf": write_data_set,
    "trl-prm": write_stepwise,
    "preference": write_preferences,
}


def export_results(results: Results, form: Format, target: Path, options: Options, *, force: bool) -> dict[str, Any]:
    """Write an export and return what it is, as JSON values.

    The folder appears as a whole, and takes the place of an earlier export. Same results and options give the same
    bytes.

    Args:
        results: what to export.
        form: in which format.
        target: the folder to make.
        options: how.
        force: whether to replace a folder that has other files in it.

    Raises:
        UsageError: if the options do not fit the results, or the folder is not to be replaced.
        StoreError: if results are damaged, or the folder cannot be written.
    """
    about = {"format": form, "run_id": results.record.run_id, "fractal": version("fractal")}
    with new_folder(target, about, force=force, spare=_spare(results)) as folder:
        contents = _EXPORTERS[form](results, folder, options)
        if form != "parquet":
            write_card(folder / "README.md", form, results, contents, options, target.name)
    return {
        **about,
        "output": str(target),
        "rows": dict(contents.parts[0].rows),
        "row": contents.parts[0].row,
        "left_out": dict(contents.left_out),
    }


def in_words(export: dict[str, Any]) -> str:
    """Say in a line what was exported."""
    counts = ", ".join(f"{split} {rows:,}" for split, rows in export["rows"].items())
    left_out = "; ".join(f"{count:,} {why}" for why, count in export["left_out"].items())
    end = f" Left out: {left_out}." if left_out else ""
    return (
        f"Exported run {export['run_id']} as {export['format']} to {export['output']}: a row is {export['row']}; "
        f"{counts}.{end}"
    )


def _spare(results: Results) -> Sequence[Path]:
    """Return what an export must not replace: the workspace, the configuration, the input, and where we are."""
    given = results.config.input.path
    inputs = [given] if isinstance(given, str) else given
    workspace = next(iter(results.artefacts.values())).workspace.root
    return [workspace, results.config_path, Path.cwd(), *(Path(path) for path in inputs)]
