"""Whole runs for labels of every kind and for every scorer, on responses made on the spot."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import make_rows

from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.mil import pseudolabel_stage, train_stage
from fractal_core.mil.finetune.saving import load_finetuned
from fractal_core.mil.saving import load_ensemble

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
def test_the_encoder_itself(runner):
    """Scorer finetune: encoders are kept with the run, a rerun is free, and its pseudo-labels agree."""
    labels = label_anew(runner, min, count=36)
    settings = ("train.scorer=finetune", "train.folds=2", "train.finetune.epochs=0.5", "train.guard=false")
    runner.run(*settings)
    agree(runner, labels, min)
    assert notes(runner, "pseudolabel") == ["a fine-tuned encoder has no students: no rounds"]
    members, _ = load_finetuned(runner.last.artefacts["train"].path("finetuned.safetensors"))
    assert len(members) == 2
    assert runner.table("pseudolabel", "contributions").num_rows == 0
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


# Rounds.


def rounds_of(runner):
    """The rounds in table scores of stage pseudolabel, and that of the pseudo-labels."""
    tried = sorted(set(runner.table("pseudolabel", "scores").column("round").to_pylist()))
    (kept,) = set(runner.table("pseudolabel", "pseudolabels").column("round").to_pylist())
    return tried, kept


@pytest.mark.parametrize(
    ("losses", "tried", "kept"),
    [
        ((1.0, 1.1), [1], 0),
        ((1.0, 1.0), [1], 0),
        ((1.0, 0.9, 0.8, 0.7), [1, 2, 3], 3),
        ((1.0, 0.9, 0.95), [1, 2], 1),
    ],
    ids=["worse", "no better", "ever better", "better, then worse"],
)
def test_the_first_student_that_is_no_better_ends_the_rounds(runner, monkeypatch, losses, tried, kept):
    """A student is kept only if it fits held-out labels better; all that were tried have scores, and notes say so."""
    label_anew(runner, min, count=36)
    runner.run(*QUICK, until="train")
    left = list(losses)
    monkeypatch.setattr(pseudolabel_stage, "unseen_loss", lambda *arguments: left.pop(0))
    runner.run(*QUICK, "pseudolabel.rounds=3", until="pseudolabel")
    assert left == []
    assert rounds_of(runner) == (tried, kept)
    assert [note.endswith(": kept") for note in notes(runner, "pseudolabel")] == [n <= kept for n in tried]
    student = load_ensemble(runner.last.artefacts["pseudolabel"].path("student.safetensors"))
    assert student.metadata["round"] == kept
    teacher = load_ensemble(runner.last.artefacts["train"].path("scorer.safetensors"))
    same = [component.name for component in student.components] == [component.name for component in teacher.components]
    assert same is (kept == 0)


def test_no_rounds(runner):
    """Without rounds the pseudo-labels are those of the scorer, and table scores has no round but 0."""
    label_anew(runner, min, count=36)
    runner.run(*QUICK, "pseudolabel.rounds=0", until="pseudolabel")
    assert rounds_of(runner) == ([], 0)
    scores = runner.table("train", "scores").column("probability").to_pylist()
    assert runner.table("pseudolabel", "pseudolabels").column("score").to_pylist() == pytest.approx(scores)
