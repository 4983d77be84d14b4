"""Tests of preferences: a row with two texts becomes two responses, or one reject."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from written_rows import write

from fractal_core.errors import InputError

Read = Any

PAIR: dict[str, Any] = {"id": "p", "response_a": "One. Two.", "response_b": "Three.", "preference": 1}
FULL: dict[str, Any] = PAIR | {
    "query": "Why?",
    "context": ["Doc."],
    "group": "g",
    "split": "train",
    "spans_a": [[0, 4], [5, 9]],
    "sentences_b": ["Three."],
    "sentence_labels_a": [1, -1],
    "sentence_labels_b": [0.5],
}
PREFERENCES = {"label_kind": "preference", "aggregation": "auto"}


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_a_pair_is_two_responses(name: str, tmp_path: Path, read_files: Read) -> None:
    """Both have the pair's id, query, context, group and split, and each its own text, sentences and gold labels."""
    result = read_files(write(tmp_path / name, [FULL]), **PREFERENCES)
    shared = {
        "query": "Why?", "context": ["Doc."], "label": None, "split": "train", "group": "g", "pair": "p",
        "prior": None, "source": name, "line": 2 if name == "x.csv" else 1,
    }  # fmt: skip
    first = {
        "response_id": "p#a", "response": "One. Two.", "spans": [[0, 4], [5, 9]], "sentence_labels": [1.0, None],
        "preferred": 1.0,
    }  # fmt: skip
    second = {
        "response_id": "p#b", "response": "Three.", "spans": [[0, 6]], "sentence_labels": [0.5], "preferred": 0.0,
    }  # fmt: skip
    assert result.rows("responses") == [shared | first, shared | second]
    assert result.rows("rejects") == []
    assert result.runtime.done == result.runtime.totals


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_preferences(name: str, tmp_path: Path, read_files: Read) -> None:
    """1 is the first, 2 the second, 0 a tie, null nobody knows."""
    given = [1, 2, 0, None]
    rows = [PAIR | {"id": str(i), "preference": preference} for i, preference in enumerate(given)]
    found = read_files(write(tmp_path / name, rows), **PREFERENCES).rows("responses")
    assert [(row["response_id"], row["preferred"]) for row in found] == [
        ("0#a", 1.0), ("0#b", 0.0), ("1#a", 0.0), ("1#b", 1.0),
        ("2#a", 0.5), ("2#b", 0.5), ("3#a", None), ("3#b", None),
    ]  # fmt: skip


def test_columns_of_pairs_can_be_renamed(tmp_path: Path, read_files: Read) -> None:
    """The configuration says what the columns are called."""
    rows = [{"id": "p", "chosen": "One.", "rejected": "Two.", "better": 1}]
    names = {"response_a": "chosen", "response_b": "rejected", "preference": "better"}
    found = read_files(write(tmp_path / "x.jsonl", rows), columns=names, **PREFERENCES).rows("responses")
    assert [(row["response"], row["preferred"]) for row in found] == [("One.", 1.0), ("Two.", 0.0)]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"id": None}, "missing id", "id = None"),
        ({"response_a": " "}, "missing or empty response", "response_a = ' '"),
        ({"response_b": None}, "missing or empty response", "response_b = None"),
        ({"response_b": 3}, "response is not text", "response_b = 3"),
        ({"response_b": "\ud800"}, "text is not UTF-8", "response_b: character 0 is U+D800"),
        ({"preference": 3}, "preference outside its range", "preference = 3, not 1 (the first), 2 (the second), 0"),
        ({"preference": 0.5}, "preference outside its range", "0.5"),
        ({"preference": True}, "preference outside its range", "True"),
        ({"preference": "a"}, "preference is not a number", "'a'"),
        ({"spans_b": [[0, 60]]}, "span lies outside the response", "spans_b: span 0 is [0, 60]"),
        ({"sentences_a": ["Four."]}, "sentence not found in the response", "sentences_a: sentence 0 is 'Four.'"),
        ({"sentence_labels_a": [1]}, "sentence labels without sentences", "sentence_labels_a: 1 labels"),
        (
            {"spans_b": [[0, 6]], "sentence_labels_b": [2]},
            "sentence label outside its range",
            "sentence_labels_b: label 0",
        ),
        ({"split": "x"}, "split is not train, dev or test", "split = 'x'"),
    ],
)
def test_bad_pairs(change: dict[str, Any], reason: str, detail: str, tmp_path: Path, read_files: Read) -> None:
    """A fault in one text rejects the pair, once, naming the text."""
    path = write(tmp_path / "x.jsonl", [PAIR | {"id": "good"}, PAIR | change])
    result = read_files(path, **PREFERENCES)
    (found,) = result.rows("rejects")
    assert (found["line"], found["reason"]) == (2, reason)
    assert detail in found["detail"]
    assert [row["response_id"] for row in result.rows("responses")] == ["good#a", "good#b"]


def test_preference_in_words_of_csv(tmp_path: Path, read_files: Read) -> None:
    """In CSV, true does not say which text is better."""
    rows = [PAIR | {"id": "good"}, PAIR | {"preference": "true"}]
    assert [row["reason"] for row in read_files(write(tmp_path / "x.csv", rows), **PREFERENCES).rows("rejects")] == [
        "preference outside its range"
    ]


