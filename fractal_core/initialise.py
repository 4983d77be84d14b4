"""`fractal init`: the configuration file beside the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

from fractal_core.config import Aggregation
from fractal_core.config_template import config_template
from fractal_core.errors import UsageError
from fractal_core.text.files import input_files


def write_template(data: Path, aggregation: str, output: Path | None) -> Path:
    """Write a commented configuration for `data` and return its path.

    Raises:
        UsageError: if the aggregation is unknown, or the file exists.
        InputError: if there is no such data.
    """
    if aggregation not in get_args(Aggregation):
        raise UsageError(f"--aggregation {aggregation} is unknown; it is one of {', '.join(get_args(Aggregation))}.")
    input_files([data])
    target = output or (data if data.is_dir() else data.parent) / "fractal.toml"
    if target.exists():
        raise UsageError(f"{target} exists already; name another file with --output.")
    relative = os.path.relpath(data.resolve(), target.resolve().parent)
    try:
        target.write_text(config_template(Path(relative).as_posix(), aggregation), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror}); name another file with --output.") from error
    return target
