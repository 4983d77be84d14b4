"""Preferences: exact pairs, evidence by aggregation, what is left out."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from made_results import MadeResults, one

from fractal_core.errors import UsageError
from fractal_core.publish.contents import Options
from fractal_core.publish.preference import write_preferences


def _export(results, folder, **options):
    """Export; return the contents, and rows by split."""
    folder.mkdir(exist_ok=True)
    contents = write_preferences(results, folder, Options(**options))
    files = sorted((folder / "data").glob("*.parquet"))
    assert sorted(path.name for path in folder.iterdir()) == ["data"]
    return contents, {path.stem: pq.read_table(path).to_pylist() for path in files}


def _ids(rows):
    return [(row["chosen_id"], row["rejected_id"]) for row in rows]


def test_responses_to_one_query(tmp_path):
    """Within a split and a query the one with the higher label is chosen; what cannot be compared is counted."""
    given = [
        {"query": "a", "label": 1.0, "response": "good"},
        {"query": "a", "label": 0.0, "response": "bad"},
        {"query": "a", "label": 0.0, "response": "bad as well"},
        {"query": "b", "label": 0.0, "response": "alone"},
        {"query": "a", "label": 1.0, "response": "of another split", "split": "test"},
        {"query": "a", "label": None, "response": "unlabelled"},
        {"query": None, "label": 1.0, "response": "no query"},
        {"query": "c", "label": 1.0, "response": "the same"},
        {"query": "c", "label": 0.0, "response": "the same"},
    ]
    results = MadeResults([{**row, "sentences": one(0.5)} for row in given])
    contents, rows = _export(results, tmp_path)
    assert {split: sorted(_ids(found)) for split, found in rows.items()} == {"train": [("r00", "r01"), ("r00", "r02")]}
    first = rows["train"][0]
    assert (first["prompt"], first["chosen"], first["chosen_label"], first["rejected_label"]) == ("a", "good", 1.0, 0.0)
    assert contents.left_out == {
        "ties": 1,
        "responses without a label": 1,
        "labelled responses without a prompt": 1,
        "both responses have one text": 1,
    }
    assert contents.parts[0].rows == {"train": 2}


def test_documents_in_the_prompt(tmp_path):
    """With the documents in the prompt, only responses that were given the same ones are compared."""
    given = [
        {"query": "q", "context": ["d1", "d2"], "label": 1.0, "response": "x"},
        {"query": "q", "context": ["d1", "d2"], "label": 0.0, "response": "y"},
        {"query": "q", "context": ["other"], "label": 0.0, "response": "z"},
    ]
    results = MadeResults([{**row, "sentences": one(0.5)} for row in given])
    _, rows = _export(results, tmp_path / "with", with_context=True)
    assert [(row["prompt"], row["rejected"]) for row in rows["train"]] == [("d1\n\nd2\n\nq", "y")]
    _, rows = _export(results, tmp_path / "without")
    assert sorted(row["rejected"] for row in rows["train"]) == ["y", "z"]
    assert rows["train"][0]["context"] == ["d1", "d2"]


@pytest.mark.parametrize(
    ("aggregation", "chosen", "rejected"),
    [
        ("min", ["c2", "c0", "c3"], ["d1", "d0"]),
        ("max", ["c1", "c3", "c0"], ["d0", "d1"]),
        ("avg", ["c1", "c3", "c0"], ["d1", "d0"]),
    ],
)
def test_evidence(tmp_path, aggregation, chosen, rejected):
    """Min shows the weakest sentences of both, max the strongest, avg the strongest of the better and the weakest."""
    sentences = [("c0", 0.1, 0.6), ("c1", 0.2, 0.9), ("c2", 0.3, 0.5), ("c3", 0.4, 0.8)]
    given = [
        {"query": "q", "label": 1.0, "response": "x", "sentences": sentences},
        {"query": "q", "label": 0.0, "response": "y", "sentences": [("d0", 0.5, 0.4), ("d1", 0.6, 0.2)]},
    ]
    _, rows = _export(MadeResults(given, aggregation=aggregation), tmp_path)
    (row,) = rows["train"]
    assert [sentence["text"] for sentence in row["chosen_evidence"]] == chosen
    assert [sentence["text"] for sentence in row["rejected_evidence"]] == rejected
    assert {"sentence_index": 0, "text": "c0", "score": 0.1, "posterior": 0.6} in row["chosen_evidence"]


@pytest.mark.parametrize(
    ("aggregation", "kind", "labels", "expected"),
    [
        ("max", "ordinal", [2.0, 0.0, 1.0], [("r00", "r01"), ("r00", "r02"), ("r02", "r01")]),
        ("avg", "share", [0.25, 0.5, 0.25], [("r01", "r00"), ("r01", "r02")]),
        ("avg", "real", [-1.5, -2.0, 3.0], [("r00", "r01"), ("r02", "r00"), ("r02", "r01")]),
        # One of one sentence is more than one of three.
        ("avg", "count", [1.0, 1.0, 1.0], [("r00", "r01"), ("r00", "r02"), ("r01", "r02")]),
    ],
)
def test_kinds_of_labels(tmp_path, aggregation, kind, labels, expected):
    """Whatever the labels are, the higher one is chosen."""
    given = [
        {"query": "q", "label": label, "response": f"x{n}", "sentences": one(0.5) * (n + 1)}
        for n, label in enumerate(labels)
    ]
    results = MadeResults(given, aggregation=aggregation, input={"path": "x.jsonl", "label_kind": kind})
    _, rows = _export(results, tmp_path)
    assert sorted(_ids(rows["train"])) == sorted(expected)


def test_pairs_of_the_input(tmp_path):
    """Pairs stay as they were given, preferred first, even without a query; ties and unknown ones are counted."""
    preferred = {"p1": (1.0, 0.0), "p2": (0.0, 1.0), "p3": (0.5, 0.5), "p4": (None, None)}
    given = [
        {"response_id": f"{pair}#{side}", "pair": pair, "preferred": value, "response": f"{pair}{side}"}
        for pair, values in preferred.items()
        for side, value in zip("ab", values, strict=True)
    ]
    results = MadeResults(
        [{**row, "sentences": one(0.5)} for row in given],
        aggregation="auto", input={"path": "x.jsonl", "label_kind": "preference"},
    )  # fmt: skip
    contents, rows = _export(results, tmp_path)
    assert _ids(rows["train"]) == [("p1#a", "p1#b"), ("p2#b", "p2#a")]
    assert rows["train"][0]["chosen_label"] is None
    assert contents.left_out == {"ties": 1, "pairs without a preference": 1}


def test_nothing_to_compare(tmp_path):
    """If no two responses can be compared, that is an error that says why."""
    results = MadeResults([{"query": "q", "label": 1.0, "sentences": one(0.5)}] * 2)
    with pytest.raises(UsageError, match="1 ties"):
        _export(results, tmp_path)


def test_limit_of_a_query(tmp_path):
    """A query with many responses gives as many pairs as asked for, and the others are counted."""
    given = [{"query": "q", "label": float(n % 2), "response": f"x{n}", "sentences": one(0.5)} for n in range(20)]
    contents, rows = _export(MadeResults(given), tmp_path, pairs_per_query=7)
    assert len(rows["train"]) == 7
    assert contents.left_out == {"ties": 90, "pairs over 7 of one prompt": 93}
