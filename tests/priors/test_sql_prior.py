"""The SQL prior: what a query may see, what it may not do, and what it must give."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fractal_core.errors import QueryError
from fractal_core.pipeline import stage_named
from fractal_core.priors.early_check import check_before_run
from fractal_core.priors.sql_prior import sql_prior

KEYS = pa.table({"response_id": ["a", "a", "b"], "sentence_index": pa.array([0, 1, 0], pa.int32())})
SELECT = "SELECT response_id, sentence_index, {} AS prior FROM priors"


class Tables(dict):
    """Tables on offer, and which of them were loaded."""

    def __init__(self) -> None:
        """Offer two tables."""
        self.loaded: list[str] = []
        priors = KEYS.append_column("similarity", pa.array([0.25, None, 1.0], pa.float32()))
        sentences = KEYS.append_column("text", pa.array(["one", "two, 2", "three"]))
        super().__init__(
            priors=lambda: self.load("priors", priors), sentences=lambda: self.load("sentences", sentences)
        )

    def load(self, name: str, table: pa.Table) -> pa.Table:
        """Note that a table is loaded."""
        self.loaded.append(name)
        return table


def run(sql: str) -> list[float | None]:
    """Return the prior of the three sentences."""
    return [None if np.isnan(value) else float(value) for value in sql_prior(sql, Tables(), KEYS)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (SELECT.format("similarity"), [0.25, None, 1.0]),
        (SELECT.format("similarity") + " ORDER BY ALL DESC;", [0.25, None, 1.0]),
        (SELECT.format("sentence_index") + " WHERE response_id = 'a' -- the others have none", [0.0, 1.0, None]),
        (SELECT.format("text SIMILAR TO '.*[0-9].*'").replace("priors", "sentences"), [0.0, 1.0, 0.0]),
        (SELECT.format("sum(length(text)) OVER (PARTITION BY response_id)").replace("priors", "SENTENCES"), [9, 9, 5]),
        (SELECT.format("1.5::DECIMAL(4,2)"), [1.5] * 3),
        (SELECT.format("7::HUGEINT"), [7.0] * 3),
        (SELECT.format("NULL"), [None] * 3),
        (SELECT.format("1") + " WHERE false", [None] * 3),
        ("FROM (VALUES ('b', 0, 3)) AS t(response_id, sentence_index, prior)", [None, None, 3.0]),
        ("WITH t AS (SELECT * FROM priors) SELECT t.response_id, t.sentence_index, coalesce(similarity, length(text)) "
         "AS prior FROM t JOIN sentences USING (response_id, sentence_index)", [0.25, 6.0, 1.0]),
        (SELECT.format("(SELECT sum(i) FROM range(4) t(i))"), [6.0] * 3),
        (SELECT.format("1") + " USING SAMPLE 100% (bernoulli, 1)", [1.0] * 3),
    ],
)  # fmt: skip
def test_numbers_go_to_their_sentences(sql: str, expected: list[float | None]) -> None:
    """By key, whatever the order of rows; null where there is no row; any numeric or truth type."""
    assert run(sql) == expected


def test_only_named_tables_are_loaded() -> None:
    """A table the query does not name is not read from disk."""
    tables = Tables()
    sql_prior(SELECT.format("1"), tables, KEYS)
    assert tables.loaded == ["priors"]


FILE = SELECT.format("(SELECT count(*) FROM {})")


@pytest.mark.parametrize(
    "sql",
    [
        FILE.format("read_csv('{file}')"),
        FILE.format("read_text('{file}')"),
        FILE.format("read_blob('{file}')"),
        FILE.format("read_json('{file}')"),
        FILE.format("read_parquet('{file}')"),
        FILE.format("sniff_csv('{file}')"),
        FILE.format("glob('{folder}/*')"),
        FILE.format("'{file}'"),
        FILE.format('"{file}"'),
        FILE.format("query('SELECT 1')"),
        FILE.format("query_table('priors')"),
        FILE.format("duckdb_settings()"),
        FILE.format("duckdb_settings"),
        FILE.format("information_schema.tables"),
        FILE.format("other"),
        "COPY priors TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{folder}/out.parquet'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.db'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW priors AS SELECT 1",
        "INSERT INTO priors VALUES (1)",
        "DROP VIEW priors",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "SET threads = 4",
        "SET enable_external_access = true",
        "RESET threads",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PREPARE p AS SELECT 1",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY priors TO '{folder}/out.csv'",
        "-- nothing",
    ],
)
def test_anything_but_reading_the_tables_is_refused(sql: str, tmp_path: Path) -> None:
    """No file is read or written, no setting changed, no other table seen, and the error is one line."""
    file = tmp_path / "secret.csv"
    file.write_text("secret\n1\n", encoding="utf-8")
    with pytest.raises(QueryError, match=r"^priors\.sql") as error:
        run(sql.replace("{file}", str(file)).replace("{folder}", str(tmp_path)))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["secret.csv"]


def test_python_variables_are_not_tables() -> None:
    """DuckDB's habit of finding data frames by the name of a variable is off."""
    secret = pa.table({"x": [1]})
    assert secret.num_rows
    with pytest.raises(QueryError, match="reads 'secret'; it can read the tables priors, sentences"):
        run(FILE.format("secret"))


