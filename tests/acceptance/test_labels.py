"""What comes out of a whole run is what the tables promise."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from small_data import make_rows

KEYS = ["response_id", "sentence_index"]


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_pseudolabels_agree_with_response_labels(runner, aggregation):
    """For every labelled response the pseudo-labels aggregate to its label, and the tables line up."""
    rows = make_rows(60, aggregation=aggregation, seed=3)
    rows[7]["response_label"] = None
    runner.give(rows)
    runner.run(f"aggregation={aggregation}")
    labels = runner.table("pseudolabel", "pseudolabels").to_pylist()
    sentences = runner.table("segment", "sentences").to_pylist()
    assert [[s[k] for k in KEYS] for s in sentences] == [[p[k] for k in KEYS] for p in labels]
    by_response = {}
    for label in labels:
        by_response.setdefault(label["response_id"], []).append(label)
    aggregate = {"min": min, "max": max, "avg": lambda values: sum(values) / len(values)}[aggregation]
    for row in rows:
        own = by_response[row["id"]]
        if row["response_label"] is None:
            assert {label["agrees"] for label in own} == {None}
            assert [label["posterior"] for label in own] == pytest.approx([label["score"] for label in own])
        else:
            assert {label["agrees"] for label in own} == {True}
            assert aggregate([label["pseudolabel"] for label in own]) == pytest.approx(row["response_label"])
            if aggregation == "avg":
                total = sum(label["posterior"] for label in own)
                assert total == pytest.approx(row["response_label"] * len(own))
        assert all(0 <= label["confidence"] <= 1 for label in own)


def test_scorer_learns_the_rule(runner):
    """Numbers that are not in the context make a sentence wrong: learnt from response labels alone."""
    runner.give(make_rows(240, seed=5))
    runner.run("train.epochs=100")
    figures = {
        (m["split"], m["method"], m["metric"]): m["value"] for m in runner.table("evaluate", "metrics").to_pylist()
    }
    assert figures["test", "score", "auc_roc"] > 0.9


def test_export_has_every_sentence(runner):
    """labels.parquet has a row a sentence with text, scores and the response's own columns."""
    runner.run()
    table = pq.read_table(runner.last.artefacts["export"].path("labels.parquet"))
    assert table.num_rows == runner.last.artefacts["segment"].rows_out["sentences"]
    rows = {r["id"]: r for r in runner.rows()}
    for line in table.to_pylist():
        row = rows[line["response_id"]]
        assert row["response"][line["start"] : line["end"]] == line["text"]
        assert line["response_label"] == row["response_label"]
        assert line["split"] == row["split"]


def test_no_response_is_scored_by_a_member_that_saw_it(runner):
    """Flipping one train response's label leaves its own score: its fold's member never saw that label."""
    settings = ("train.epochs=3", "pseudolabel.rounds=0", "train.learning_rate=0.001")
    rows = runner.rows()
    victim = next(row for row in rows if row["split"] == "train")
    runner.run(*settings)
    before = {tuple(r[k] for k in KEYS): r["probability"] for r in runner.table("train", "scores").to_pylist()}
    history = pq.read_table(runner.last.artefacts["train"].path("history.parquet")).num_rows
    victim["response_label"] = 1 - victim["response_label"]
    runner.give(rows)
    runner.run(*settings)
    after = {tuple(r[k] for k in KEYS): r["probability"] for r in runner.table("train", "scores").to_pylist()}
    own = [key for key in before if key[0] == victim["id"]]
    others = [key for key in before if key[0] != victim["id"]]
    assert history
    assert [before[key] for key in own] == pytest.approx([after[key] for key in own], abs=1e-3)
    assert any(abs(before[key] - after[key]) > 1e-6 for key in others)
