"""Tests of what priors.column asks of the input, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fractal_core.config import Columns
from fractal_core.errors import InputError
from fractal_core.text.checks import check_prior_column

ROW = {"id": "a", "response": "One.", "response_label": 1, "sentence_labels": "[1]"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format of the suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, line)) for line in (rows[0], *(row.values() for row in rows))))
    else:
        path.write_text("not json\n" + "".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(files: list[Path], **columns: str) -> str:
    """Return the message of the error."""
    with pytest.raises(InputError) as caught:
        check_prior_column(files, Columns(**columns), "auto")
    return str(caught.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_a_missing_column_stops_the_run(name: str, tmp_path: Path) -> None:
    """The error has the setting, the missing column, those that are there, the nearest unused one, and what to do."""
    message = refused([write(tmp_path / name, [ROW | {"judge_prior": 0.5}] * 3)])
    assert message == (
        f'priors.column = true, but {name} has no column "prior", only "id", "response", "response_label", '
        '"sentence_labels", "judge_prior": did you mean "judge_prior"? Then write [input.columns] prior = '
        '"judge_prior" in the configuration, or set priors.column = false.'
    )


def test_columns_of_several_files_are_listed_once(tmp_path: Path) -> None:
    """Without the column in any of several files, the error names the columns of all, and none that has a role."""
    files = [write(tmp_path / "a.jsonl", [ROW]), write(tmp_path / "b.csv", [ROW | {"z": 1}])]
    message = refused(files, prior="belief")
    assert 'none of the 2 input files has a column "belief", only "id", "response", ' in message
    assert message.count('"response_label"') == 1
    assert 'if another one holds your numbers, write [input.columns] prior = "..."' in message


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_the_column_may_have_another_name(name: str, tmp_path: Path) -> None:
    """A column that is there under the name that the configuration has is found, in any file and whatever it holds."""
    files = [write(tmp_path / "other.jsonl", [ROW]), write(tmp_path / name, [ROW | {"belief": ""}])]
    check_prior_column(files, Columns(prior="belief"), "auto")


def test_one_row_with_the_column_is_enough(tmp_path: Path) -> None:
    """In JSONL the last of many rows may be the first to have it."""
    check_prior_column([write(tmp_path / "x.jsonl", [*[ROW] * 50, ROW | {"prior": 0.5}])], Columns(), "auto")


def test_pairs_have_no_numbers(tmp_path: Path) -> None:
    """For pairs the setting is refused, whatever columns there are."""
    files = [write(tmp_path / "x.jsonl", [ROW | {"prior": 0.5}])]
    with pytest.raises(InputError, match=r'priors\.column = true .* label_kind = "preference" .* priors\.sql'):
        check_prior_column(files, Columns(), "preference")
