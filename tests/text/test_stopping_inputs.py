"""Inputs that stop a run: every error, said before anything is written."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_rows import BASE, GOOD, jsonl

from fractal_core.errors import InputError
from fractal_core.text.rows import ARRAY

Read = Any


def error(read_files: Read, *paths: Path, **options: Any) -> str:
    """Return the message of the error that stops the run, before anything is written."""
    with pytest.raises(InputError) as caught:
        read_files(*paths, **options)
    assert read_files.last.written == {}
    return str(caught.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"id": "a", "answer": "One.", "response_label": 1},
            'x.* has no column "response", only "id", "answer", "response_label".*\\[input.columns\\] response = "',
        ),
        ({"uid": "a", "response": "One.", "response_label": 1}, 'no column "id".*mean "uid".*columns\\] id = "uid"'),
        (
            {"id": "a", "response": "One.", "label": 1, "z": 2},
            'no column "response_label".*mean "label".*columns\\] response_label = "label"',
        ),
    ],
)
def test_missing_column(name: str, row: dict[str, Any], message: str, tmp_path: Path, read_files: Read) -> None:
    """A column that no row has stops the run, with the nearest one and the key to set."""
    path = tmp_path / name
    if name == "x.jsonl":
        path.write_bytes(jsonl([row, row]))
    elif name == "x.csv":
        path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    assert re.search(message, error(read_files, path))


@pytest.mark.parametrize(
    ("name", "mark", "word"), [("x.csv", ";", "semicolons"), ("x.csv", "\t", "tabs"), ("x.tsv", ",", "commas")]
)
def test_other_separators(name: str, mark: str, word: str, tmp_path: Path, read_files: Read) -> None:
    """A header that is one long name is no case of a missing column: what is told is the separator."""
    path = tmp_path / name
    path.write_text(mark.join(["id", "response", "response_label"]) + "\n" + mark.join(["a", "One.", "1"]) + "\n")
    assert error(read_files, path).startswith(f"{name} has its cells separated by {word}, where .csv has commas")


@pytest.mark.parametrize(
    ("row", "columns", "suggested"),
    [
        ({"sentence_labels": [1, 0], "sentences": ["One.", "Two."]}, {}, None),
        ({"preference": 1, "response_a": "One."}, {}, None),
        ({"sentence_labels": [1, 0], "gold_label": 1}, {}, "gold_label"),
        ({"response_labels": [1, 0], "mark_label": 1}, {"sentence_labels": "response_labels"}, "mark_label"),
    ],
    ids=["sentence labels", "of pairs", "another", "renamed"],
)
def test_a_column_with_a_role_is_no_suggestion(
    row: dict[str, Any], columns: dict[str, str], suggested: str | None, tmp_path: Path, read_files: Read
) -> None:
    """A column that the configuration uses for something else, as the list of sentence labels, is not suggested."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl([{"id": "a", "response": "One. Two.", **row}] * 2))
    message = error(read_files, path, columns=columns)
    if suggested is None:
        assert 'if another one holds it, write [input.columns] response_label = "..."' in message
    else:
        assert f'did you mean "{suggested}"? Then write [input.columns] response_label = "{suggested}"' in message


def test_a_file_that_fractal_wrote_is_no_input(tmp_path: Path, read_files: Read) -> None:
    """Exported labels in the input folder are named as such, unless the columns are asked for."""
    (tmp_path / "old").mkdir()
    labels = {"response_id": ["a", "b"], "sentence_index": [0, 0], "text": ["x", "y"], "pseudolabel": [0.0, 1.0]}
    pq.write_table(pa.table(labels), tmp_path / "old" / "labels.parquet")
    columns = {"id": "response_id", "response": "text", "response_label": "pseudolabel"}
    assert len(read_files(tmp_path, columns=columns).rows("responses")) == 2
    (tmp_path / "x.jsonl").write_bytes(jsonl(GOOD))
    assert "old/labels.parquet is a file of labels that fractal has written" in error(read_files, tmp_path)


