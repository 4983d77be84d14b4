"""A query never answers from a damaged file: what it names is compared with its SHA-256 before it is read."""

from __future__ import annotations

import subprocess
import sys
import time

import duckdb
import pytest
from damaging import file_of, flip, flip_secretly, footer_of
from real_runs import CODE, fractal

from fractal_core.catalog import finding
from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.errors import QueryError
from fractal_core.store import remembering, verifying
from fractal_core.store.artefact import find_artefact
from fractal_core.store.manifest import manifest_path
from fractal_core.store.runs import list_runs

SENTENCES = "SELECT * EXCLUDE (run_id) FROM latest.sentences ORDER BY ALL"
QUESTIONS = [
    SENTENCES,
    "FROM sentences",
    'SELECT s.text FROM "latest"."sentences" AS s JOIN latest.scores USING (response_id, sentence_index)',
    "WITH a AS (SELECT * FROM LATEST . Sentences) SELECT count(text) FROM a",
    "SELECT sum(sentence_count) FROM latest.responses",
    "SELECT 1 WHERE EXISTS (TABLE main.sentences)",
    "SUMMARIZE latest.sentences",
    "EXPLAIN ANALYZE SELECT max(text) FROM memory.latest.sentences",
    "SELECT * FROM query_table('sentences')",
]


@pytest.fixture
def digested(monkeypatch):
    """The names of the files whose content has been read to be compared, by what acts as a process of its own."""
    names = []
    monkeypatch.setattr(verifying, "_seen", set())
    for module in (verifying, remembering):
        monkeypatch.setattr(
            module, "file_digest", lambda path, digest=module.file_digest: names.append(path.name) or digest(path)
        )
    return names


def _ask(runner, sql, warn=pytest.fail):
    return execute(connect(runner.workspace, warn, sql=sql), sql).fetchall()


@pytest.mark.parametrize("sql", QUESTIONS)
@pytest.mark.parametrize("damage", [flip, flip_secretly])
def test_no_question_is_answered_from_a_damaged_file(finished, digested, sql, damage):
    """However it names the table: it is left out with a warning, withdrawn, and computed again by the next run."""
    runner, _ = finished
    rows = _ask(runner, SENTENCES)
    _ask(runner, sql)
    verifying._seen.clear()
    path = file_of(runner, "segment", "sentences.parquet")
    damage(path)
    warnings = []
    _ask(runner, sql, warnings.append)
    (run,) = list_runs(runner.workspace)
    said = f"stage segment of run {run.run_id} is left out ({path} has other content than its manifest says)"
    assert warnings == [f"{said}; run again to compute it anew"]
    assert _ask(runner, SENTENCES, warnings.append) == []
    assert warnings[1:] == warnings[:1]
    assert runner.run() == ["segment"]
    assert _ask(runner, SENTENCES) == rows


def test_any_flipped_bit_is_found(finished):
    """Of a page or of the footer: the table is left out, and the others are there whoever asks for them."""
    runner, _ = finished
    path = file_of(runner, "segment", "sentences.parquet")
    manifest = manifest_path(runner.workspace, "segment", runner.fingerprints["segment"])
    content, committed, footer = path.read_bytes(), manifest.read_bytes(), footer_of(path)
    scores = "SELECT count(*), sum(probability) FROM latest.scores"
    expected = _ask(runner, scores)
    for place in [*range(0, footer, 397), *range(footer, len(content), 61)]:
        flip(path, place, bit=place % 8)
        assert _ask(runner, scores, lambda text: None) == expected
        warnings = []
        assert _ask(runner, SENTENCES, warnings.append) == []
        assert len(warnings) == 1
        path.write_bytes(content)
        manifest.write_bytes(committed)


def test_only_what_a_question_names_is_read(finished, digested):
    """Nothing for `SELECT 1`; a table and no other; the sentences too for responses, which counts them; once."""
    runner, _ = finished
    for sql, names in [
        ("SELECT 1", []),
        ("SHOW TABLES", []),
        ("SELECT state FROM runs", []),
        ("SELECT * FROM latest.scores", ["scores.parquet", "scores.parquet"]),
        ("SELECT * FROM latest.responses", ["responses.parquet", "sentences.parquet"]),
        (SENTENCES, []),
    ]:
        digested.clear()
        _ask(runner, sql)
        assert sorted(digested) == names


def test_latest_is_read_without_the_runs_before(finished, digested):
    """Of schema latest the newest run's files alone; of a table without it those of all runs, each once."""
    runner, _ = finished
    runner.run("train.epochs=4")
    for sql, count in [("FROM latest.pseudolabels", 1), ("FROM pseudolabels", 2), ("FROM sentences", 1)]:
        verifying._seen.clear()
        digested.clear()
        _ask(runner, sql)
        assert len(digested) == count


