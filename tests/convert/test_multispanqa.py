"""MultiSpanQA: sentences of tokens, those with a piece of an answer, and crops without one."""

from __future__ import annotations

import pytest
from made_files import passage, rows_and_bad, write_json

from fractal_core.convert.multispanqa import read_cropped, read_whole


def _data(tmp_path, *records):
    return write_json(tmp_path / "valid.json", {"version": 1.0, "data": list(records)}, indent=None)


def test_sentences_and_labels(tmp_path):
    """Tokens are joined by blanks; a sentence with a B or I is positive, and so is the passage then."""
    record = passage(
        "q1", "In 1981 *Dave Stewart* sang it .", "Was it so ? no .", "He said `` it *was* . ''",
        "The U.S. hit ( # 3 ) .", "Who knows ! )",
    )  # fmt: skip
    rows, bad = rows_and_bad(read_whole, [_data(tmp_path, record)])
    assert bad == []
    assert rows[0]["query"] == "who was it"
    assert rows[0]["sentences"] == [
        "In 1981 Dave Stewart sang it .", "Was it so ? no .", "He said `` it was . ''", "The U.S. hit ( # 3 ) .",
        "Who knows ! )",
    ]  # fmt: skip
    assert rows[0]["response"] == " ".join(record["context"])
    assert [rows[0]["response"][start:end] for start, end in rows[0]["spans"]] == rows[0]["sentences"]
    assert (rows[0]["sentence_labels"], rows[0]["response_label"]) == ([1, 0, 1, 0, 0], 1)


def test_crops(tmp_path):
    """About half are cropped, always the same ones, to the longest run without an answer; their label is 0."""
    parts = ("A *b* c .", "D e .", "F *g* .", "H i .", "J k \u00e9 .", "L *m* .")
    records = [passage(f"q{n}", *parts) for n in range(200)]
    rows, _ = rows_and_bad(read_cropped, [_data(tmp_path, *records)])
    cropped = [row for row in rows if row["id"].endswith("-cropped")]
    assert 70 < len(cropped) < 130
    for row in cropped:
        assert row["response"] == "H i . J k \u00e9 ."
        assert row["spans"] == [[0, 5], [6, 13]]
        assert row["sentences"] == ["H i .", "J k \u00e9 ."]
        assert (row["sentence_labels"], row["response_label"]) == ([0, 0], 0)
    assert all(row["response_label"] == 1 for row in rows if row not in cropped)
    assert rows_and_bad(read_cropped, [_data(tmp_path, *reversed(records))])[0] == rows[::-1]
    assert [row["id"] for row in rows_and_bad(read_whole, [_data(tmp_path, *records)])[0]] == [r["id"] for r in records]


def test_nothing_to_crop(tmp_path):
    """A passage of nothing but answers, or without any, stays whole; one without labels stays unlabelled."""
    unlabelled = passage("q3", "A b .")
    del unlabelled["label"]
    records = [*(passage(f"a{n}", "A *b* .") for n in range(8)), *(passage(f"n{n}", "A b .") for n in range(8))]
    rows, _ = rows_and_bad(read_cropped, [_data(tmp_path, *records, unlabelled)])
    assert [row["response_label"] for row in rows[:-1]] == [1] * 8 + [0] * 8
    assert not any(row["id"].endswith("-cropped") for row in rows)
    assert "response_label" not in rows[-1]
    assert "sentence_labels" not in rows[-1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": 3}, "id is missing or not text"),
        ({"context": "text"}, "context is not a list of text"),
        ({"context": []}, "context has no text"),
        ({"context": [" ", ""]}, "context has no text"),
        ({"question": None}, "question is not a list of text"),
        ({"label": ["O"]}, "label is not one of B, I and O for each token"),
        ({"label": ["O", "X", "O"]}, "label is not one of B, I and O for each token"),
        ({"label": ["O", ["B"], "O"]}, "label is not one of B, I and O for each token"),
    ],
)
def test_bad_records(tmp_path, change, reason):
    """A record with a fault is left out with the reason, and the one after it is converted."""
    file = _data(tmp_path, {**passage("q1", "A b ."), **change}, passage("q2", "A b ."))
    rows, bad = rows_and_bad(read_cropped, [file])
    assert [row["id"] for row in rows] == ["q2"]
    assert bad == [(1, reason)]
