"""Rows with one id in several files: which is kept depends on the rows, not on what the files are called."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from written_rows import simple, write

Read = Any

_SAME_ID = [{"id": "same", "response": f"Version {i}.", "response_label": 0} for i in range(5)]


def kept_of(result: Any) -> tuple[str, Counter[str]]:
    """Return the text that was kept of the responses called "same", and the ids of the others' rows."""
    texts = [row["response"] for row in result.rows("responses") if row["response_id"] == "same"]
    return texts[0], Counter(row["reason"] for row in result.rows("rejects"))


@pytest.mark.parametrize("files", [{"a": [0, 1], "b": [2, 3], "c": [4]}, {"a": [4], "b": [3, 1, 0]}])
def test_names_do_not_decide_which_row_is_kept(files: dict[str, list[int]], tmp_path: Path, read_files: Read) -> None:
    """Of one file it is the first; of several the same one whatever they are called and whatever else is in them."""
    others = simple(4)
    found = []
    for number, names in enumerate((sorted(files), sorted(files, reverse=True))):
        folder = tmp_path / str(number)
        for name, rows in zip(names, files.values(), strict=True):
            write(folder / f"{name}.jsonl", [others[len(rows)], *(_SAME_ID[i] for i in rows)])
        write(folder / f"more{number}.jsonl", others[:2])
        found.append(kept_of(read_files(folder)))
    firsts = {_SAME_ID[rows[0]]["response"] for rows in files.values()}
    assert found[0] == found[1]
    assert found[0][0] in firsts
    for name, rows in files.items():
        alone = write(tmp_path / "alone" / f"{name}.jsonl", [*others, *(_SAME_ID[i] for i in rows)])
        assert kept_of(read_files(alone))[0] == _SAME_ID[rows[0]]["response"]


def test_folders_do_not_decide_the_split_of_copies(tmp_path: Path, read_files: Read) -> None:
    """Of copies on one line of train.jsonl and test.jsonl the same one is kept wherever the files lie."""
    found = set()
    for number, folders in enumerate((("a", "b"), ("b", "a"))):
        for name, folder in zip(("train", "test"), folders, strict=True):
            rows = simple(5 if name == "train" else 2)
            write(tmp_path / str(number) / folder / f"{name}.jsonl", [*_SAME_ID[:1], *rows])
        result = read_files(tmp_path / str(number))
        found.add(tuple((row["response_id"], row["split"]) for row in result.rows("responses")))
    assert len(found) == 1


def test_both_places_are_told_across_files(tmp_path: Path, read_files: Read) -> None:
    """A repeated id names file and line of the row kept and of the one rejected, by the files' names of now."""
    for names in (("a.jsonl", "b.jsonl"), ("x.jsonl", "b.jsonl")):
        folder = tmp_path / names[0]
        write(folder / names[0], [*simple(2), _SAME_ID[0]])
        write(folder / names[1], [_SAME_ID[1], *simple(3)[2:]])
        result = read_files(folder)
        (reject,) = result.rows("rejects")
        (kept,) = (row for row in result.rows("responses") if row["response_id"] == "same")
        places = {names[0]: 3, names[1]: 1}
        assert places == {kept["source"]: kept["line"], reject["source"]: reject["line"]}
        assert reject["detail"] == (
            f"same is at {kept['source']}:{kept['line']} and again at {reject['source']}:{reject['line']}"
        )
        assert json.loads(reject["raw"])["response"] != kept["response"]
