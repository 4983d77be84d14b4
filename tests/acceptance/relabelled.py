"""Responses whose labels are made anew from those of their sentences, and what a run has to say of them."""

from __future__ import annotations

import pytest
from small_data import make_rows

AGGREGATE = {"min": min, "max": max, "avg": lambda values: sum(values) / len(values)}
QUICK = ("train.epochs=5", "train.folds=3")


def label_anew(runner, label, count=48, unlabelled=5):
    """Write responses whose label is something made of their sentences' labels; one of them has none."""
    rows = make_rows(count, seed=2)
    for row in rows:
        row["response_label"] = label(row["sentence_labels"])
    rows[unlabelled]["response_label"] = None
    runner.give(rows)
    return {row["id"]: row["response_label"] for row in rows}


def pair_up(runner, count=30):
    """Write pairs in which the response with more right sentences is preferred; one pair has no preference."""
    rows = make_rows(2 * count, seed=4)
    pairs = []
    for index, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        lead = sum(first["sentence_labels"]) - sum(second["sentence_labels"])
        pairs.append(
            {
                "id": f"p{index:02d}", "context": [*first["context"], *second["context"]], "split": first["split"],
                "preference": 0 if lead == 0 else 1 if lead > 0 else 2,
                "response_a": first["response"], "response_b": second["response"],
                "sentences_a": first["sentences"], "sentences_b": second["sentences"],
                "sentence_labels_a": first["sentence_labels"], "sentence_labels_b": second["sentence_labels"],
            }
        )  # fmt: skip
    pairs[3]["preference"] = None
    runner.give(pairs)
    return pairs


def pseudolabels(runner):
    """Rows of table pseudolabels by response."""
    found = {}
    for row in runner.table("pseudolabel", "pseudolabels").to_pylist():
        found.setdefault(row["response_id"], []).append(row)
    return found


def notes(runner, stage):
    """What a stage of the last run had to say."""
    (record,) = (record for record in runner.last.record.stages if record.stage == stage)
    return record.notes


def agree(runner, labels, reduce):
    """Assert that pseudo-labels aggregate to the labels; where there is none, that posterior and score are equal."""
    found = pseudolabels(runner)
    assert set(found) == set(labels)
    for name, label in labels.items():
        if label is None:
            assert {row["agrees"] for row in found[name]} == {None}
            assert [row["posterior"] for row in found[name]] == pytest.approx([row["score"] for row in found[name]])
        else:
            assert {row["agrees"] for row in found[name]} == {True}
            assert reduce([row["pseudolabel"] for row in found[name]]) == pytest.approx(label, abs=1e-6)
    return found