@pytest.mark.parametrize(
    "value",
    ["random()", "hash(uuid())", "epoch(now())", "year(current_date)", "year(today())", "epoch(current_timestamp)",
     "list_sum(list_transform([1, 2], x -> x * random()))", "current_setting('threads')::INT", "sleep_ms(1)"],
)  # fmt: skip
def test_what_differs_from_run_to_run_is_refused(value: str) -> None:
    """Random numbers, clock and settings: the same input must give the same prior."""
    with pytest.raises(QueryError, match="not the same in every run"):
        run(SELECT.format(value))


def test_sample_without_seed_is_refused() -> None:
    """A sample needs a seed."""
    with pytest.raises(QueryError, match="give it a seed"):
        run(SELECT.format("1") + " USING SAMPLE 2 ROWS")


def test_same_query_same_bytes() -> None:
    """Sums over many floats and ties without an order come out the same every time."""
    rows = 30_000
    chance = np.random.default_rng(0)
    keys = pa.table({"response_id": [f"r{i // 7}" for i in range(rows)], "sentence_index": np.arange(rows) % 7})
    table = keys.append_column("x", pa.array(chance.normal(size=rows))).append_column(
        "g", pa.array(np.arange(rows) % 5)
    )
    sql = (
        "SELECT response_id, sentence_index, sum(x) OVER (PARTITION BY g) + row_number() OVER (ORDER BY g) AS prior "
        "FROM priors WHERE x > 0"
    )
    found = [sql_prior(sql, {"priors": lambda: table}, keys).tobytes() for _ in range(3)]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT", "syntax error|Parser Error"),
        ("SELECT nothing FROM priors", "Binder Error: .*nothing"),
        ("SELECT label FROM priors", "Binder Error: .*label"),
        ("SELECT response_id, similarity AS prior FROM priors",
         "gives the columns response_id, prior; it must give response_id, sentence_index and prior"),
        ("SELECT *, 1 AS prior FROM priors", "gives the columns response_id, sentence_index, similarity, prior"),
        (SELECT.format("text").replace("priors", "sentences"), "gives prior as string; it must be a number"),
        (SELECT.format("[1.0]"), "gives prior as list"),
        (SELECT.format("text::DOUBLE").replace("priors", "sentences"), "Conversion Error"),
        (SELECT.format("1") + " UNION ALL " + SELECT.format("2"),
         "gives 3 sentences more than one row, the first being 'a', 0"),
        (SELECT.format("1").replace("response_id,", "nullif(response_id, 'b') AS response_id,"),
         "1 rows whose key is NULL"),
        (SELECT.format("1").replace("sentence_index,", "sentence_index + 1 AS sentence_index,"),
         "gives 2 rows for sentences that are not there, the first being 'a', 2"),
        (SELECT.format("1").replace("sentence_index,", "1.5 AS sentence_index,"), "sentence_index as decimal"),
        (SELECT.format("1").replace("response_id,", "1 AS response_id,"), "response_id as int32"),
        (SELECT.format("ln(sentence_index)"), "gives 2 sentences a number that is not finite, the first being 'a', 0"),
        (SELECT.format("1e300"), "not finite"),
        (SELECT.format("+".join("1" * 900)), "nests too deeply"),
        (SELECT.format("'NaN'::DOUBLE"), "not finite"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(sql: str, message: str) -> None:
    """SQL errors, missing, unknown or repeated keys, and values that are no numbers: what, where, what to do."""
    with pytest.raises(QueryError, match=message) as error:
        run(sql)
    assert str(error.value).startswith("priors.sql")
    assert "\n" not in str(error.value)


def test_no_sentences_no_rows() -> None:
    """An empty data set is no error."""
    empty = KEYS.slice(0, 0)
    assert len(sql_prior(SELECT.format("1"), {"priors": lambda: empty}, empty)) == 0


def test_labels_and_gold_are_not_in_the_tables() -> None:
    """The stage declares no label, preference or gold column, so a query cannot see one."""
    stage = stage_named("priors")
    columns = {f"{table.split('.')[1]}.{column}" for table, read in stage.reads.items() for column in read}
    hidden = {"responses.label", "responses.preferred", "responses.sentence_labels", "sentences.gold"}
    assert columns & hidden == set()
    assert {
        "responses.query",
        "responses.context",
        "sentences.text",
        "evidence.cos_query",
        "embeddings.vector",
    } <= columns


READS = {key: tuple(columns) for key, columns in stage_named("priors").reads.items()}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec", "Parser Error: syntax error"),
        ("DROP VIEW priors", "must be one SELECT"),
        (SELECT.format("1").replace("priors", "scores"), "reads 'scores'"),
        (SELECT.format("nothing"), "Binder Error: .*nothing"),
        (SELECT.format("nonsense(1)"), "Catalog Error: .*nonsense"),
        (SELECT.format("sql_prior"), "Binder Error: .*sql_prior"),
        (SELECT.format("label").replace("priors", "responses JOIN sentences USING (response_id)"), "label"),
        ("SELECT response_id, column_prior AS prior FROM priors", "gives the columns response_id, prior"),
        (SELECT.format("text").replace("priors", "sentences"), "gives prior as string"),
        (SELECT.format("1").replace("response_id,", "1 AS response_id,"), "response_id as int32"),
        ("SELECT nothing, prior FROM scores, embeddings", "reads 'scores'"),
    ],
)
def test_mistakes_are_found_before_the_run(sql: str, message: str) -> None:
    """What is wrong whatever the rows: words, tables, columns, functions and types."""
    with pytest.raises(QueryError, match=message):
        check_before_run(sql, READS)


