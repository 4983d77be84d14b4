"""Inputs and tables grow: a new column is no fault, one of another type is told, and old runs can still be asked."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import make_rows
from typer.testing import CliRunner

from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.cli import app
from fractal_core.errors import InputError
from fractal_core.store.runs import list_runs
from fractal_core.store.stage import Stage
from fractal_core.table import Column
from fractal_core.tables import TABLES


def write_jsonl(folder, rows):
    """Write an object a line."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(folder, rows):
    """Write a table."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


def write_csv(folder, rows):
    """Write text."""
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows({name: json.dumps(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows)


FORMATS = [write_jsonl, write_parquet, write_csv]


def plain_rows():
    """Rows that every format can hold."""
    return make_rows(24)


@pytest.mark.parametrize("write", FORMATS)
def test_new_column_is_accepted(again, write):
    """Columns that nobody asked for, of any type: the input is read again, and nothing else is computed."""
    folder = again.folder / "rows"
    folder.mkdir()
    write(folder, plain_rows())
    again.run("input.path=rows")
    extra = (
        {"notes": {"by": ["me"]}, "Score!": 0.5, "": None, "größe": "groß"} if write is not write_csv else {"n": "x"}
    )
    write(folder, [{**row, **extra} for row in plain_rows()])
    assert again.run("input.path=rows") == ["read"]
    assert again.last.artefacts["read"].rows_out == {"responses": 24, "rejects": 0}


# A change of a column's values, what the values should be, and what is said of the first of them.
RETYPED = [
    ("response", lambda value: len(value), "response is not text", r"response = \d+, which is a whole number"),
    ("response_label", str, "label is not a number", r"response_label = '[01]', which is text"),
    ("response_label", lambda value: [value], "label is not a number", r"response_label = \[[01]\], which is a list"),
    ("query", lambda value: {"text": value}, "query is not text", r"query = \{.*\}, which is an object"),
    ("context", lambda value: 1.5, "context is neither text nor a list of text", "context = 1.5, which is a number"),
    ("sentences", " ".join, "sentences are not a list of text", "sentences: '.*', which is text"),
    (
        "sentence_labels",
        lambda value: [str(label) for label in value],
        "sentence label is not a number",
        "sentence_labels: label 0 is '[01]', which is text",
    ),
]


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
@pytest.mark.parametrize(("column", "change", "expected", "found"), RETYPED)
def test_another_type_is_an_error(again, write, column, change, expected, found):
    """One sentence before anything is computed: the column, the type it should have and has, file and row, values."""
    folder = again.folder / "rows"
    folder.mkdir()
    rows = plain_rows()
    # The first rows are as they were; a table has one type for all.
    good = 3 if write is write_jsonl else 0
    write(folder, [*rows[:good], *({**row, column: change(row[column])} for row in rows[good:])])
    before = sorted(again.workspace.manifests.iterdir())
    with pytest.raises(InputError, match=rf"{expected} \(\d+, first at rows\.\w+:{good + 1}: {found}\)\.") as caught:
        again.run("input.path=rows")
    assert "\n" not in str(caught.value)
    assert sorted(again.workspace.manifests.iterdir()) == before
    assert list(again.last.artefacts) == []


def test_another_type_in_few_rows_rejects_them(again):
    """Up to `max_reject_fraction` the rows are put aside with the same words."""
    rows = plain_rows()
    rows[5]["response_label"] = "1"
    again.give(rows)
    assert "read" in again.run()
    (reject,) = again.table("read", "rejects").to_pylist()
    assert (reject["line"], reject["reason"]) == (6, "label is not a number")
    assert reject["detail"] == "response_label = '1', which is text"


@pytest.fixture
def grown(monkeypatch):
    """A new version of fractal, in which table metrics has a column more, and stage evaluate fills it."""
    table = TABLES["metrics"]
    column = Column("unit", pa.string(), "What the value is in.", nullable=True)
    load = Stage.load

    def add_unit(rows):
        return rows.append_column("unit", pa.array(["share"] * len(rows)))

    def filled(stage):
        body = load(stage)

        def compute(inputs, params, outputs, runtime):
            write = outputs.write
            outputs.write = lambda name, rows: write(name, add_unit(rows) if name == "metrics" else rows)
            body(inputs, params, outputs, runtime)

        return compute if stage.name == "evaluate" else body

    def upgrade():
        monkeypatch.setitem(TABLES, "metrics", replace(table, columns=(*table.columns, column)))
        monkeypatch.setattr(Stage, "load", filled)

    return upgrade


def ask(runner, sql):
    """Return the rows that `fractal query` answers."""
    result = CliRunner().invoke(app, ["query", sql, "--workspace", str(runner.workspace.root), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_old_runs_can_be_asked_with_new_ones(again, grown):
    """Before any new run the new column is there, and null; after one both are answered together."""
    again.run()
    old = again.last.record.run_id
    rows = again.last.artefacts["evaluate"].rows_out["metrics"]
    grown()
    count = (
        "SELECT run_id, count(*) AS rows, count(unit) AS units, min(unit) AS unit FROM {} GROUP BY ALL ORDER BY run_id"
    )
    nothing = {"rows": rows, "units": 0, "unit": None}
    assert ask(again, count.format("latest.metrics")) == [{"run_id": old, **nothing}]
    assert again.run() == ["evaluate"]
    assert [r.reason for r in again.last.record.stages if not r.reused] == ["columns of table metrics changed"]
    new = again.last.record.run_id
    everything = {"rows": rows, "units": rows, "unit": "share"}
    assert ask(again, count.format("latest.metrics")) == [{"run_id": new, **everything}]
    found = {row.pop("run_id"): row for row in ask(again, count.format("metrics"))}
    assert found[old] == nothing
    assert found[new] == everything
    joined = "SELECT count(*) AS n FROM metrics AS a JOIN metrics AS b USING (split, level, method, metric) "
    assert ask(again, f"{joined} WHERE a.run_id = '{old}' AND b.run_id = '{new}' AND b.unit = 'share'") == [{"n": rows}]


def test_columns_that_are_gone_can_still_be_asked_for(again, monkeypatch):
    """A column that a later version does not write any more is null in its runs."""
    again.run()
    old, table = again.last.record.run_id, TABLES["metrics"]
    load = Stage.load

    def leave_out(stage):
        def compute(inputs, params, outputs, runtime):
            write = outputs.write
            outputs.write = lambda name, rows: write(name, rows.drop_columns(["rows"]) if name == "metrics" else rows)
            load(stage)(inputs, params, outputs, runtime)

        return compute if stage.name == "evaluate" else load(stage)

    monkeypatch.setitem(TABLES, "metrics", replace(table, columns=tuple(c for c in table.columns if c.name != "rows")))
    monkeypatch.setattr(Stage, "load", leave_out)
    assert again.run() == ["evaluate"]
    found = ask(again, "SELECT run_id, count(*) AS n, count(rows) AS known FROM metrics GROUP BY ALL")
    known = {row["run_id"]: row["known"] for row in found}
    assert known[old] == found[0]["n"] > 0
    assert known[again.last.record.run_id] == 0


def test_records_and_manifests_of_older_versions_are_read(again):
    """What was written before a field was there has its default: the run is listed, its stages are reused."""
    again.run()
    for path, fields in (
        *((path, ("rows_reused", "withdrawn", "figures", "sha256")) for path in again.workspace.manifests.iterdir()),
        *((path, ("flow_run_id", "sha256")) for path in again.workspace.runs.iterdir()),
    ):
        content = json.loads(path.read_bytes())
        for name in fields:
            content.pop(name)
        for stage in content.get("stages", []):
            stage.pop("rows_computed")
            stage.pop("figures")
        path.write_text(json.dumps(content))
    assert {run.state for run in list_runs(again.workspace)} == {"completed"}
    assert again.run() == []
    warnings = []
    connection = connect(again.workspace, warnings.append)
    assert execute(connection, "SELECT count(DISTINCT run_id) FROM pseudolabels").fetchall() == [(3,)]
    assert warnings == []