def test_column_in_some_rows(tmp_path: Path, read_files: Read) -> None:
    """A column that one row has is there; the other rows are unlabelled."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl([{"id": "u", "response": "One."}, *GOOD]))
    assert read_files(path).rows("responses")[-1]["label"] is None


def test_repeated_header(tmp_path: Path, read_files: Read) -> None:
    """Two columns of one name stop the run."""
    (tmp_path / "x.csv").write_text("id,response,id\na,b,c\n")
    assert 'x.csv has two columns of the name "id"' in error(read_files, tmp_path / "x.csv")


def test_too_many_rejects(tmp_path: Path, read_files: Read) -> None:
    """Past the allowed share the run stops, naming the three commonest reasons, each with the first row."""
    bad = [BASE | {"id": None}] * 3 + [BASE | {"response": ""}] * 2 + [GOOD[0]] * 2 + [BASE | {"id": "w", "split": "x"}]
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(GOOD + bad))
    message = error(read_files, path, max_reject_fraction=0.5)
    assert message == (
        "Too many bad rows, 8 of 12 (66.7%, allowed are 50.0%): missing id (3, first at x.jsonl:5: id = None); "
        "duplicate id (2, first at x.jsonl:10: good0 is at x.jsonl:1 and again at x.jsonl:10); "
        "missing or empty response (2, first at x.jsonl:8: response = ''); other reasons (1). "
        "Mend them, or raise [input] max_reject_fraction."
    )
    assert len(read_files(path, max_reject_fraction=8 / 12).rows("rejects")) == 8


def test_a_json_array(tmp_path: Path, read_files: Read) -> None:
    """An array in a .jsonl file is called that, however its lines are bad, and what to do is said."""
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD, indent=1))
    message = error(read_files, tmp_path / "x.jsonl", max_reject_fraction=0.05)
    assert f"{ARRAY} (1, first at x.jsonl:1: not valid JSON" in message
    assert message.endswith("begins like a JSON array: write one JSON object a line, as `jq -c '.[]'` does.")


@pytest.mark.parametrize("bad", [{"response_label": 2}, {"sentences": ["One."], "sentence_labels": [2]}])
def test_labels_of_another_kind(bad: dict[str, Any], tmp_path: Path, read_files: Read) -> None:
    """Where most bad rows have labels outside their range, the message asks what the labels are."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(GOOD + [BASE | {"id": f"b{number}", "response": "One."} | bad for number in range(2)]))
    message = error(read_files, path, max_reject_fraction=0.05)
    assert 'say what they are: [input] label_kind = "ordinal" with grades = the highest one, "real", or' in message
    assert "max_reject_fraction" not in message


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.jsonl.gz"])
def test_empty_input(name: str, tmp_path: Path, read_files: Read) -> None:
    """An input without rows stops the run."""
    text = b"id,response,response_label\n" if name == "x.csv" else b"\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert "The input has no rows" in error(read_files, tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "aggregation", "message"),
    [
        ([1, 1, 1, None], "min", r"Every labelled response in train \(3\) has the same label, 1, "),
        ([0, 0], "max", "same label, 0, .* other labels, 0 and 1"),
        ([0.5, 0.5], "avg", "same label, 0.5, .* other shares"),
        ([None, None], "min", r"No response has a label \(of 2\)"),
    ],
)
def test_nothing_to_learn(labels: list[Any], aggregation: str, message: str, tmp_path: Path, read_files: Read) -> None:
    """Labels that are missing or all the same stop the run."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl([BASE | {"id": str(i), "response_label": label} for i, label in enumerate(labels)]))
    assert re.search(message, error(read_files, path, aggregation=aggregation))


def test_labels_outside_train_do_not_count(tmp_path: Path, read_files: Read) -> None:
    """What is learned from is train: other labels elsewhere do not help."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl([{**row, "split": "train" if row["response_label"] else "dev"} for row in GOOD]))
    assert "Every labelled response in train (2) has the same label, 1" in error(read_files, path)
    path.write_bytes(jsonl([{**row, "split": "test"} for row in GOOD]))
    assert "No labelled response (of 4) is in train" in error(read_files, path)


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.parquet", "x.arrow"])
def test_damaged_file(name: str, tmp_path: Path, read_files: Read) -> None:
    """A file cut short stops the run, naming the file."""
    (tmp_path / name).write_bytes(gzip.compress(jsonl(GOOD * 50))[:60])
    assert re.search(rf"{re.escape(str(tmp_path / name))} cannot be read as ", error(read_files, tmp_path / name))
