"""QA-Feedback: sentences that marked spans touch, by type of error, and the six pairs."""

from __future__ import annotations

import pytest
from made_files import question, rows_and_bad, write_json

from fractal_core.convert.qa_feedback import read_factuality, read_preferences, read_relevance

ANSWER = " It is \u00e9clair \U0001f370. It was made in 1850. By whom is not known. The end."
ERRORS = [
    ("Irrelevant", "By whom is not known. "),
    ("Wrong-Grounding", "1850"),
    ("Redundant", "The end."),
    ("Irrelevant", "1850"),
]


def test_relevance(tmp_path):
    """A sentence is relevant unless an irrelevant span shares a letter with it; the label is the share of those."""
    file = write_json(tmp_path / "dev_feedback.json", [question("Who?", ANSWER, ERRORS), question("What?", "Good.")])
    rows, bad = rows_and_bad(read_relevance, [file])
    assert bad == []
    assert rows[0] == {
        "id": "dev_feedback-0", "query": "Who?",
        "context": ["A title\nOne sentence. Another \u00e9.", "A second title\nMore."], "response": ANSWER,
        "sentences": ["It is \u00e9clair \U0001f370.", "It was made in 1850.", "By whom is not known.", "The end."],
        "spans": [[1, 16], [17, 37], [38, 59], [60, 68]], "sentence_labels": [1, 0, 0, 1], "response_label": 0.5,
    }  # fmt: skip
    assert [row["response_label"] for row in rows] == [0.5, 1.0]
    assert [ANSWER[start:end] for start, end in rows[0]["spans"]] == rows[0]["sentences"]


def test_factuality(tmp_path):
    """A factual error makes a sentence wrong; other marks leave it unlabelled, since nobody looked further there."""
    file = write_json(tmp_path / "x.json", [question("Who?", ANSWER, ERRORS), question("Who?", ANSWER, ERRORS[:1])])
    rows, _ = rows_and_bad(read_factuality, [file])
    assert [row["sentence_labels"] for row in rows] == [[1, 0, None, None], [1, 1, None, 1]]
    assert [row["response_label"] for row in rows] == [0, 1]


def test_preferences(tmp_path):
    """The six pairs in their order, with the preference as it is; sentences of prediction 1 have labels."""
    record = question("Who?", ANSWER, ERRORS)
    without = {key: value for key, value in record.items() if key != "feedback"}
    rows, bad = rows_and_bad(read_preferences, [write_json(tmp_path / "train.json", [record, without])])
    assert bad == []
    assert [(row["id"], row["preference"]) for row in rows[:6]] == [
        ("train-0-1v2", 0), ("train-0-1v3", 1), ("train-0-1v4", 2), ("train-0-2v3", 1), ("train-0-2v4", 0),
        ("train-0-3v4", 2),
    ]  # fmt: skip
    assert (rows[0]["response_a"], rows[0]["response_b"]) == (ANSWER, "Prediction 2 of Who?.")
    assert (rows[5]["response_a"], rows[5]["response_b"]) == ("Prediction 3 of Who?.", "Prediction 4 of Who?.")
    assert [row.get("sentence_labels_a") for row in rows] == [[1, 0, 0, 1]] * 3 + [None] * 9


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": None}, "question is missing or not text"),
        ({"passages": "text"}, "passages is missing or not a list"),
        ({"passages": [["title", 3]]}, "passages[0] is not a list of text"),
        ({"prediction 1": " "}, "prediction has no text"),
        ({"feedback": {}}, "feedback.errors is missing or not a list"),
        ({"feedback": {"errors": [3]}}, "error span: error type is missing or not text"),
        ({"feedback": {"errors": [{"error type": "Irrelevant", "start": 0, "end": True}]}},
         "error span: end is missing or not a whole number"),
        ({"feedback": {"errors": [{"error type": "Irrelevant", "start": 3, "end": 69}]}},
         "error span lies outside prediction 1"),
        ({"feedback": {"errors": [{"error type": "Irrelevant", "start": 3, "end": 3}]}},
         "error span lies outside prediction 1"),
    ],
)  # fmt: skip
def test_bad_records(tmp_path, change, reason):
    """A record with a fault is left out with its line and the reason, and the ones around it are converted."""
    records = [question("A?", ANSWER), {**question("B?", ANSWER), **change}, question("C?", ANSWER)]
    rows, bad = rows_and_bad(read_relevance, [write_json(tmp_path / "x.json", records, indent=None)])
    assert [row["query"] for row in rows] == ["A?", "C?"]
    assert bad == [(1, reason)]


@pytest.mark.parametrize("preference", [[1, 2], [0, 1, 2, 1, 0, 3], [0, 1, 2, 1, 0, True], "012012"])
def test_bad_preferences(tmp_path, preference):
    """Preferences that are not six numbers from 0 to 2 are a fault."""
    file = write_json(tmp_path / "x.json", [{**question("A?", ANSWER), "preference": preference}])
    rows, ((_, reason),) = rows_and_bad(read_preferences, [file])
    assert rows == []
    assert reason.startswith("preference is ")
