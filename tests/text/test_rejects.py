"""Bad rows: every reason, and what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_rows import BASE, GOOD, jsonl

from fractal_core.text.rows import ARRAY

Read = Any


def reject(read_files: Read, path: Path, **options: Any) -> dict[str, Any]:
    """Read a file in which one row is bad, and return its reject."""
    result = read_files(path, **options)
    (found,) = result.rows("rejects")
    assert found["source"] == path.name
    assert [row["response_id"] for row in result.rows("responses")] == [row["id"] for row in GOOD]
    (note,) = result.runtime.notes
    assert found["reason"] in note
    return found


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"id": None}, "missing id", "id = None"),
        ({"id": "  "}, "missing id", "id = '  '"),
        ({"id": 1.5}, "id is neither text nor a whole number", "id = 1.5, which is a number"),
        ({"id": True}, "id is neither text nor a whole number", "id = True, which is true or false"),
        ({"id": "good2"}, "duplicate id", "good2 is at x.jsonl:3 and again at x.jsonl:5"),
        ({"response": None}, "missing or empty response", "response = None"),
        ({"response": ""}, "missing or empty response", "response = ''"),
        ({"response": " \n"}, "missing or empty response", r"response = ' \n'"),
        ({"response": 5}, "response is not text", "response = 5, which is a whole number"),
        ({"response": ["a"]}, "response is not text", "response = ['a'], which is a list"),
        ({"response_label": "1"}, "label is not a number", "response_label = '1', which is text"),
        ({"response_label": [1]}, "label is not a number", "[1]"),
        ({"response_label": float("nan")}, "label is not a number", "response_label = nan"),
        ({"response_label": 0.5}, "label outside its range", "response_label = 0.5, min takes 0 or 1"),
        ({"response_label": -1}, "label outside its range", "-1"),
        ({"response_label": 10**400}, "label outside its range", "1000"),
        ({"response_label": float("inf")}, "label outside its range", "inf"),
        ({"query": {"q": 3}}, "query is not text", "query = {'q': 3}, which is an object"),
        ({"context": 3}, "context is neither text nor a list of text", "context = 3, which is a whole number"),
        ({"context": ["a", 3]}, "context is neither text nor a list of text", "['a', 3]"),
        ({"group": 1.5}, "group is neither text nor a whole number", "1.5"),
        ({"split": "training"}, "split is not train, dev or test", "split = 'training'"),
        ({"split": 1}, "split is not train, dev or test", "split = 1"),
        ({"spans": "0-4"}, "spans are not a list", "spans: '0-4', which is text"),
        ({"spans": [[0, 4], [5]]}, "span is not a pair of whole numbers", "span 1 is [5]"),
        ({"spans": [[0, 4.0]]}, "span is not a pair of whole numbers", "span 0 is [0, 4.0]"),
        ({"spans": [[False, True]]}, "span is not a pair of whole numbers", "[False, True]"),
        ({"spans": [3]}, "span is not a pair of whole numbers", "span 0 is 3"),
        ({"spans": [[4, 4]]}, "span ends before it begins", "span 0 is [4, 4]"),
        ({"spans": [[4, 2]]}, "span ends before it begins", "span 0 is [4, 2]"),
        ({"spans": [[-1, 2]]}, "span lies outside the response", "span 0 is [-1, 2]"),
        ({"spans": [[5, 10]]}, "span lies outside the response", "the response has 9 characters"),
        ({"spans": [[0, 5], [4, 9]]}, "spans overlap or are out of order", "[4, 9], the one before ends at 5"),
        ({"spans": [[5, 9], [0, 4]]}, "spans overlap or are out of order", "span 1 is [0, 4]"),
        ({"spans": [[0, 4], [4, 5]]}, "span has no text", "span 1 is [4, 5]"),
        ({"sentences": "One."}, "sentences are not a list of text", "sentences: 'One.', which is text"),
        ({"sentences": ["One.", 2]}, "sentences are not a list of text", "sentence 1 is 2, which is a whole number"),
        ({"sentences": ["One.", " "]}, "sentence has no text", "sentence 1 is ' '"),
        ({"sentences": ["One.", "Three."]}, "sentence not found in the response", "sentence 1 is 'Three.'"),
        ({"sentences": ["Two.", "One."]}, "sentence not found in the response", "looked for from character 9"),
        ({"sentence_labels": [1, 0]}, "sentence labels without sentences", "2 labels"),
        ({"sentence_labels": 1, "spans": [[0, 4]]}, "sentence labels are not a list", "1, which is a whole number"),
        ({"sentence_labels": [1, 0], "spans": [[0, 4]]}, "not one label a sentence", "2 sentence labels for 1"),
        ({"sentence_labels": [1], "sentences": ["One.", "Two."]}, "not one label a sentence", "1 sentence labels for"),
        (
            {"sentence_labels": ["1"], "spans": [[0, 4]]},
            "sentence label is not a number",
            "label 0 is '1', which is text",
        ),
        ({"sentence_labels": [2], "spans": [[0, 4]]}, "sentence label outside its range", "label 0 is 2"),
        ({"sentence_labels": [-0.5], "spans": [[0, 4]]}, "sentence label outside its range", "label 0 is -0.5"),
        ({"response": "a \ud800 b"}, "text is not UTF-8", "response: character 2 is U+D800"),
        ({"id": "\udfff"}, "text is not UTF-8", "id: character 0 is U+DFFF"),
        ({"context": ["fine", "\ud83d"]}, "text is not UTF-8", "context: character 0 is U+D83D"),
    ],
)
def test_bad_values(change: dict[str, Any], reason: str, detail: str, tmp_path: Path, read_files: Read) -> None:
    """A fault in a value rejects its row only, with fixed words and the value in question."""
    path = tmp_path / "x.jsonl"
    raw = jsonl([*GOOD, BASE | change])
    path.write_bytes(raw)
    found = reject(read_files, path)
    assert (found["line"], found["reason"]) == (5, reason)
    assert detail in found["detail"]
    assert found["raw"] == raw.decode().splitlines()[4]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"id": "bad"', "not valid JSON", "Expecting"),
        (b"nonsense", "not valid JSON", "Expecting value"),
        (b"[" * 100_000, ARRAY, "not valid JSON: maximum recursion"),
        (b" [", ARRAY, "not valid JSON: Expecting value"),
        (b'[{"id": "bad", "response": "One."},', ARRAY, "not valid JSON: Expecting value"),
        (b'["bad"]', ARRAY, "not a JSON object: a JSON list"),
        (b"5", "not a JSON object", "a JSON int"),
        (b'{"id": "bad", "response": "\xff"}', "text is not UTF-8", "byte 28 of the line is 0xff"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bad_lines(line: bytes, reason: str, detail: str, end: bytes, tmp_path: Path, read_files: Read) -> None:
    """A line that is no JSON object, or not UTF-8, is rejected alone; blank lines are no rows."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(GOOD[:2]) + b"\n  \n" + line + end + jsonl(GOOD[2:]))
    found = reject(read_files, path)
    assert (found["line"], found["reason"]) == (5, reason)
    assert detail in found["detail"]
    assert found["raw"] == line.decode("utf-8", "backslashreplace")[:10_000]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"bad,One", "wrong number of cells", "2 cells under 3 columns"),
        (b"bad,One,1,2", "wrong number of cells", "4 cells under 3 columns"),
        (b'bad,"One" two,1', "not a valid CSV row", "expected after"),
        (b"bad,One,x", "label is not a number", "response_label = 'x'"),
        (b"bad,One,2", "label outside its range", "response_label = '2', min takes 0 or 1"),
        (b",One,1", "missing id", "id = None"),
        (b"bad,,1", "missing or empty response", "response = None"),
        (b"bad,caf\xe9,1", "text is not UTF-8", "bytes that are not UTF-8"),
    ],
)
def test_bad_csv(line: bytes, reason: str, detail: str, tmp_path: Path, read_files: Read) -> None:
    """A CSV record with a fault is rejected alone."""
    good = b"".join(f"{row['id']},One.,{row['response_label']}\n".encode() for row in GOOD)
    path = tmp_path / "x.csv"
    path.write_bytes(b"id,response,response_label\n" + good + line + b"\n")
    found = reject(read_files, path)
    assert (found["line"], found["reason"]) == (6, reason)
    assert detail in found["detail"]
    assert found["raw"] == line.decode("utf-8", "backslashreplace")


