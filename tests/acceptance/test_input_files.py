"""Input in several files that are renamed, repeated and exported beside: what is computed, and what is said of it."""

from __future__ import annotations

import csv
import json

import pytest
from clean_runs import check_clean, clean_run
from small_data import write_jsonl

from fractal_core.errors import InputError

PARTS = "input.path=parts"


@pytest.fixture
def parts(runner):
    """The input as two files in a folder; a row of either has the id of one in the other."""
    rows = runner.rows()
    folder = runner.folder / "parts"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", rows[:30])
    write_jsonl(folder / "b.jsonl", [*rows[30:], {**rows[29], "query": "Another one?"}])
    return folder


def computed(runner):
    """Rows of the row-local stages that were computed in the last run."""
    return [record.rows_computed for record in runner.last.record.stages][:3]


def duplicate(runner):
    """The one row of table rejects, and the response whose id it has."""
    (reject,) = runner.table("read", "rejects").to_pylist()
    name = reject["detail"].split()[0]
    (kept,) = (row for row in runner.table("read", "responses").to_pylist() if row["response_id"] == name)
    return reject, kept


def test_a_renaming_computes_nothing(runner, runner_in, parts, tmp_path):
    """Not even if the files change places: a clean run has the same rows, and differs in the names alone."""
    runner.run(PARTS, until="priors")
    (parts / "a.jsonl").rename(parts / "z.jsonl")
    assert runner.run(PARTS, until="priors") == []
    clean = clean_run(runner, runner_in, tmp_path / "clean", PARTS)
    before, after = (each.table("read", "responses") for each in (runner, clean))
    assert before.drop_columns(["source"]).equals(after.drop_columns(["source"]))
    assert set(before.column("source").to_pylist()) == {"a.jsonl", "b.jsonl"}
    assert set(after.column("source").to_pylist()) == {"z.jsonl", "b.jsonl"}
    mine = {name: content for name, content in runner.bytes().items() if not name.startswith("read/")}
    assert mine == {name: content for name, content in clean.bytes().items() if name in mine}
    reject, kept = duplicate(clean)
    assert f"{reject['source']}:{reject['line']}" in reject["detail"]
    assert f"{kept['source']}:{kept['line']}" in reject["detail"]
    assert {reject["source"], kept["source"]} == {"z.jsonl", "b.jsonl"}


def test_a_renamed_file_that_also_grew_has_its_name_of_now(runner, runner_in, parts, tmp_path):
    """Once something is read, every row says what its file is called now, whether it was judged again or not."""
    runner.run(PARTS, until="priors")
    (parts / "a.jsonl").rename(parts / "z.jsonl")
    with (parts / "b.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**runner.rows()[0], "id": "new"}) + "\n")
    assert runner.run(PARTS, until="priors")[0] == "read"
    assert computed(runner)[0] == 1
    check_clean(runner, runner_in, tmp_path / "clean", PARTS)


def test_a_repeated_id_names_both_places(runner, runner_in, parts, tmp_path):
    """In one file, across files, and after increments: file and line of the row kept and of the one rejected."""
    runner.run(PARTS, until="priors")
    reject, kept = duplicate(runner)
    assert {(row["source"], row["line"]) for row in (reject, kept)} == {("a.jsonl", 30), ("b.jsonl", 31)}
    assert reject["reason"] == "duplicate id"
    assert reject["detail"] == (
        f"{kept['response_id']} is at {kept['source']}:{kept['line']} and again at {reject['source']}:{reject['line']}"
    )
    rows = runner.rows()
    write_jsonl(parts / "c.jsonl", [{**rows[3], "id": "new"}, {**rows[4], "id": "new"}])
    runner.run(PARTS, until="priors")
    assert computed(runner)[0] == 2
    details = [row["detail"] for row in runner.table("read", "rejects").to_pylist()]
    assert details == [reject["detail"], "new is at c.jsonl:1 and again at c.jsonl:2"]
    write_jsonl(parts / "c.jsonl", [{**rows[4], "id": "new"}])
    runner.run(PARTS, until="priors")
    assert computed(runner) == [0, 0, 0]
    check_clean(runner, runner_in, tmp_path / "clean", PARTS)


def test_a_name_that_says_another_format_is_another_input(runner):
    """The same bytes are not the same rows once the name says tabs."""
    rows = [
        {"id": row["id"], "response": "One\ttwo.", "response_label": row["response_label"]} for row in runner.rows()
    ]
    with (runner.folder / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row.values() for row in rows)])
    runner.run("input.path=x.csv", until="read")
    (runner.folder / "x.csv").rename(runner.folder / "x.tsv")
    with pytest.raises(InputError, match="x.tsv has its cells separated by commas"):
        runner.run("input.path=x.tsv", until="read")


def test_exporting_into_the_input_folder(runner, parts):
    """What a run exports there is no input of the next, which finds nothing to do."""
    settings = (PARTS, "train.epochs=3", f"export.directory={parts / 'out'}")
    assert runner.run(*settings)[-1] == "export"
    assert (parts / "out" / "labels.parquet").is_file()
    assert runner.run(*settings) == []
    with pytest.raises(InputError, match="out/labels.parquet is a file of labels that fractal has written"):
        runner.run(*settings[:2])
    (parts / "out" / "labels.parquet").unlink()
    assert runner.run(*settings[:2], f"export.directory={parts}") == []
    assert (parts / "labels.parquet").is_file()
    assert runner.run(*settings[:2], f"export.directory={parts}") == []
