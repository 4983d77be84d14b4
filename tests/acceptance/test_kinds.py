"""Whole runs for labels of every kind, on responses made on the spot."""

from __future__ import annotations

import numpy as np
import pytest
from relabelled import AGGREGATE, QUICK, agree, label_anew, notes, pair_up, pseudolabels
from small_data import make_rows

from fractal_core.mil.saving import load_ensemble


def test_count(runner):
    """As many sentences are 1 as the label says, and the posteriors sum to it."""
    labels = label_anew(runner, sum)
    runner.run("input.label_kind=count", "aggregation=avg", *QUICK)
    for name, own in agree(runner, labels, sum).items():
        if labels[name] is not None:
            assert sum(row["posterior"] for row in own) == pytest.approx(labels[name])
            assert all(row["pseudolabel"] in (0.0, 1.0) for row in own)
    task = load_ensemble(runner.last.artefacts["train"].path("scorer.safetensors")).task
    assert (task.kind, task.loss) == ("count", "count")


def test_grades(runner):
    """The lowest pseudo-grade is the response's; scores and posteriors are expected grades of their lists."""
    labels = label_anew(runner, lambda gold: 0 if sum(gold) < 3 else 3 if sum(gold) == 4 else 1, count=36)
    runner.run("input.label_kind=ordinal", "input.grades=3", "aggregation=min", *QUICK)
    for own in agree(runner, labels, min).values():
        for row in own:
            assert row["pseudolabel"] in (0.0, 1.0, 2.0, 3.0)
            assert len(row["grade_posteriors"]) == 4
            assert sum(row["grade_posteriors"]) == pytest.approx(1)
            assert row["posterior"] == pytest.approx(np.arange(4) @ row["grade_posteriors"])
            assert row["confidence"] == pytest.approx(row["grade_posteriors"][int(row["pseudolabel"])])
    lists = runner.table("train", "scores").column("grade_probabilities").to_pylist()
    assert {len(each) for each in lists} == {4}


def test_values(runner):
    """Values are in the unit of the labels and their mean is the response's; there is no confidence in a value."""
    labels = label_anew(runner, lambda gold: 10 * sum(gold) - 7.5)
    runner.run(
        "input.label_kind=real", "aggregation=avg", "train.epochs=60", "train.folds=3", "train.learning_rate=0.1"
    )
    found = agree(runner, labels, lambda values: sum(values) / len(values))
    assert {row["confidence"] for own in found.values() for row in own} == {None}
    known = [name for name in found if labels[name] is not None]
    means = [np.mean([row["score"] for row in found[name]]) for name in known]
    assert np.corrcoef(means, [labels[name] for name in known])[0, 1] > 0.8


def test_preferences(runner):
    """The preferred response has the larger share of 1; ties are equal; a pair without preference keeps its scores."""
    pairs = pair_up(runner)
    runner.run("input.label_kind=preference", "aggregation=avg", *QUICK)
    found = pseudolabels(runner)
    for pair in pairs:
        first, second = found[f"{pair['id']}#a"], found[f"{pair['id']}#b"]
        if pair["preference"] is None:
            assert {row["agrees"] for row in (*first, *second)} == {None}
            assert all(row["posterior"] == pytest.approx(row["score"]) for row in (*first, *second))
            continue
        assert {row["agrees"] for row in (*first, *second)} == {True}
        lead = np.mean([row["pseudolabel"] for row in first]) - np.mean([row["pseudolabel"] for row in second])
        assert np.sign(lead) == {0: 0, 1: 1, 2: -1}[pair["preference"]]
    figures = runner.table("evaluate", "metrics").to_pylist()
    posterior = [m["value"] for m in figures if m["method"] == "posterior" and m["metric"] == "auc_roc"]
    assert min(posterior) > 0.6


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_aggregation_auto(runner, aggregation):
    """What the labels mean is found out, said, kept with the scorer, and followed by the pseudo-labels."""
    rows = make_rows(60, aggregation=aggregation, seed=3)
    runner.give(rows)
    runner.run("aggregation=auto", "train.epochs=20", "train.folds=3")
    said = notes(runner, "train")
    assert load_ensemble(runner.last.artefacts["train"].path("scorer.safetensors")).task.aggregation == aggregation
    assert (f"aggregation auto: {aggregation} explains the labels best" in said) is (aggregation != "avg")
    agree(runner, {row["id"]: row["response_label"] for row in rows}, AGGREGATE[aggregation])
