"""`fractal init`: the configuration file beside the data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import get_args

from fractal_core.config import Aggregation
from fractal_core.config_template import config_template
from fractal_core.errors import UsageError
from fractal_core.text.files import input_files
from fractal_core.text.labels import number_in, number_of
from fractal_core.text.rows import first_columns, raw_rows

_PAIR = {"response_a", "response_b"}
_LABEL = "response_label"
# The highest that input.grades can be.
_MOST_GRADES = 20
_ROWS_LOOKED_AT = 100_000


def write_template(data: Path, aggregation: str | None, output: Path | None) -> Path:
    """Write a commented configuration for `data` and return its path.

    If the data have pairs of responses, the configuration says that the labels are preferences; if the labels look
    like grades, it says so, with the highest one.

    Args:
        data: file or folder.
        aggregation: value of the key; None for "auto" where pairs are compared, else "min".
        output: where to write; None for fractal.toml beside the data.

    Raises:
        UsageError: if the aggregation is unknown or does not fit the data, or the file exists.
        InputError: if there is no such data, or it cannot be read.
    """
    if aggregation is not None and aggregation not in get_args(Aggregation):
        raise UsageError(f"--aggregation {aggregation} is unknown; it is one of {', '.join(get_args(Aggregation))}.")
    files = input_files([data])
    pairs = set(first_columns(files[0])) >= _PAIR
    if pairs and aggregation not in (None, "auto"):
        raise UsageError(
            f"--aggregation {aggregation} does not fit {data}, which has pairs of responses (response_a, response_b): "
            "leave it out, or say auto."
        )
    aggregation = aggregation or ("auto" if pairs else "min")
    target = output or (data if data.is_dir() else data.parent) / "fractal.toml"
    if target.exists():
        raise UsageError(f"{target} exists already; name another file with --output.")
    relative = os.path.relpath(data.resolve(), target.resolve().parent)
    found: dict[str, str | int] = {"input.label_kind": "preference"} if pairs else {}
    remarks: dict[str, str] = {}
    highest = None if pairs or aggregation == "auto" else highest_grade(files)
    if highest is not None:
        found = {"input.label_kind": "ordinal", "input.grades": highest}
        # Only under avg does a number of sentences make a label.
        other = ', or "count" if they are numbers of good sentences' if aggregation == "avg" else ""
        remarks = {
            "input.label_kind": f"Found in the data: labels are whole numbers from 0 to {highest}, taken for "
            f'grades; make it "real" if they are none{other}.',
            "input.grades": "Found in the data; raise it if there are higher grades.",
        }
    template = config_template(Path(relative).as_posix(), aggregation, found, remarks)
    try:
        target.write_text(template, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror}); name another file with --output.") from error
    return target


def highest_grade(files: Sequence[Path], rows: int = _ROWS_LOOKED_AT) -> int | None:
    """Return the highest label of responses if the labels look like grades: whole numbers from 0 to 2..20.

    Counts look the same. What is no number is passed over.

    Args:
        files: the data.
        rows: how many rows are looked at, from the first on.

    Raises:
        InputError: if a file cannot be read.
    """
    highest = 0
    for label in islice(_labels(files), rows):
        if label is None:
            continue
        if not 0 <= label <= _MOST_GRADES or label != int(label):
            return None
        highest = max(highest, int(label))
    return highest if highest > 1 else None


def _labels(files: Sequence[Path]) -> Iterator[float | None]:
    """Yield the label of every row, None where it has none."""
    for file in files:
        for row in raw_rows(file, file.name, (_LABEL,), lambda _: None):
            value = row.values.get(_LABEL) if isinstance(row.values, dict) else None
            number = number_of(number_in(value) if not row.typed and isinstance(value, str) else value)
            yield None if number is None else float(number)
