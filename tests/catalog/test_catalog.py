"""SQL over committed artefacts: all runs, the newest run, and nothing but questions."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.catalog.rendering import as_text, write_parquet
from fractal_core.errors import QueryError
from fractal_core.store.runs import StageRecord, finished, new_run, save_run
from fractal_core.tables import RUNS, STAGES, TABLES


def _record(bench, state="completed"):
    """Run the fake stages and record it as a run."""
    outcomes = bench.run()
    run = new_run("fractal.toml", {"aggregation": "min"})
    stages = tuple(
        StageRecord(
            o.artefact.stage, o.artefact.fingerprint, o.reused, o.reason, o.seconds, 3, o.artefact.rows_out, ["n"]
        )
        for o in outcomes
    )
    run = finished(type(run)(**{**run.__dict__, "stages": stages}), state)
    save_run(bench.workspace, run)
    return run, outcomes


@pytest.fixture
def two_runs(bench):
    """Two completed runs with different scores, oldest first."""
    first = _record(bench)
    bench.factor = 2
    return bench, first, _record(bench)


def _rows(bench, sql):
    return execute(connect(bench.workspace), sql).fetchall()


def test_tables_have_the_rows_of_all_runs(two_runs):
    """A table has every run's rows under its id; schema latest has the newest run's."""
    bench, (old, _), (new, _) = two_runs
    counts = dict(_rows(bench, "SELECT run_id, count(*) FROM scores GROUP BY ALL"))
    assert counts == {old.run_id: 3, new.run_id: 3}
    assert _rows(bench, "SELECT DISTINCT run_id FROM latest.scores") == [(new.run_id,)]
    assert _rows(bench, "SELECT sum(probability) FROM latest.scores") == [(12.0,)]


def test_every_table_is_there_even_if_empty(bench):
    """All promised tables can be queried in an empty workspace, with their columns."""
    connection = connect(bench.workspace)
    for table in (*TABLES.values(), STAGES, RUNS):
        cursor = execute(connection, f"SELECT * FROM {table.name}")
        names = [column[0] for column in cursor.description]
        assert set(names) >= {"run_id", *(c.name for c in table.columns)}
        assert cursor.fetchall() == []


def test_damaged_artefact_is_left_out(two_runs):
    """A torn file is invisible; the rest can still be queried."""
    bench, _, (_, outcomes) = two_runs
    path = outcomes[1].artefact.path("scores")
    path.write_bytes(path.read_bytes()[:20])
    assert len(_rows(bench, "SELECT DISTINCT run_id FROM scores")) == 1


def test_uncommitted_work_is_invisible(two_runs):
    """A folder that no manifest lists does not exist for SQL."""
    bench, _, _ = two_runs
    before = _rows(bench, "SELECT count(*) FROM scores")
    stray = bench.workspace.artefacts / "second-stray"
    stray.mkdir()
    (stray / "scores.parquet").write_bytes(b"not parquet")
    assert _rows(bench, "SELECT count(*) FROM scores") == before


def test_stages_and_runs_tell_what_ran(two_runs):
    """`stages` has reuse and reason, `runs` state and configuration."""
    bench, (old, _), (new, _) = two_runs
    assert _rows(bench, "SELECT stage, reused FROM latest.stages ORDER BY position") == [
        ("first", True),
        ("second", False),
    ]
    assert [row[0] for row in _rows(bench, "SELECT run_id FROM runs")] == [new.run_id, old.run_id]
    assert json.loads(_rows(bench, "SELECT config FROM latest.runs")[0][0]) == {"aggregation": "min"}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO scores SELECT * FROM scores",
        "DROP VIEW scores",
        "ATTACH 'x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "PRAGMA threads = 1",
        "COPY (SELECT 1) TO 'x.csv'",
        "EXPORT DATABASE 'x'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'",
        "EXPLAIN CREATE TABLE t AS SELECT 1",
        "CALL pragma_version(); DROP VIEW scores",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "",
    ],
)
def test_only_questions_are_answered(two_runs, sql, tmp_path, monkeypatch):
    """Writing, attaching, installing, copying out, settings and files are refused in one sentence."""
    bench, _, _ = two_runs
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(QueryError) as error:
        execute(connect(bench.workspace), sql).fetchall()
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_artefacts_cannot_be_overwritten_by_sql(two_runs):
    """COPY onto a listed file is refused although reading it is allowed."""
    bench, _, (_, outcomes) = two_runs
    path = outcomes[1].artefact.path("scores")
    before = path.read_bytes()
    with pytest.raises(QueryError):
        execute(connect(bench.workspace), f"COPY (SELECT 1) TO '{path}' (FORMAT parquet, USE_TMP_FILE false)")
    assert path.read_bytes() == before


QUESTIONS = [
    "SHOW TABLES",
    "DESCRIBE scores",
    "SUMMARIZE scores",
    "FROM scores",
    "EXPLAIN SELECT 1",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "VALUES (1)",
]


@pytest.mark.parametrize("sql", QUESTIONS)
def test_every_kind_of_question_is_answered(two_runs, sql):
    """What only reads is allowed."""
    assert _rows(two_runs[0], sql)


def test_python_variables_are_out_of_reach(two_runs):
    """DuckDB's replacement scans do not see this process's variables."""
    frame = [1, 2]
    assert frame
    with pytest.raises(QueryError):
        _rows(two_runs[0], "SELECT * FROM frame")


def test_formats(two_runs, tmp_path):
    """CSV, JSON and Parquet hold the same rows."""
    bench, _, _ = two_runs
    sql = "SELECT sentence_index AS i, probability AS p FROM latest.scores ORDER BY i"
    assert as_text(execute(connect(bench.workspace), sql), "csv") == "i,p\n0,2.0\n1,4.0\n2,6.0"
    expected = [{"i": 0, "p": 2.0}, {"i": 1, "p": 4.0}, {"i": 2, "p": 6.0}]
    assert json.loads(as_text(execute(connect(bench.workspace), sql), "json")) == expected
    assert write_parquet(execute(connect(bench.workspace), sql), tmp_path / "out.parquet") == 3
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == expected
