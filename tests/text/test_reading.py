"""Stage `read`: the formats of the input, and the order of what comes out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_rows import simple, write

from fractal_core.tables import REJECTS, RESPONSES
from fractal_core.text import gathered, spool
from fractal_core.text.records import REJECTS_SCHEMA, RESPONSES_SCHEMA

Read = Callable[..., Any]

ROWS: list[dict[str, Any]] = [
    {
        "id": "b",
        "response": 'Comma, "quote"\nand line 😀. Done.',
        "response_label": 1,
        "query": "Why?",
        "context": ["Doc é one.", "", "Doc two."],
        "spans": [[0, 26], [27, 32]],
        "sentences": None,
        "sentence_labels": [1, None],
        "split": "train",
        "group": "g",
    },
    {
        "id": "a",
        "response": "שלום. One e\u0301. Two.",
        "response_label": 0,
        "query": "",
        "context": ["[1] Smith"],
        "spans": None,
        "sentences": ["שלום.", " Two. "],
        "sentence_labels": [-1, 0.5],
        "split": "validation",
        "group": None,
    },
    {
        "id": "c",
        "response": "Plain.",
        "response_label": None,
        "query": None,
        "context": None,
        "spans": [],
        "sentences": None,
        "sentence_labels": None,
        "split": "test",
        "group": None,
    },
    {
        "id": "d",
        "response": "Zero.",
        "response_label": 0,
        "query": None,
        "context": None,
        "spans": None,
        "sentences": [],
        "sentence_labels": [],
        "split": None,
        "group": None,
    },
]
EXPECTED = [
    ("a", None, ["[1] Smith"], ROWS[1]["response"], 0.0, "dev", "[1] Smith", [[0, 5], [14, 18]], [None, 0.5]),
    ("b", "Why?", ["Doc é one.", "Doc two."], ROWS[0]["response"], 1.0, "train", "g", [[0, 26], [27, 32]], [1.0, None]),
    ("c", None, None, "Plain.", None, "test", "c", None, None),
    ("d", None, None, "Zero.", 0.0, "train", "d", None, None),
]


def content(result: Any) -> list[tuple[Any, ...]]:
    """Return the responses without source and line, and without what only some inputs have."""
    return [tuple(row.values())[:9] for row in result.rows("responses")]


def test_schemas_are_the_declared_ones() -> None:
    """The stage's own schemas are those of the tables."""
    assert RESPONSES.schema == RESPONSES_SCHEMA
    assert REJECTS.schema == REJECTS_SCHEMA


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("zipped", ["", ".gz"], ids=["", "gz"])
@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "csv", "tsv"])
def test_text_formats_give_the_same_rows(
    suffix: str, zipped: str, end: str, mark: bytes, tmp_path: Path, read_files: Read
) -> None:
    """Every text format, plain or gzipped, with LF or CRLF, with or without a byte-order mark."""
    name = f"x.{suffix}{zipped}"
    path = write(tmp_path / name, ROWS, mark, end)
    result = read_files(path, aggregation="min")
    assert content(result) == EXPECTED
    assert result.rows("rejects") == []
    assert {row["source"] for row in result.rows("responses")} == {name}
    assert result.runtime.done["read"] == result.runtime.totals["read"] == path.stat().st_size
    assert result.runtime.notes == []


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.stream.arrow"])
def test_binary_formats_give_the_same_rows(name: str, tmp_path: Path, read_files: Read) -> None:
    """Parquet and both forms of Arrow; the line is the number of the row."""
    result = read_files(write(tmp_path / name, ROWS))
    assert content(result) == EXPECTED
    assert {row["response_id"]: row["line"] for row in result.rows("responses")} == {"b": 1, "a": 2, "c": 3, "d": 4}


def test_folder_of_arrow_files(tmp_path: Path, read_files: Read) -> None:
    """A folder as `datasets` saves it is read as its Arrow files."""
    write(tmp_path / "data" / "data-00000-of-00002.stream.arrow", ROWS[:1])
    write(tmp_path / "data" / "data-00001-of-00002.stream.arrow", ROWS[1:])
    (tmp_path / "data" / "state.json").write_text("{}")
    (tmp_path / "data" / "dataset_info.json").write_text("{}")
    assert content(read_files(tmp_path / "data")) == EXPECTED


def test_csv_lines_are_physical(tmp_path: Path, read_files: Read) -> None:
    """A record's line is the one it starts on, after records of several lines and blank lines."""
    (tmp_path / "x.csv").write_text(
        'id,response,response_label\na,"One\ntwo\r\nthree",1\n\nb,Four,0\nc,Five,7\n', newline=""
    )
    result = read_files(tmp_path / "x.csv")
    assert {row["response_id"]: row["line"] for row in result.rows("responses")} == {"a": 2, "b": 6}
    assert [(row["line"], row["raw"]) for row in result.rows("rejects")] == [(7, "c,Five,7")]


def test_stray_quote_costs_one_line(tmp_path: Path, read_files: Read) -> None:
    """A quote that is not closed does not swallow the rows behind it."""
    lines = ["id,response,response_label", *(f"r{i},Text {i},{i % 2}" for i in range(50)), '"x,Open,1']
    lines += [f's{i},"Text ""{i}""",{i % 2}' for i in range(50)] + ['"y,Open,0', "z,Last,1"]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    result = read_files(tmp_path / "x.csv")
    assert len(result.rows("responses")) == 101
    assert [(row["line"], row["reason"], row["raw"]) for row in result.rows("rejects")] == [
        (52, "not a valid CSV row", '"x,Open,1'),
        (103, "not a valid CSV row", '"y,Open,0'),
    ]