@pytest.mark.parametrize(
    "sql",
    [
        SELECT.format("context_evidence + column_prior"),
        SELECT.format("content_cover").replace("priors", "evidence"),
        "SELECT 'a' AS response_id, 0 AS sentence_index, 0.5 AS prior",
        "SELECT max(response_id) AS response_id, 0 AS sentence_index, 1 AS prior FROM sentences",
        SELECT.format("CASE WHEN (SELECT count(*) FROM priors) = 0 THEN error('no rows') ELSE 1 END"),
        "SELECT s.response_id, s.sentence_index, array_inner_product(vector, vector) AS prior "
        "FROM sentences s, embeddings",
        SELECT.format("len(context[1]) + prior[1]").replace("priors", "responses JOIN sentences USING (response_id)"),
    ],
)
def test_nothing_is_held_against_empty_tables(sql: str) -> None:
    """What only rows can tell, and vectors, whose length is not known yet, is left to the run."""
    check_before_run(sql, READS)


def test_no_connection_outlives_an_error() -> None:
    """The frames of an error that somebody keeps hold none: at exit DuckDB would print its innards around it."""
    for sql in ("selec", "SELECT nothing FROM priors", "DROP VIEW priors", FILE.format("other")):
        with pytest.raises(QueryError) as caught:
            run(sql)
        waiting: list[BaseException | None] = [caught.value]
        while waiting:
            error = waiting.pop()
            if error is not None:
                waiting += [error.__cause__, error.__context__]
                names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
                assert not {"_answer", "tables_read"} & set(names), sql
