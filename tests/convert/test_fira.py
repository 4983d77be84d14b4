"""FiRA: grades of sentences from ranges that several people marked, UTF-16 offsets, tables that do not fit."""

from __future__ import annotations

import pytest
from made_files import judged, rows_and_bad, write_table

from fractal_core.convert.fira import read_best, read_mean
from fractal_core.errors import UsageError

TEXT = "It is a \U0001f333 tree. It grows in Peru. Nobody knows."
PERU = (TEXT.index("Peru") + 1, TEXT.index("Peru") + 4)  # one more than its place: the tree is two units
QUERIES = {"12": "where do trees grow", "7": "what is a tree"}


def test_grades(tmp_path):
    """A sentence has its highest grade: of who marked a piece of it, or who marked nothing; of others it has 0."""
    files = judged(
        tmp_path, {"D1_0": TEXT, "D1_1": "Never judged.", "D2_0": "With a\nline break."}, QUERIES,
        [
            ("12", "D1_0", "3_PERFECT_ANSWER", f"{PERU[0]}-{PERU[1]}"),
            ("12", "D1_0", "1_TOPIC_RELEVANT_DOES_NOT_ANSWER", "<no ranges selected>"),
            ("7", "D1_0", "2_GOOD_ANSWER", f"0-5;{len(TEXT) - 5}-{len(TEXT) - 1}"),
            ("7", "D2_0", "0_NOT_RELEVANT", ""),
        ],
    )  # fmt: skip
    rows, bad = rows_and_bad(read_best, files)
    assert bad == []
    found = {row["id"]: (row["query"], row["sentence_labels"], row["response_label"]) for row in rows}
    assert found == {
        "12-D1_0": ("where do trees grow", [1, 3, 1], 3),
        "7-D1_0": ("what is a tree", [2, 0, 2], 2),
        "7-D2_0": ("what is a tree", [0], 0),
    }
    assert rows[0]["sentences"] == ["It is a \U0001f333 tree.", "It grows in Peru.", "Nobody knows."]
    assert [TEXT[start:end] for start, end in rows[0]["spans"]] == rows[0]["sentences"]
    means, _ = rows_and_bad(read_mean, files[::-1])
    assert [row["response_label"] for row in means] == pytest.approx([5 / 3, 4 / 3, 0.0])
    assert [row["sentence_labels"] for row in means] == [row["sentence_labels"] for row in rows]


def test_both_ends_are_inside(tmp_path):
    """A range of one character marks its sentence, the last one of the text as well, and not the one before."""
    last = len(TEXT)  # in UTF-16 units one more than the last place of a code point
    cases = {f"{last - 1}-{last - 1}": [0, 0, 3], "0-0": [3, 0, 0], f"{last}-{last}": [0, 0, 0]}
    for number, (ranges, labels) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = judged(folder, {"D": TEXT}, QUERIES, [("7", "D", "3_PERFECT_ANSWER", ranges)])
        rows, _ = rows_and_bad(read_best, files)
        assert [row["sentence_labels"] for row in rows] == [labels]


def test_bad_judgements(tmp_path):
    """A judgement that does not fit costs itself alone; others of the passage count, and reasons have its line."""
    long = f"0-{len(TEXT) + 1}"
    files = judged(
        tmp_path, {"D": TEXT, "E": " "}, QUERIES,
        [
            ("7", "D", "2_GOOD_ANSWER", "0-5"), ("7", "D", "4_WHAT", ""), ("7", "D", "-1_MISLEADING_ANSWER", ""),
            ("7", "D", "3_PERFECT_ANSWER", long), ("7", "D", "3_PERFECT_ANSWER", "5"),
            ("7", "D", "3_PERFECT_ANSWER", "5-4"), ("8", "D", "2_GOOD_ANSWER", ""), ("7", "F", "2_GOOD_ANSWER", ""),
            ("7", "E", "2_GOOD_ANSWER", ""), ("", "D", "2_GOOD_ANSWER", ""), ("12", "D", "3_PERFECT_ANSWER", long),
        ],
    )  # fmt: skip
    rows, bad = rows_and_bad(read_best, files)
    assert [(row["id"], row["sentence_labels"]) for row in rows] == [("7-D", [2, 0, 0])]
    assert sorted(bad) == [
        (3, "relevanceLevel is not a grade from 0 to 3"), (4, "relevanceLevel is not a grade from 0 to 3"),
        (5, "range lies outside the text"), (6, "range is not FIRST-LAST"), (7, "range lies outside the text"),
        (8, "judged query is not in the queries"), (9, "judged document is not in the documents"),
        (10, "judged document has no text"), (11, "queryId is missing or not text"),
        (12, "range lies outside the text"),
    ]  # fmt: skip


def test_files_that_are_missing_or_others(tmp_path):
    """Without one of the three tables, or with a file that is none of them, that is said."""
    files = judged(tmp_path, {"D": TEXT}, QUERIES, [("7", "D", "2_GOOD_ANSWER", "")])
    with pytest.raises(UsageError, match="no file has the columns doc_id, doc_text"):
        rows_and_bad(read_best, [files[0], files[2]])
    other = write_table(tmp_path / "other.tsv", ("a", "b"), [["1", "2"]])
    with pytest.raises(UsageError, match=r"other\.tsv has the columns a, b"):
        rows_and_bad(read_best, [*files, other])
