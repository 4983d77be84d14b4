"""Splits and groups of responses: given, told by the name of a file, or dealt."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from written_rows import simple, write

Read = Callable[..., Any]


def test_splits_by_group(tmp_path: Path, read_files: Read) -> None:
    """Without a split, groups are dealt whole, in about the asked shares, and another seed deals them anew."""
    rows = simple(1_500)
    for i, row in enumerate(rows):
        row |= {"id": f"r{i:04}", "query": f"question {i // 3}"}
    path = write(tmp_path / "x.jsonl", rows)
    found = {}
    for seed in (0, 1):
        responses = read_files(path, dev_fraction=0.2, test_fraction=0.1, seed=seed).rows("responses")
        found[seed] = [row["split"] for row in responses]
        assert all(len(set(found[seed][i : i + 3])) == 1 for i in range(0, 1_500, 3))
        assert abs(found[seed].count("dev") / 1_500 - 0.2) < 0.06
        assert abs(found[seed].count("test") / 1_500 - 0.1) < 0.05
    assert found[0] != found[1]


def test_file_names_say_the_split(tmp_path: Path, read_files: Read) -> None:
    """train.jsonl and test.jsonl say the split of their rows, but a row's own split has precedence."""
    rows = simple(9)
    rows[8]["split"] = "dev"
    write(tmp_path / "train.jsonl", rows[:6])
    write(tmp_path / "test.jsonl.gz", rows[6:])
    result = read_files(tmp_path / "train.jsonl", tmp_path / "test.jsonl.gz")
    splits = {row["response_id"]: row["split"] for row in result.rows("responses")}
    assert [splits[str(row["id"])] for row in rows] == ["train"] * 6 + ["test"] * 2 + ["dev"]


def test_given_splits_are_kept(tmp_path: Path, read_files: Read) -> None:
    """Given splits win, in any of their names; only rows without one are dealt."""
    names = ["train", "Dev", "val", "valid", "validation", " test ", "", None]
    rows = [{**row, "split": name} for row, name in zip(simple(8), names, strict=True)]
    rows += [{**row, "id": f"t{row['id']}", "split": "train"} for row in simple(2)]
    result = read_files(write(tmp_path / "x.jsonl", rows), test_fraction=1.0)
    found = [row["split"] for row in result.rows("responses")]
    assert found == ["train", "dev", "dev", "dev", "dev", "test", "test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("row", "group"),
    [
        ({"group": "g", "query": "q", "context": "c"}, "g"),
        ({"group": 7, "query": "q"}, "7"),
        ({"group": " ", "query": "q", "context": "c"}, "q"),
        ({"query": "", "context": ["c", "d"]}, "c\nd"),
        ({"query": None, "context": []}, "r000"),
        ({"query": "q" * 64}, "q" * 64),
        ({"query": "q" * 65}, blake2b(b"q" * 65, digest_size=8).hexdigest()),
    ],
)
def test_group(row: dict[str, Any], group: str, tmp_path: Path, read_files: Read) -> None:
    """The group is the column, else the query, the context or the id; a long one is hashed."""
    rows = [simple(1)[0] | row, *simple(3)[1:]]
    assert read_files(write(tmp_path / "x.jsonl", rows)).rows("responses")[0]["group"] == group