def test_what_was_not_compared_cannot_be_read(finished):
    """A name that is put together, or a file named itself, is refused: nothing is answered that was not compared."""
    runner, _ = finished
    path = file_of(runner, "train", "scores.parquet")
    with pytest.raises(QueryError, match="Permission Error"):
        _ask(runner, "SELECT * FROM query('FROM sco' || 'res')")
    for sql in (f"FROM read_parquet('{path}')", f"FROM '{path}'"):
        assert len(_ask(runner, sql)) == 96  # its name has that of the table in it
    flip(path)
    for sql in (f"FROM read_parquet('{path}')", f"FROM '{path}'"):
        with pytest.raises(QueryError, match="Permission Error"):
            _ask(runner, sql, lambda text: None)


def test_much_is_compared_once_a_day(finished, digested, monkeypatch):
    """Above a bound what was compared is remembered: until the file is written, or a day has passed."""
    runner, _ = finished
    monkeypatch.setattr(finding, "ALWAYS_BYTES", 0)

    def read(shift=0.0):
        verifying._seen.clear()
        digested.clear()
        now = time.time
        with monkeypatch.context() as patch:
            patch.setattr(remembering.time, "time", lambda: now() + shift)
            assert len(_ask(runner, SENTENCES)) == 96
        return digested[:]

    assert read() == ["sentences.parquet"]
    assert read() == []
    assert read(shift=80_000) == []
    assert read(shift=90_000) == ["sentences.parquet"]
    memory = runner.workspace.root / finding.MEMORY
    for content in (b"", b"{}", b'{"files": {}}', memory.read_bytes().replace(b"0", b"1")):
        memory.write_bytes(content)
        assert read() == ["sentences.parquet"]
        assert read() == []
    path = file_of(runner, "segment", "sentences.parquet")
    flip(path)
    flip(path)
    assert read() == ["sentences.parquet"]
    flip(path)
    verifying._seen.clear()
    warnings = []
    assert _ask(runner, SENTENCES, warnings.append) == []
    assert len(warnings) == 1


def test_files_that_are_collected_meanwhile_are_no_damage(finished, monkeypatch):
    """A run that is forgotten between a look at its record and at its files: its tables are left out."""
    runner, _ = finished
    verified = finding.find_tables

    def find(*arguments):
        found = verified(*arguments)
        for each in found:
            each.path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr("fractal_core.catalog.connection.find_tables", find)
    warnings = []
    assert _ask(runner, SENTENCES, warnings.append) == []
    assert "is missing" in warnings[0]


def test_duckdb_cannot_tell_by_itself(finished):
    """Why files are compared as a whole: DuckDB answers with other values, or not at all, and has no setting for it."""
    runner, _ = finished
    artefact = find_artefact(runner.workspace, "train", runner.fingerprints["train"])
    path = artefact.path("scores")
    sql = f"SELECT * FROM read_parquet('{path}')"
    with duckdb.connect() as connection:
        rows = connection.execute(sql).fetchall()
        names = connection.execute("SELECT name FROM duckdb_settings() WHERE name ILIKE '%parquet%'").fetchall()
    assert [name for (name,) in names if "check" in name or "verif" in name or "crc" in name] == []
    wrong = 0
    for place in range(4, footer_of(path), 23):
        flip(path, place)
        try:
            with duckdb.connect() as connection:
                wrong += connection.execute(sql).fetchall() != rows
        except duckdb.Error:
            pass
        flip(path, place)
    assert wrong > 0


def test_command_line_warns(finished):
    """`fractal query` and the prompt say on standard error what is left out, once, and answer from the rest: code 3."""
    runner, _ = finished
    flip(file_of(runner, "train", "scores.parquet"))
    sql = "SELECT (SELECT count(*) FROM scores WHERE round = 0) AS a, (SELECT count(*) FROM sentences) AS b"
    asked = fractal(runner.folder, "query", sql, "--workspace", "ws", "--format", "csv")
    assert asked.stdout == "a,b\n0,96\n"
    assert asked.stderr.startswith("warning: stage train of run ")
    assert len(asked.stderr.splitlines()) == 1
    assert asked.returncode == 3
    other = fractal(runner.folder, "query", "SELECT count(*) AS n FROM sentences", "--workspace", "ws", "--json")
    assert (other.stdout, other.stderr, other.returncode) == ('[\n {\n  "n": 96\n }\n]\n', asked.stderr, 0)
    prompt = subprocess.run(
        [sys.executable, "-c", CODE, "sql", "--workspace", "ws", "--json"], input=f"{sql};\n{sql};\n", text=True,
        capture_output=True, cwd=runner.folder, check=False,
    )  # fmt: skip
    assert prompt.stdout.count('"b": 96') == 2
    assert prompt.stderr == asked.stderr
    assert prompt.returncode == 3
    assert runner.run() == ["train"]
