"""SQL over committed artefacts: all runs, the newest run, and nothing but questions."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fractal_core.catalog.asking import ask
from fractal_core.catalog.connection import connect
from fractal_core.catalog.prompt import converse
from fractal_core.catalog.query import execute
from fractal_core.catalog.rendering import as_text, print_table, write_parquet
from fractal_core.cli import app
from fractal_core.errors import QueryError, UsageError
from fractal_core.recording import stage_record
from fractal_core.store.runs import finished, new_run, save_run
from fractal_core.tables import RUNS, STAGES, TABLES


def _record(bench, state="completed"):
    """Run the fake stages and record it as a run."""
    outcomes = bench.run()
    run = new_run("fractal.toml", {"aggregation": "min"})
    stages = tuple(stage_record(o.artefact, reused=o.reused, reason=o.reason, seconds=o.seconds) for o in outcomes)
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
    """`stages` has reuse, reason and what was measured, `runs` state and configuration."""
    bench, (old, _), (new, _) = two_runs
    assert _rows(bench, "SELECT stage, reused FROM latest.stages ORDER BY position") == [
        ("first", True),
        ("second", False),
    ]
    assert _rows(bench, "SELECT figures ->> 'largest' FROM stages WHERE run_id = (SELECT min(run_id) FROM runs)") == [
        (None,),
        ("3.0",),
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


def _stopped(bench):
    """Record a run that stopped after the first of the stages."""
    run, _ = _record(bench)
    run = type(run)(**{**run.__dict__, "stages": run.stages[:1]})
    save_run(bench.workspace, run)
    return run


def _warnings(bench, sql):
    """Return what connecting for a question warns of, and how often it says that the question lacks rows."""
    warnings, gaps = [], []
    connect(bench.workspace, warnings.append, sql=sql, on_gap=lambda: gaps.append(sql))
    return warnings, len(gaps)


def test_a_table_that_the_newest_run_has_not_come_to_is_said(bench):
    """Schema latest stays one run; who asks it for a table of a later stage hears which run has that table."""
    older, _ = _record(bench)
    newer = _stopped(bench)
    words = (
        f"latest is run {newer.run_id}, which stopped after first, so latest.scores is empty; run {older.run_id} has "
        f"that table: FROM scores WHERE run_id = '{older.run_id}'"
    )
    assert _warnings(bench, 'SELECT count(*) FROM "latest"."scores"') == ([words], 0)
    assert _rows(bench, "SELECT count(*) FROM latest.scores") == [(0,)]
    assert _rows(bench, f"SELECT count(*) {words.split(': ')[1]}") == [(3,)]
    for sql in ("FROM scores", "FROM latest.sentences", "FROM latest.rejects", "SELECT 1"):
        assert _warnings(bench, sql) == ([], 0)
    _record(bench)
    assert _warnings(bench, "FROM latest.scores") == ([], 0)


def test_only_the_rows_a_question_asks_for_are_missed(two_runs):
    """A damaged artefact is warned of whatever is asked; it is a gap in the answers that would be made from it."""
    bench, (old, outcomes), _ = two_runs
    outcomes[1].artefact.path("scores").unlink()
    for sql, gaps in [("FROM scores", 1), ("FROM latest.scores", 0), ("FROM sentences", 0), ("SELECT 1", 0)]:
        warnings, count = _warnings(bench, sql)
        assert (len(warnings), count) == (1, gaps)
        assert warnings[0].startswith(f"stage second of run {old.run_id} is left out")


def test_control_characters_do_not_reach_the_screen(bench):
    """A table shows them escaped, in cells, lists and names of columns; files have them as they are."""
    sql = "SELECT 'a' || chr(27) || '[2J' || chr(0) || chr(155) || chr(127) || 'é' AS \"x\x1by\""
    shown = io.StringIO()
    print_table(execute(connect(bench.workspace), sql), Console(file=shown, width=80))
    assert r"a\x1b[2J\x00\x9b\x7fé" in shown.getvalue()
    assert r"x\x1by" in shown.getvalue()
    assert as_text(execute(connect(bench.workspace), sql), "csv") == "x\x1by\na\x1b[2J\x00\x9b\x7fé"


def _conversation(bench, monkeypatch, capsys, text):
    """Return what the prompt answers on a pipe in JSON, and the errors it says before it ends."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    try:
        converse(bench.workspace.root, "json")
        last = []
    except QueryError as error:
        last = [str(error)]
    out, err = capsys.readouterr()
    answers = [] if not out else json.loads("[" + out.strip().replace("\n]\n[", "\n],\n[") + "]")
    return answers, [json.loads(line)["error"] for line in err.splitlines()] + last


def test_prompt_answers_every_statement_of_a_line(bench, monkeypatch, capsys):
    """Statements end with semicolons, but for those in strings, names and comments; empty ones are none."""
    text = (
        "SELECT 'é;' AS a; SELECT 2 AS \"b;\" -- not here;\n, 3 AS c;; ;\n\n-- nothing;\nSELECT 4 AS d;SELECT\n5 AS e\n"
    )
    assert _conversation(bench, monkeypatch, capsys, text) == (
        [[{"a": "é;"}], [{"b;": 2, "c": 3}], [{"d": 4}], [{"e": 5}]],
        [],
    )


def test_prompt_says_each_error_by_itself(bench, monkeypatch, capsys):
    """An unknown command, and a wrong statement before a right one on its line, spoil nothing; each is JSON."""
    answers, errors = _conversation(
        bench, monkeypatch, capsys, "SELECT 1 AS a;\n\n.tables\nSELEC; SELECT 2 AS b;\n\n.quit\nSELECT 3 AS c;"
    )
    assert answers == [[{"a": 1}], [{"b": 2}]]
    assert errors[0].startswith("There is no command .tables.")
    assert [error.split(":")[0] for error in errors[1:]] == ["Parser Error", "A query failed, see above."]


@pytest.mark.parametrize("form", ["csv", "json", "table", "parquet"])
def test_a_file_is_replaced_by_force_alone(bench, tmp_path, form):
    """An answer is written over nothing that is there already, unless that is asked for."""
    path = tmp_path / "answer"
    ask(bench.workspace.root, "SELECT 1 AS a", form, path)
    first = path.read_bytes()
    with pytest.raises(UsageError, match="exists already; name another, or replace it with --force"):
        ask(bench.workspace.root, "SELECT 22 AS a", form, path)
    assert path.read_bytes() == first
    ask(bench.workspace.root, "SELECT 22 AS a", form, path, force=True)
    assert path.read_bytes() != first


def test_nothing_in_the_workspace_is_replaced(bench):
    """Not even by force, whichever command it is."""
    root = bench.workspace.root
    victim = root / "workspace.json"
    before = victim.read_bytes()
    for words in (["query", "SELECT 1"], ["convert", "prm800k", str(bench.source)]):
        result = CliRunner().invoke(app, [*words, "--output", str(victim), "--force", "--workspace", str(root)])
        assert isinstance(result.exception, UsageError)
        assert "lies in the workspace" in str(result.exception)
    assert victim.read_bytes() == before