def test_bad_list_cell(tmp_path: Path, read_files: Read) -> None:
    """A cell that should be a list and is no JSON is rejected."""
    path = tmp_path / "x.csv"
    good = "".join(f"{row['id']},One.,{row['response_label']},\n" for row in GOOD)
    path.write_text(f"id,response,response_label,spans\n{good}bad,One.,1,[[0 4]]\n")
    assert reject(read_files, path)["reason"] == "spans are not a list"


def test_parquet_that_is_not_utf8(tmp_path: Path, read_files: Read) -> None:
    """Bytes in a text column of Parquet that are not UTF-8 reject their row only."""
    path = tmp_path / "x.parquet"
    texts = pa.array([*(b"One." for _ in GOOD), b"caf\xe9"], pa.binary()).view(pa.string())
    ids = [*(row["id"] for row in GOOD), "bad"]
    pq.write_table(pa.table({"id": ids, "response": texts, "response_label": [0, 1, 0, 1, 1]}), path)
    found = reject(read_files, path)
    assert (found["line"], found["reason"], found["detail"]) == (5, "text is not UTF-8", "column response")
    assert json.loads(found["raw"])["response"] == r"caf\xe9"


def test_raw_is_cut(tmp_path: Path, read_files: Read) -> None:
    """The raw row is kept up to 10,000 characters."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl([*GOOD, BASE | {"response_label": 7, "response": "é" * 20_000}]))
    assert len(reject(read_files, path)["raw"]) == 10_000


def test_duplicates_over_files(tmp_path: Path, read_files: Read) -> None:
    """One valid row keeps the id, the first of its file, wherever the files stand in the list."""
    (tmp_path / "a.jsonl").write_bytes(jsonl([BASE | {"id": "twice", "response_label": 9}, *GOOD]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([BASE | {"id": "twice", "response": "From b."}]))
    (tmp_path / "c.jsonl").write_bytes(jsonl([BASE | {"id": "twice"}, BASE | {"id": "twice"}]))
    files = [tmp_path / name for name in ("c.jsonl", "a.jsonl", "b.jsonl")]
    result = read_files(files=files)
    assert [row["response"] for row in result.rows("responses")][-1] == BASE["response"]
    assert [(row["source"], row["line"], row["reason"], row["detail"]) for row in result.rows("rejects")] == [
        ("a.jsonl", 1, "label outside its range", "response_label = 9, min takes 0 or 1"),
        ("b.jsonl", 1, "duplicate id", "twice is at c.jsonl:1 and again at b.jsonl:1"),
        ("c.jsonl", 2, "duplicate id", "twice is at c.jsonl:1 and again at c.jsonl:2"),
    ]
    assert result.runtime.notes == [
        "Rejected 3 of 8 rows (duplicate id 2, label outside its range 1): see the table rejects."
    ]
