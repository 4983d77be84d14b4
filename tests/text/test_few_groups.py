"""Tests of groups: what is said if there are too few of them for the splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fractal_core.errors import InputError

Read = Any

# With these names every group is dealt to test, or every one to train.
TEST = {"test_fraction": 1.0}
TRAIN = {"test_fraction": 1e-12}
PREFERENCES = {"label_kind": "preference", "aggregation": "auto"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(queries: list[str], **more: Any) -> list[dict[str, Any]]:
    """Return a row for each query, with both labels, and both texts of a pair."""
    texts = {"response": "One.", "response_a": "One.", "response_b": "Two.", "preference": 1}
    return [
        {"id": f"r{i}", "uid": f"u{i}", "query": query, "response_label": i % 2, **texts, **more}
        for i, query in enumerate(queries)
    ]


@pytest.mark.parametrize("options", [{}, PREFERENCES], ids=["labels", "pairs"])
@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (
            ["same"] * 20,
            "20 rows without a split are one group (a group has the same group, else query, else context), ",
        ),
        (["same", "other"] * 10, "20 rows without a split are 2 groups (a group has"),
    ],
    ids=["one", "two"],
)
def test_the_cause_is_named(
    options: dict[str, Any], queries: list[str], words: str, tmp_path: Path, read_files: Read
) -> None:
    """If nothing labelled is in train because all are of few groups, the error says so, and which key to set."""
    path = write(tmp_path / "x.jsonl", rows_of(queries))
    with pytest.raises(InputError) as error:
        read_files(path, columns={"id": "uid"}, **TEST, **options)
    assert words in str(error.value)
    assert 'never divided: set [input.columns] group = "uid" to deal them one by one' in str(error.value)
    half = {"test_fraction": 0.5} | options
    found = read_files(path, columns={"id": "uid", "group": "uid"}, **half)
    assert {row["split"] for row in found.rows("responses")} == {"train", "test"}


@pytest.mark.parametrize("queries", [[f"q{i}" for i in range(6)], [f"q{i // 2}" for i in range(40)]])
def test_other_causes_are_not_named(queries: list[str], tmp_path: Path, read_files: Read) -> None:
    """Groups of one response each, or many groups, are not the reason."""
    with pytest.raises(InputError, match="with a split column, or lower .input. dev_fraction and test_fraction"):
        read_files(write(tmp_path / "x.jsonl", rows_of(queries)), **TEST)


def test_one_group_in_train_is_noted(tmp_path: Path, read_files: Read) -> None:
    """One group that is dealt to train leaves nothing for dev and test; that is said unless nothing was asked for."""
    path = write(tmp_path / "x.jsonl", rows_of(["same"] * 4))
    (note,) = read_files(path, **TRAIN).runtime.notes
    assert note.startswith("All responses are in one split: 4 rows without a split are one group")
    assert read_files(path).runtime.notes == []
    for rows in (rows_of(["same"] * 4, split="train"), rows_of(["same"] * 4) + rows_of(["same"], id="x", split="dev")):
        assert read_files(write(path, rows), **TRAIN).runtime.notes == []
