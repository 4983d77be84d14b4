"""What the scores are where an earlier scorer is kept or trained further, and that they stay honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from relabelled import AGGREGATE, QUICK, agree, label_anew, notes, pair_up
from small_data import make_rows

from fractal_core.config_loading import load_config
from fractal_core.errors import InputError
from fractal_core.mil import finetuning
from fractal_core.mil.applying import apply_ensemble
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.folds import read_folds
from fractal_core.mil.logarithms import probability
from fractal_core.mil.saving import load_ensemble, load_given, load_heads
from fractal_core.mil.sentences import read_sentences
from fractal_core.pipeline import stage_named
from fractal_core.store.handles import ArtefactInputs

WARM, FREEZE = "train.on_new_data=warm-start", "train.on_new_data=freeze"
KEPT = ("scorer.safetensors", "heads.safetensors", "folds.parquet", "finetuned.safetensors", "history.parquet")
# Sums of float32 are rounded by how many sentences are scored at once.
CLOSE = {"abs": 1e-6}


def values(runner, stage="train", table="scores", column="probability"):
    """A column of a table by response: a list of numbers, one a sentence."""
    found = {}
    for row in runner.table(stage, table).to_pylist():
        found.setdefault(row["response_id"], []).append(row[column])
    return found


def trained(runner, name):
    """The path of a file of stage train of the last run."""
    return runner.last.artefacts["train"].path(name)


def kept(runner):
    """The bytes of what a freeze hands on."""
    files = {name: trained(runner, name).read_bytes() for name in KEPT}
    return {**files, "student": runner.last.artefacts["pseudolabel"].path("student.safetensors").read_bytes()}


def applied(runner, scorer="evidence"):
    """The saved scorer of the last run, the sentences as it reads them, and the folds of their responses."""
    saved = load_ensemble(trained(runner, "scorer.safetensors"))
    config = load_config(runner.folder / "fractal.toml", [f"train.scorer={scorer}"])
    inputs = ArtefactInputs(stage_named("train").reads_with(config), (), runner.last.artefacts, {})
    sentences = read_sentences(inputs, scorer, 128, False, saved.fit)
    responses = inputs.table("responses")
    labelled = np.isfinite(responses["label"].to_numpy()) & (responses["split"].to_numpy() == "train")
    return saved, sentences, read_folds(trained(runner, "folds.parquet")).of(responses, labelled)


def of_members(saved, sentences, dealings):
    """What each member says by itself, [dealings, folds, sentences]."""
    count = len(saved.components[0].parameters["bias"])
    alone = []
    for member in range(count):
        components = [
            replace(part, parameters={name: each[member : member + 1] for name, each in part.parameters.items()})
            for part in saved.components
        ]
        alone.append(apply_ensemble(replace(saved, components=components), sentences).logits)
    return torch.stack(alone).reshape(dealings, count // dealings, -1)


def change(rows):
    """Responses come, of old and of new groups; labels are turned, taken away, and moved to test; a response goes."""
    train = [row for row in rows if row["split"] == "train"]
    train[0]["response_label"] = 1 - train[0]["response_label"]
    train[3]["response_label"] = None
    train[6]["split"] = "test"
    rows.remove(train[9])
    for number, row in enumerate(make_rows(4, seed=9)):
        query = train[12]["query"] if number == 0 else f"What happened at new place {number}?"
        rows.append({**row, "id": f"new-{number}", "query": query, "split": "train" if number < 3 else "test"})


def test_a_frozen_scorer_says_of_everyone_what_it_said_or_would_have_said(runner):
    """Old responses keep their scores, whatever became of their labels; new ones get those of unprejudiced members."""
    runner.run(FREEZE, until="pseudolabel")
    before, files = values(runner), kept(runner)
    saved, sentences, fold = applied(runner)
    said = apply_ensemble(saved, sentences, torch.from_numpy(fold))
    assert probability(said.logits.double()).tolist() == [each for of in before.values() for each in of]
    assert said.spread.tolist() == [each for of in values(runner, column="spread").values() for each in of]
    runner.edit(change)
    runner.run(FREEZE, until="pseudolabel")
    assert kept(runner) == files
    after = values(runner)
    gone = set(before) - set(after)
    assert len(gone) == 1
    for name in set(before) - gone:
        assert after[name] == pytest.approx(before[name], **CLOSE)
    saved, sentences, fold = applied(runner)
    alone = of_members(saved, sentences, len(fold))
    names = runner.table("read", "responses")["response_id"].to_pylist()
    for name in ("new-0", "new-1", "new-3"):
        here = torch.from_numpy(np.array(sentences.keys["response_id"].to_pylist()) == name)
        own = fold[:, names.index(name)]
        assert (own == NO_FOLD).all() == (name != "new-0")
        members = (
            alone.flatten(0, 1) if name != "new-0" else torch.stack([of[k] for of, k in zip(alone, own, strict=True)])
        )
        expected = probability(members[:, here].mean(0).double())
        assert after[name] == pytest.approx(expected.tolist(), **CLOSE)
    # The labels of the new run are looked at where they belong.
    agree(runner, {row["id"]: row["response_label"] for row in runner.rows()}, min)
    assert runner.table("pseudolabel", "scores").num_rows == 0
    said = "trained on 40 train responses; there are 40 with a label now, 37 of which it has seen"
    assert notes(runner, "train")[0].endswith(said)


def test_a_warm_start_keeps_what_was_fitted_and_dealt(runner):
    """Standardisation, scales and folds are the earlier ones; heads go on; the rest is settled by all labels anew."""
    both = (WARM, "train.pooling=auto")
    runner.run(*both, until="pseudolabel")
    before, scores = load_ensemble(trained(runner, "scorer.safetensors")), values(runner)
    folds, heads = read_folds(trained(runner, "folds.parquet")), load_heads(trained(runner, "heads.safetensors"))
    runner.edit(change)
    runner.run(*both, until="pseudolabel")
    after = load_ensemble(trained(runner, "scorer.safetensors"))
    for name, array in before.fit.standardiser.arrays().items():
        assert np.array_equal(array, after.fit.standardiser.arrays()[name])
    assert after.fit.scales == before.fit.scales
    now = read_folds(trained(runner, "folds.parquet"))
    known = dict(zip(now.ids.to_pylist(), now.fold.T.tolist(), strict=True))
    old = dict(zip(folds.ids.to_pylist(), folds.fold.T.tolist(), strict=True))
    assert {name: known[name] for name in old} == old
    assert set(known) - set(old) == {"new-0", "new-1", "new-2"}
    assert now.count == folds.count
    history = pq.read_table(trained(runner, "history.parquet")).to_pylist()
    assert {row["head"]: row["epoch"] for row in reversed(history)} == {"noisy": -1, "hard": -1}
    further = load_heads(trained(runner, "heads.safetensors"))
    assert further.keys() == heads.keys()
    assert [head.family for head in further.values()] == [head.family for head in heads.values()]
    assert values(runner) != scores
    assert before.metadata["train_responses"] == 40
    assert after.metadata["train_responses"] == 40 - 3 + 3
    agree(runner, {row["id"]: row["response_label"] for row in runner.rows()}, min)


@pytest.mark.parametrize("mode", [WARM, FREEZE], ids=["warm start", "freeze"])
@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (("train.scorer=mlp", "train.guard=false"), min),
        (("priors.hybrid=true",), min),
        (("aggregation=auto",), min),
        (("aggregation=avg", "input.label_kind=real"), lambda gold: 10.0 * sum(gold)),
        (("input.label_kind=ordinal", "input.grades=2"), lambda gold: min(gold) + float(min(gold[1:]))),
        (("input.label_kind=preference", "aggregation=min"), None),
    ],
    ids=["mlp", "hybrid", "auto", "real", "ordinal", "preference"],
)
def test_every_kind_of_label_and_scorer_goes_on(runner, mode, settings, label):
    """New responses are scored and labelled; under freeze with the very scorer, and old scores are as they were."""
    if label is None:
        pair_up(runner)
    else:
        label_anew(runner, label)
    everything = runner.rows()
    extra = [row for row in everything if row["split"] == "train"][-4:]
    runner.give([row for row in everything if row not in extra])
    runner.run(mode, *settings, *QUICK, until="pseudolabel")
    before, files = values(runner, "pseudolabel", "pseudolabels", "score"), kept(runner)
    if settings[-1] == "input.label_kind=real":
        extra[0]["response_label"] = 55.0  # Above all that the scorer has seen, but not far.
    runner.give([*runner.rows(), *extra])
    runner.run(mode, *settings, *QUICK, until="pseudolabel")
    said = " ".join(notes(runner, "train"))
    assert ("frozen: scores are by the scorer" if mode == FREEZE else "warm start from the scorer") in said
    after = values(runner, "pseudolabel", "pseudolabels", "score")
    assert len(after) == len(before) + len(extra) * (2 if label is None else 1)
    same = all(after[name] == pytest.approx(each, **CLOSE) for name, each in before.items())
    assert same is (mode == FREEZE)
    assert (kept(runner) == files) is (mode == FREEZE)
    if label is not None:
        aggregate = AGGREGATE["avg" if "aggregation=avg" in settings else "min"]
        agree(runner, {row["id"]: row["response_label"] for row in runner.rows()}, aggregate)


def test_a_student_without_a_predecessor_does_not_learn_labels_that_no_fold_hides(runner):
    """Trained after the freeze, it learns from old labels alone: no score of a new response depends on its label."""
    runner.run(FREEZE, *QUICK, until="train")
    runner.edit(change)
    runner.run(FREEZE, *QUICK, until="pseudolabel")
    assert notes(runner, "pseudolabel")[0] == (
        'on_new_data = "freeze", but no earlier student is continued: no run that has one has completed'
    )
    student = values(runner, "pseudolabel", "scores")
    runner.edit(lambda rows: rows[-3].__setitem__("response_label", 1 - rows[-3]["response_label"]))
    assert runner.rows()[-3]["id"] == "new-1"
    runner.run(FREEZE, *QUICK, until="train")
    runner.run(FREEZE, *QUICK, until="pseudolabel", force=("pseudolabel",))
    assert values(runner, "pseudolabel", "scores") == student
    posterior = values(runner, "pseudolabel", "pseudolabels", "pseudolabel")["new-1"]
    assert min(posterior) == runner.rows()[-3]["response_label"]


def test_a_label_that_the_kept_scorer_cannot_read_is_an_error(runner):
    """Under auto labels were 0 or 1; a share is none of them, and the sentence says what to do."""
    runner.run(FREEZE, "aggregation=auto", *QUICK, until="train")
    runner.edit(lambda rows: rows[0].__setitem__("response_label", 0.5))
    with pytest.raises(
        InputError, match=r'r0000 has the label 0.5: mend the label, or set train.on_new_data = "retrain"'
    ):
        runner.run(FREEZE, "aggregation=auto", *QUICK, until="train")
    runner.run(WARM, "aggregation=auto", *QUICK, until="train")
    assert load_ensemble(trained(runner, "scorer.safetensors")).task.aggregation == "avg"


def test_too_few_folds_to_go_on_with(runner):
    """A scorer that had fewer groups than folds is not trained further once there are more: the note says why."""
    rows = runner.rows()
    runner.give(rows[:24])
    settings = (WARM, "train.folds=20", "train.epochs=3")
    runner.run(*settings, until="train")
    count = read_folds(trained(runner, "folds.parquet")).count
    assert count < 20
    runner.give(rows)
    runner.run(*settings, until="train")
    assert f"has {count} folds instead of 20" in notes(runner, "train")[0]
    assert read_folds(trained(runner, "folds.parquet")).count == 20
    assert pq.read_table(trained(runner, "history.parquet"))["epoch"].to_pylist()[0] == 0


def test_a_prior_that_says_nothing_any_more_is_told(runner):
    """The kept scorer starts from a comparison that the new responses do not offer."""
    runner.run(FREEZE, until="train")
    runner.give([{**row, "context": None} for row in runner.rows()])
    runner.run(FREEZE, until="train")
    assert any(
        note.startswith("WARNING: the earlier scorer starts from the context prior") for note in notes(runner, "train")
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", [WARM, FREEZE], ids=["warm start", "freeze"])
def test_fine_tuned_encoders_go_on(runner, mode, monkeypatch):
    """Kept ones read the new sentences; a warm start begins with them, and learns from labels of train alone."""
    seen, fine_tune = [], finetuning.fine_tune

    def watched(encoder, bags, *arguments):
        seen.append((bags, arguments[-1]))
        return fine_tune(encoder, bags, *arguments)

    monkeypatch.setattr(finetuning, "fine_tune", watched)
    label_anew(runner, min, count=36)
    settings = ("train.scorer=finetune", "train.folds=3", "train.finetune.epochs=0.5", "train.guard=false")
    runner.run(mode, *settings, until="pseudolabel")
    before, files = values(runner), kept(runner)
    runner.edit(change)
    runner.run(mode, *settings, until="pseudolabel")
    after = values(runner)
    assert len(after) == 36 - 1 + 4
    old = set(before) & set(after)
    same = all(after[name] == pytest.approx(before[name], abs=1e-4) for name in old)
    assert same is (mode == FREEZE)
    assert (kept(runner) == files) is (mode == FREEZE)
    assert [len(earlier) for _, earlier in seen] == ([0, 3] if mode == WARM else [0])
    if mode == WARM:
        rows = runner.table("read", "responses").to_pylist()
        learned = [row["split"] == "train" and row["label"] is not None for row in rows]
        assert (seen[1][0].fold != NO_FOLD).tolist() == learned
    assert load_given(trained(runner, "given.safetensors")).shape == (3, sum(map(len, after.values())))
    agree(runner, {row["id"]: row["response_label"] for row in runner.rows()}, min)
    assert runner.run(mode, *settings, until="pseudolabel") == []