def test_csv_values(tmp_path: Path, read_files: Read) -> None:
    """Labels may be any spelling of a number or truth value; ids and texts that look like numbers stay text."""
    rows = "id,response,response_label\n1,1,1.0\n02,[1],true\n3,null,False\n4,x, 0 \n5,y,\n"
    (tmp_path / "x.csv").write_text(rows)
    found = [(row[0], row[3], row[4]) for row in content(read_files(tmp_path / "x.csv"))]
    assert found == [("02", "[1]", 1.0), ("1", "1", 1.0), ("3", "null", 0.0), ("4", "x", 0.0), ("5", "y", None)]


def test_long_csv_cell(tmp_path: Path, read_files: Read) -> None:
    """A cell may be longer than the csv module's default limit."""
    write(tmp_path / "x.csv", [{"id": "a", "response": "x" * 200_000, "response_label": 1}, *simple(2)])
    assert len(read_files(tmp_path / "x.csv").rows("responses")[0]["response"]) == 200_000


def test_columns_can_be_renamed(tmp_path: Path, read_files: Read) -> None:
    """The configuration says what the columns are called; whole numbers are ids."""
    rows = [{"key": i, "answer": f"Text {i}.", "good": i == 1, "question": "Q", "response": 5} for i in range(2)]
    names = {"id": "key", "response": "answer", "response_label": "good", "query": "question"}
    for name in ("x.jsonl", "x.parquet"):
        result = read_files(write(tmp_path / name, rows), columns=names)
        assert [row[:5] for row in content(result)] == [
            ("0", "Q", None, "Text 0.", 0.0),
            ("1", "Q", None, "Text 1.", 1.0),
        ]


@pytest.mark.parametrize("values", [(0, 0.25, 1), (True, False, None)])
def test_shares(values: tuple[Any, ...], tmp_path: Path, read_files: Read) -> None:
    """With avg, labels are anything in 0..1."""
    rows = [{"id": str(i), "response": "x", "response_label": value} for i, value in enumerate(values)]
    found = [row[4] for row in content(read_files(write(tmp_path / "x.jsonl", rows), aggregation="avg"))]
    assert found == [None if value is None else float(value) for value in values]


def test_nothing_but_order_of_ids(tmp_path: Path, read_files: Read) -> None:
    """Ids are in code-point order, and zero characters and astral ones survive."""
    ids = ["Z", "a", "a\x00b", "é", "\ufffd", "😀", "10", "9"]
    rows = [{"id": key, "response": f"{key}\x00", "response_label": i % 2} for i, key in enumerate(ids)]
    result = content(read_files(write(tmp_path / "x.jsonl", rows)))
    assert [row[0] for row in result] == sorted(ids)
    assert all(row[3] == f"{row[0]}\x00" for row in result)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), parts=st.integers(1, 4))
def test_order_and_partition_do_not_matter(seed: int, parts: int, tmp_path_factory: Any, read_files: Read) -> None:
    """The same rows in other files, formats and order give the same table."""
    rng = random.Random(seed)
    rows = simple(24, query=None)
    for i, row in enumerate(rows):
        row["query"] = f"question {i // 3}"
    options = {"dev_fraction": 0.3, "test_fraction": 0.3, "seed": 3}
    folder = tmp_path_factory.mktemp("parts")
    whole = read_files(write(folder / "whole.jsonl", rows), **options)
    shuffled = rng.sample(rows, len(rows))
    files = [
        write(folder / "parts" / f"{rng.random()}.{rng.choice(['jsonl.gz', 'csv', 'parquet', 'arrow'])}", part)
        for part in (shuffled[i::parts] for i in range(parts))
    ]
    assert content(read_files(files=files, **options)) == content(whole)


def test_small_spools_change_nothing(tmp_path: Path, read_files: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result does not depend on the sizes of the batches."""
    path = write(tmp_path / "x.jsonl", [*simple(100), *simple(3)])
    whole = read_files(path)
    monkeypatch.setattr(spool, "SPOOL_ROWS", 7)
    monkeypatch.setattr(gathered, "OUTPUT_ROWS", 11)
    parts = read_files(path)
    assert [rows.num_rows for rows in parts.written["responses"]] == [11] * 9 + [1]
    assert parts.table("responses").equals(whole.table("responses"))
    assert parts.table("rejects").equals(whole.table("rejects"))


def test_sources_in_folders(tmp_path: Path, read_files: Read) -> None:
    """Files of one name in several folders are told apart."""
    write(tmp_path / "x" / "a.jsonl", simple(2))
    write(tmp_path / "y" / "a.jsonl", [{**row, "id": f"y{row['id']}"} for row in simple(2)])
    rows = read_files(tmp_path).rows("responses")
    assert [(row["source"], row["line"]) for row in rows] == [
        ("x/a.jsonl", 1), ("x/a.jsonl", 2), ("y/a.jsonl", 1), ("y/a.jsonl", 2),
    ]  # fmt: skip
