"""Whole runs for every scorer, and what explains a score."""

from __future__ import annotations

import numpy as np
import pytest
from relabelled import QUICK, agree, label_anew, notes

from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.mil import train_stage
from fractal_core.mil.finetune.saving import load_finetuned
from fractal_core.mil.saving import load_ensemble


@pytest.mark.parametrize("scorer", ["mlp", "concat"])
@pytest.mark.parametrize("guard", ["true", "false"])
def test_scorers_that_read_vectors(runner, scorer, guard):
    """With and without the guard they train, have students and agree; nothing is explained by what has no name."""
    labels = label_anew(runner, min)
    runner.run(f"train.scorer={scorer}", f"train.guard={guard}", *QUICK)
    agree(runner, labels, min)
    components = load_ensemble(runner.last.artefacts["pseudolabel"].path("student.safetensors")).components
    reasons = runner.table("pseudolabel", "contributions")
    if guard == "false":
        assert {component.scorer for component in components} == {scorer}
        assert reasons.num_rows == 0


@pytest.mark.parametrize("scorer", ["mlp", "concat"])
def test_a_scorer_that_reads_vectors_and_loses_to_its_prior(runner, scorer):
    """A head ruined by its learning rate: the prior is taken, its students are no worse off, and the run ends well."""
    labels = label_anew(runner, min)
    runner.run(f"train.scorer={scorer}", "train.learning_rate=5.0", "train.epochs=1", "train.folds=3")
    assert notes(runner, "train")[-1] == "scores are those of: the context prior"
    agree(runner, labels, min)
    evidence = {
        (row["response_id"], row["sentence_index"]): row["context_evidence"]
        for row in runner.table("priors", "priors").to_pylist()
    }
    reasons = runner.table("pseudolabel", "contributions").to_pylist()
    of_prior = [row for row in reasons if row["feature"] == "context prior"]
    if of_prior:
        both = np.array([(row["z"], evidence[row["response_id"], row["sentence_index"]]) for row in of_prior])
        assert np.corrcoef(both.T)[0, 1] == pytest.approx(1, abs=1e-4)
    if scorer == "concat":  # Directions of vectors have no names.
        assert {row["feature"] for row in reasons} <= {"context prior"}


def test_directions_of_vectors_have_no_expected_sign(runner, monkeypatch):
    """Signs belong to evidence features: under concat there are none, however wide the vectors are."""
    label_anew(runner, min, count=36)
    seen = []

    def stop(examples, *arguments):
        seen.append(examples)
        raise RuntimeError("seen")

    monkeypatch.setattr(train_stage, "learn", stop)
    with pytest.raises(RuntimeError, match="seen"):
        runner.run("train.scorer=concat", *QUICK, until="train")
    assert {family: bool(signs.any()) for family, signs in seen[0].families.items()} == dict.fromkeys(
        ("context", "query", "column", "sql"), False
    )


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["true", "false"])
def test_the_encoder_itself(runner, guard):
    """Scorer finetune: encoders are kept with the run, a rerun is free, and its pseudo-labels agree, whoever wins."""
    labels = label_anew(runner, min, count=36)
    settings = ("train.scorer=finetune", "train.folds=2", "train.finetune.epochs=0.5", f"train.guard={guard}")
    runner.run(*settings)
    assert (notes(runner, "train")[-1] == "scores are those of: the context prior") is (guard == "true")
    agree(runner, labels, min)
    assert notes(runner, "pseudolabel") == ["a fine-tuned encoder has no students: no rounds"]
    members, _ = load_finetuned(runner.last.artefacts["train"].path("finetuned.safetensors"))
    assert len(members) == 2
    assert (runner.table("pseudolabel", "contributions").num_rows > 0) is (guard == "true")
    assert runner.run(*settings) == []


@pytest.mark.slow
def test_auto_keeps_the_encoders_of_the_reading_it_takes(runner):
    """Under aggregation auto the encoders that are written are those whose scores are written."""
    label_anew(runner, min, count=36)
    settings = ("train.scorer=finetune", "train.folds=2", "train.finetune.epochs=0.5")
    runner.run("aggregation=auto", *settings, until="train")
    trained = runner.last.artefacts["train"]
    taken = load_ensemble(trained.path("scorer.safetensors")).task.aggregation
    assert taken != "avg"
    histories = [member.history for member in load_finetuned(trained.path("finetuned.safetensors"))[0]]
    runner.run(f"aggregation={taken}", *settings, until="train")
    again = load_finetuned(runner.last.artefacts["train"].path("finetuned.safetensors"))[0]
    assert histories == [member.history for member in again]


def test_contributions_can_be_queried(runner):
    """SQL over table contributions: ranks from 1, names of evidence or priors, and sums that move with the score."""
    label_anew(runner, min)
    runner.run(*QUICK)
    connection = connect(runner.workspace)

    def rows(sql):
        return execute(connection, sql).fetchall()

    firsts = "SELECT response_id, sentence_index, min(rank) AS rank FROM latest.contributions GROUP BY ALL"
    ((sentences, first),) = rows(f"SELECT count(*), max(rank) FROM ({firsts})")
    assert (sentences, first) == (48 * 4, 1)
    columns = {row[0] for row in rows("SELECT column_name FROM (DESCRIBE latest.evidence)")}
    names = {row[0] for row in rows("SELECT DISTINCT feature FROM latest.contributions")}
    assert names <= columns | {"context prior", "query prior"}
    ((together,),) = rows(
        "SELECT corr(c.total, ln(p.score / (1 - p.score))) FROM latest.pseudolabels p JOIN (SELECT response_id, "
        "sentence_index, sum(contribution) AS total FROM latest.contributions GROUP BY ALL) c "
        "USING (response_id, sentence_index) WHERE p.score > 0 AND p.score < 1"
    )
    assert together > 0.9
