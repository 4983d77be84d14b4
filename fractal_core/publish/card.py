"""The card of an exported data set: README.md with front matter that `datasets` and the Hugging Face hub read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fractal_core.config import RunConfig
from fractal_core.config_keys import walk
from fractal_core.config_loading import PACKAGED_ENCODER
from fractal_core.config_template import default_of, toml_value
from fractal_core.publish.balance import balances

if TYPE_CHECKING:
    from fractal_core.publish.contents import Contents, Options
    from fractal_core.results import Results

_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
_LARGEST = "10M<n<100M"
_TAGS = {"hf": [], "trl-prm": ["trl", "prm", "stepwise-supervision"], "preference": ["trl", "preference"]}
_TASKS = {"hf": "text-classification", "trl-prm": "token-classification", "preference": "text-generation"}
# What was computed does not depend on these.
_NOT_SHOWN = ("runtime", "export")


def write_card(path: Path, form: str, results: Results, contents: Contents, options: Options, folder: str) -> None:
    """Write the card of an export.

    Args:
        path: the file.
        form: format of the export.
        results: what was exported.
        contents: what the exporter wrote.
        options: how it was asked to.
        folder: name of the export's folder, for the commands that make it again.
    """
    environment = Environment(
        loader=PackageLoader("fractal_core.publish"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # noqa: S701  Markdown; `cell` escapes what stands in tables
    )  # fmt: skip
    environment.filters |= {"cell": _cell, "quoted": _quoted}
    text = environment.get_template("card.md.j2").render(
        form=form,
        license=options.license,
        language=results.config.segment.language,
        tags=["fractal", "sentence-labels", *_TAGS[form]],
        task=_TASKS[form],
        size=_size(sum(contents.parts[0].rows.values())),
        contents=contents,
        balances=balances(results),
        config=results.config,
        kind=results.kind,
        encoder=_encoder(results),
        figures=_figures(results),
        version=version("fractal"),
        run_id=results.record.run_id,
        config_name=results.config_path.name,
        settings=_settings(results.config),
        command=_command(form, results.config_path.name, folder, options),
    )
    path.write_text(text, encoding="utf-8")


def _size(rows: int) -> str:
    return next((words for most, words in _SIZES.items() if rows < most), _LARGEST)


def _encoder(results: Results) -> str:
    batch = next(results.batches("embeddings", ("encoder",), 1), None)
    return "none" if batch is None or batch.num_rows == 0 else Path(str(batch.column("encoder")[0].as_py())).name


def _figures(results: Results) -> dict[str, dict[str, Any]]:
    """Return by level (sentence first) the names of the figures, and rows of split, method, number and figures."""
    levels: dict[str, dict[str, Any]] = {}
    for figure in results.table("metrics", ("split", "level", "method", "metric", "value", "rows")).to_pylist():
        level = levels.setdefault(figure["level"], {"metrics": {}, "rows": {}})
        level["metrics"][figure["metric"]] = None
        row = level["rows"].setdefault((figure["split"], figure["method"]), {"rows": figure["rows"]})
        row[figure["metric"]] = f"{figure['value']:.3f}"
    return dict(sorted(levels.items(), key=lambda item: item[0] != "sentence"))


def _settings(config: RunConfig) -> list[str]:
    """Return the keys that are not at their default, as lines of TOML; of paths the last part, which is no secret."""
    values = config.model_dump(mode="json")
    lines = []
    for key in walk(RunConfig):
        section = key.name.split(".")[0]
        if key.section is not None or section in _NOT_SHOWN:
            continue
        value: Any = values
        for part in key.name.split("."):
            value = value[part]
        if value != default_of(key.field):
            lines.append(f"{key.name} = {toml_value(_without_folders(key.name, value))}")
    return lines


def _without_folders(key: str, value: Any) -> Any:
    if key == "input.path":
        return Path(value).name if isinstance(value, str) else [Path(path).name for path in value]
    return Path(value).name if key == "encoder.model" and value != PACKAGED_ENCODER else value


def _command(form: str, config: str, folder: str, options: Options) -> str:
    defaults: Mapping[str, object] = type(options)().__dict__
    words = ["fractal", "export", config, "--to", form]
    for name, value in options.__dict__.items():
        if value != defaults[name]:
            flag = f"--{name.replace('_', '-')}"
            words += [flag] if value is True else [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join([*words, "--output", folder])


def _quoted(text: str) -> str:
    """Write a text as JSON, which is YAML too."""
    return json.dumps(text, ensure_ascii=False)


def _cell(text: object) -> str:
    """Escape what would end a cell of a table or be taken for HTML."""
    plain = " ".join(str(text).split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
