"""Labels of every kind through the real pipeline, as far as no label is needed."""

from __future__ import annotations

import pytest
from small_data import make_rows


def _pairs(count):
    rows = make_rows(2 * count)
    return [
        {
            "id": f"p{index}", "query": first["query"], "context": first["context"], "preference": index % 3,
            "response_a": first["response"], "response_b": second["response"],
            "sentences_a": first["sentences"], "sentence_labels_b": second["sentence_labels"],
            "sentences_b": second["sentences"],
        }
        for index, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True))
    ]  # fmt: skip


def test_pairs(runner):
    """Pairs are read, cut and embedded as two responses each; their preferences touch nothing but `read`."""
    rows = _pairs(20)
    runner.give(rows)
    settings = ("input.label_kind=preference", "aggregation=auto")
    assert runner.run(*settings, until="priors") == ["read", "segment", "embed", "priors"]
    responses = runner.table("read", "responses").to_pylist()
    assert sorted(row["response_id"] for row in responses) == sorted(f"{r['id']}#{s}" for r in rows for s in "ab")
    assert {row["response_id"] for row in runner.table("segment", "sentences").to_pylist()} == {
        row["response_id"] for row in responses
    }
    gold = [row["gold"] is not None for row in runner.table("segment", "sentences").to_pylist()]
    assert sum(gold) == sum(len(row["sentence_labels_b"]) for row in rows)
    rows[1]["preference"] = 2 if rows[1]["preference"] == 1 else 1
    runner.give(rows)
    assert runner.run(*settings, until="priors") == ["read"]


@pytest.mark.parametrize(
    ("kind", "aggregation", "label"),
    [
        ("count", "avg", lambda gold: sum(gold)),
        ("ordinal", "min", lambda gold: 3 * min(gold)),
        ("real", "avg", lambda gold: sum(gold) - 2.5),
        ("binary", "auto", min),
    ],
)
def test_labels(runner, kind, aggregation, label):
    """Labels of another kind, and a belief of one's own, are read; text stages are not computed again for them."""
    rows = make_rows(30)
    runner.give(rows)
    runner.run(until="embed")
    for row in rows:
        row["response_label"] = label(row["sentence_labels"])
        row["prior"] = [0.5] * len(row["sentences"])
    runner.give(rows)
    grades = ("input.grades=3",) if kind == "ordinal" else ()
    assert runner.run(f"input.label_kind={kind}", f"aggregation={aggregation}", *grades, until="embed") == ["read"]
    found = {row["response_id"]: row for row in runner.table("read", "responses").to_pylist()}
    assert [found[row["id"]]["label"] for row in rows] == [row["response_label"] for row in rows]
    assert [found[row["id"]]["prior"] for row in rows] == [row["prior"] for row in rows]