def test_repeated_pair_is_reported_once(tmp_path: Path, read_files: Read) -> None:
    """The first row with an id is kept, both texts of it; each later one is one reject that names the pair."""
    rows = [PAIR, PAIR | {"id": "q"}, PAIR | {"response_a": "Later."}, PAIR]
    result = read_files(write(tmp_path / "x.jsonl", rows), **PREFERENCES)
    assert [(row["response_id"], row["response"]) for row in result.rows("responses")] == [
        ("p#a", "One. Two."), ("p#b", "Three."), ("q#a", "One. Two."), ("q#b", "Three."),
    ]  # fmt: skip
    assert [(row["line"], row["reason"], row["detail"]) for row in result.rows("rejects")] == [
        (3, "duplicate id", "p is at x.jsonl:1 and again at x.jsonl:3"),
        (4, "duplicate id", "p is at x.jsonl:1 and again at x.jsonl:4"),
    ]
    assert json.loads(result.rows("rejects")[0]["raw"])["response_a"] == "Later."
    assert result.runtime.notes == ["Rejected 2 of 4 rows (duplicate id 2): see the table rejects."]


def test_ids_that_look_like_those_of_a_pair(tmp_path: Path, read_files: Read) -> None:
    """A pair called "p#a" is another one than "p"."""
    rows = [PAIR, PAIR | {"id": "p#a"}, PAIR | {"id": "p#b"}]
    result = read_files(write(tmp_path / "x.jsonl", rows), **PREFERENCES)
    assert sorted((row["pair"], row["response_id"]) for row in result.rows("responses")) == [
        ("p", "p#a"), ("p", "p#b"), ("p#a", "p#a#a"), ("p#a", "p#a#b"), ("p#b", "p#b#a"), ("p#b", "p#b#b"),
    ]  # fmt: skip
    assert result.rows("rejects") == []


def test_single_responses_may_be_called_like_a_text_of_a_pair(tmp_path: Path, read_files: Read) -> None:
    """Without preferences an id may end in #a or #b."""
    rows = [{"id": name, "response": "One.", "response_label": i} for i, name in enumerate(["p#a", "p#b"])]
    found = read_files(write(tmp_path / "x.jsonl", [*rows, rows[1]]))
    assert [row["response_id"] for row in found.rows("responses")] == ["p#a", "p#b"]
    assert [row["detail"] for row in found.rows("rejects")] == ["p#b is at x.jsonl:2 and again at x.jsonl:3"]


def test_both_texts_are_in_one_split(tmp_path: Path, read_files: Read) -> None:
    """Without a split, a pair is dealt as a whole, and so are pairs of one question; order does not matter."""
    rows = [PAIR | {"id": f"p{i:03}", "query": f"question {i // 2}"} for i in range(200)]
    options = PREFERENCES | {"dev_fraction": 0.3, "test_fraction": 0.3}
    found = read_files(write(tmp_path / "x.jsonl", rows), **options).rows("responses")
    splits: dict[str, set[str]] = {}
    for row in found:
        splits.setdefault(row["query"], set()).add(row["split"])
    assert len(found) == 400
    assert {len(names) for names in splits.values()} == {1}
    assert {name for names in splits.values() for name in names} == {"train", "dev", "test"}
    alone = [PAIR | {"id": f"p{i:03}"} for i in range(40)]
    pairs = read_files(write(tmp_path / "y.jsonl", alone), **options).rows("responses")
    assert all(a["split"] == b["split"] for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    again = read_files(write(tmp_path / "y.jsonl", alone[::-1]), **options).rows("responses")
    assert [row | {"line": 0} for row in again] == [row | {"line": 0} for row in pairs]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([PAIR | {"preference": None}], r"No pair has a preference \(of 1\)"),
        ([PAIR | {"preference": 0}] * 2, r"Every pair with a preference in train \(1\) is a tie"),
        ([PAIR | {"split": "dev"}], r"No pair with a preference \(of 1\) is in train"),
        ([PAIR | {"preference": 0}, PAIR | {"id": "q", "split": "dev"}], r"in train \(1\) is a tie"),
    ],
)
def test_nothing_to_learn(rows: list[dict[str, Any]], message: str, tmp_path: Path, read_files: Read) -> None:
    """Preferences that are missing, ties only or not in train stop the run."""
    with pytest.raises(InputError, match=message):
        read_files(write(tmp_path / "x.jsonl", rows), **PREFERENCES)


def test_one_kind_of_preference_is_enough(tmp_path: Path, read_files: Read) -> None:
    """The first text may be the better one everywhere ("chosen" and "rejected")."""
    rows = [PAIR | {"id": str(i)} for i in range(3)]
    assert len(read_files(write(tmp_path / "x.jsonl", rows), **PREFERENCES).rows("responses")) == 6


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (PAIR, {}, r'x.jsonl has pairs .*aggregation = "auto" and \[input\] label_kind = "preference"'),
        ({"id": "a", "response": "One.", "response_label": 1}, PREFERENCES, r"one response a row \(response\)"),
        (
            {"id": "a", "response_a": "One.", "response_c": "Two.", "preference": 1},
            PREFERENCES,
            'no column "response_b"',
        ),
        ({"id": "a", "response_a": "x", "response_b": "y", "preferred": 1}, PREFERENCES, 'preference = "preferred"'),
    ],
)
def test_columns(row: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path, read_files: Read) -> None:
    """Columns that do not fit the kind of the labels stop the run, with what to set."""
    with pytest.raises(InputError) as caught:
        read_files(write(tmp_path / "x.jsonl", [row]), **options)
    assert re.search(message, str(caught.value))
