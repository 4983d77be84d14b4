"""PRM800K: which steps make the solution, their labels, and what is left out."""

from __future__ import annotations

import gzip

import pytest
from made_files import rows_and_bad, solution, step, write_lines

from fractal_core.convert.prm800k import read_binary, read_grades
from fractal_core.text.rows import ARRAY

GOOD = solution("1 + 1?", step((" I add. ", 0)), step(("It is 2.\n\n# Answer\n\n2", 1)))
FOUND = solution(
    "2 + 2?", step(("I add.", 1)), step(("It is 5.", -1), ("It is 4.", 1), chosen=None), reason="found_error"
)  # fmt: skip


def test_phase_2(tmp_path):
    """The first completion of each step is the solution; spans are those of the steps; ratings become labels."""
    file = write_lines(tmp_path / "phase2.jsonl", [GOOD, FOUND])
    rows, bad = rows_and_bad(read_binary, [file])
    assert bad == []
    assert rows[0] == {
        "id": "phase2-0", "query": "1 + 1?", "response": " I add. \nIt is 2.\n\n# Answer\n\n2",
        "sentences": ["I add.", "It is 2.\n\n# Answer\n\n2"], "spans": [[1, 7], [9, 30]],
        "sentence_labels": [1, 1], "response_label": 1,
    }  # fmt: skip
    assert (rows[1]["response"], rows[1]["sentence_labels"], rows[1]["response_label"]) == (
        "I add.\nIt is 5.",
        [1, 0],
        0,
    )
    for row in rows:
        assert [row["response"][start:end] for start, end in row["spans"]] == row["sentences"]
    graded, _ = rows_and_bad(read_grades, [file])
    assert [(row["sentence_labels"], row["response_label"]) for row in graded] == [([1, 2], 1), ([2, 0], 0)]


def test_phase_1(tmp_path):
    """Where labellers chose how to go on, the solution is what they chose, or wrote themselves."""
    record = solution(
        "3 + 3?", step(("Bad.", -1), ("Fine.", 1), chosen=1),
        step(("Worse.", -1), chosen=None, written={"text": "Mine.", "rating": None}), phase=1,
    )  # fmt: skip
    rows, _ = rows_and_bad(read_grades, [write_lines(tmp_path / "phase1.jsonl", [record])])
    assert (rows[0]["sentences"], rows[0]["sentence_labels"], rows[0]["response_label"]) == (
        ["Fine.", "Mine."],
        [2, 2],
        2,
    )


@pytest.mark.parametrize(("ratings", "labels", "label"), [((1, None), [1, None], None), ((None, -1), [None, 0], 0)])
def test_unrated_steps(tmp_path, ratings, labels, label):
    """A step without a rating is unlabelled; the solution then has a label only if a rated step is wrong."""
    record = solution("4?", *(step((f"Step {n}.", rating)) for n, rating in enumerate(ratings)))
    rows, _ = rows_and_bad(read_binary, [write_lines(tmp_path / "x.jsonl", [record])])
    assert (rows[0]["sentence_labels"], rows[0]["response_label"]) == (labels, label)


def test_bad_records(tmp_path):
    """Records that are no solution are left out, each with its line and a reason; the others are converted."""
    empty = solution("5?", step(("  ", 1)))
    records = [
        GOOD, solution("6?", reason="give_up"), solution("7?", reason="bad_problem"), GOOD, empty, {}, {"label": 3},
        {"label": {"steps": []}, "question": None}, {"question": {"problem": "8?"}, "label": {"steps": [None]}},
        solution("9?", step(("x", 7))), solution("10?"), FOUND,
        {"question": {"problem": "11?"}, "label": {"steps": [{"completions": [4]}]}},
        solution("12?", step(("x", 1), chosen=3), phase=1), [1],
    ]  # fmt: skip
    rows, bad = rows_and_bad(read_binary, [write_lines(tmp_path / "x.jsonl", records)])
    assert [row["id"] for row in rows] == ["x-0", "x-11"]
    assert bad == [
        (2, "the labeller gave up"), (3, "the problem was reported as broken"),
        (4, "the same problem and solution again"), (5, "sentence has no text"),
        (6, "label is missing or not an object"), (7, "label is missing or not an object"),
        (8, "question.problem is missing or not text"), (9, "completions is missing or not a list"),
        (10, "rating is not -1, 0 or 1"), (11, "there are no sentences"), (13, "text is missing or not text"),
        (14, "step has no such completion"), (15, ARRAY),
    ]  # fmt: skip


def test_splits_and_names(tmp_path):
    """Files that say train and test in their names give rows these splits; one file alone does not; gzip is read."""
    train = write_lines(tmp_path / "phase2_train.jsonl", [GOOD])
    other = write_lines(tmp_path / "plain.jsonl", [FOUND])
    test = tmp_path / "phase2_test.jsonl.gz"
    test.write_bytes(gzip.compress(other.read_bytes()))
    rows, _ = rows_and_bad(read_binary, [train, test])
    assert [(row["id"], row["split"]) for row in rows] == [("phase2_train-0", "train"), ("phase2_test-0", "test")]
    rows, _ = rows_and_bad(read_binary, [train])
    assert "split" not in rows[0]
