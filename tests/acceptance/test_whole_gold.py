"""Whole runs that learn, or cannot learn, from gold labels of sentences."""

from __future__ import annotations

import pytest
from relabelled import AGGREGATE, QUICK, agree, label_anew, notes
from small_data import make_rows


def test_gold_retrains_iff_hybrid(runner):
    """A gold label touches training only where it is learned from."""
    label_anew(runner, min)

    def turn(index):
        rows = runner.rows()
        rows[index]["sentence_labels"][0] = 1 - rows[index]["sentence_labels"][0]
        runner.give(rows)

    def trains(ran):
        return "train" in ran

    assert trains(runner.run(*QUICK, until="train"))
    turn(0)
    assert not trains(runner.run(*QUICK, until="train"))
    assert trains(runner.run("priors.hybrid=true", *QUICK, until="train"))
    assert any(note.startswith("hybrid prior from") for note in notes(runner, "train"))
    turn(1)
    assert trains(runner.run("priors.hybrid=true", *QUICK, until="train"))


@pytest.mark.parametrize(
    "settings", [("aggregation=min",), ("aggregation=avg", "input.label_kind=real")], ids=["no gold", "real"]
)
def test_hybrid_weight_without_a_hybrid_prior(runner, settings):
    """Where no gold label can be learned from, the weight of the hybrid prior pulls nowhere; the run says why."""
    rows = make_rows(48, seed=2)
    for row in rows:
        if settings[0] == "aggregation=min":
            row["sentence_labels"] = None
        else:
            row["response_label"] = float(sum(row["sentence_labels"]))
    runner.give(rows)
    runner.run("priors.hybrid=true", "train.prior_weights.hybrid=0.3", *settings, *QUICK)
    agree(
        runner, {row["id"]: row["response_label"] for row in rows}, AGGREGATE[settings[0].removeprefix("aggregation=")]
    )
