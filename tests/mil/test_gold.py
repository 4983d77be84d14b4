"""Gold labels in training: where they may be learned from, and that no member learns of gold that it is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import SCHEDULE, TASK, make_examples, nothing

from fractal_core.mil.calibration import calibrate
from fractal_core.mil.ensemble import Component
from fractal_core.mil.examples import PriorTerms
from fractal_core.mil.gold import gold_to_learn, learn_hybrid
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.starting import start_from
from fractal_core.mil.training import fit

# One epoch and penalty, so that nothing is chosen by held-out labels.
ONCE = replace(SCHEDULE, epochs=1, batch_responses=8, penalties=(0.003,))


def sentences(gold):
    """Table sentences."""
    return pa.table({"gold": pa.array(gold, pa.float64())})


def test_gold_of_train_is_learned_from():
    """Gold labels of train sentences are taken, those of others are not."""
    gold = gold_to_learn(sentences([1.0, None, 0.0]), "binary", np.array([True, True, False]), pytest.fail)
    assert np.array_equal(gold, [1.0, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize("kind", ["real", "ordinal"])
def test_gold_of_values_and_grades_is_refused_with_a_note(kind):
    """The note says that the setting has no effect, what the labels are, and what to do."""
    notes = []
    gold = gold_to_learn(sentences([1.0, 0.0]), kind, np.array([True, True]), notes.append)
    assert np.isnan(gold).all()
    (note,) = notes
    assert note.startswith("priors.hybrid = true has no effect")
    assert f"labels are trained as {kind}; set priors.hybrid = false, or another input.label_kind" in note


def test_no_gold_in_train_is_noted():
    """Without a gold label in train the note says how many sentences have none, and what to do."""
    notes = []
    gold = gold_to_learn(sentences([None, None, 1.0]), "share", np.array([True, True, False]), notes.append)
    assert np.isnan(gold).all()
    assert notes == [
        "priors.hybrid = true has no effect: none of 2 train sentences has a gold label; give sentence_labels with "
        "some train responses, or set priors.hybrid = false"
    ]
    hybrid = learn_hybrid(np.zeros((3, 1), np.float32), gold, np.zeros((1, 3), np.int64), True, pytest.fail)
    assert hybrid == (None, None, None)


@pytest.fixture(scope="module")
def planted():
    """Examples dealt twice, gold of some train responses, and all but one of it turned round in one group."""
    examples, truth = make_examples(dealings=2)
    number = examples.segments.ids.numpy()
    known = (examples.fold[0] >= 0).numpy() & (np.arange(240) // 2 % 4 == 1)
    gold = np.where(known[number], truth, np.nan)
    rows = np.flatnonzero((number // 2 == np.flatnonzero(known)[0] // 2) & np.isfinite(gold))
    turned = gold.copy()
    turned[rows] = 1 - turned[rows]
    return examples, gold, turned, rows


def held_out(examples, gold, use):
    """Train with the hybrid prior as `use` says; return it, and what the members of the own folds say, [S, N]."""
    dealt = examples.fold[:, examples.segments.ids]
    hybrid = learn_hybrid(examples.features.numpy(), gold, dealt.numpy(), True, nothing)
    prior = torch.from_numpy(hybrid.prior)
    targets = {"own": torch.from_numpy(hybrid.targets), "shared": prior}.get(use)
    terms = PriorTerms(probabilities={} if targets is None else {"hybrid": torch.sigmoid(targets).float()})
    signs = {"hybrid": torch.zeros(examples.features.shape[-1])}
    examples = replace(
        examples, gold=torch.from_numpy(gold), terms=terms, families=signs, priors={"hybrid": prior.float() / 3}
    )
    family, calibration = "none", None
    if use == "offset":
        family, calibration = "hybrid", calibrate(examples, TASK, examples.priors["hybrid"])
    start = start_from(examples, TASK, "evidence", family, calibration)
    weights = {"hybrid": 0.5} if terms.probabilities else {}
    fitted = fit(examples, TASK, BagObjective(TASK, weights), start, ONCE, nothing)
    logits = Component("", "evidence", family, fitted.parameters).logits(examples)
    members = logits.reshape(2, -1, logits.shape[-1])
    return hybrid, members.gather(1, dealt.clamp(min=0)[:, None]).squeeze(1).numpy()


def test_own_gold_reaches_neither_prior_nor_score(planted):
    """Gold of a group changes neither its prior nor, in any dealing, what its own folds' members say of it."""
    examples, gold, turned, rows = planted
    (before, score), (after, new_score) = (held_out(examples, labels, "own") for labels in (gold, turned))
    assert np.array_equal(before.prior[rows], after.prior[rows])
    assert not np.array_equal(before.prior, after.prior)
    own = examples.fold[:, examples.segments.ids[rows]].numpy()
    folds = examples.folds
    for dealing in range(2):
        teams = dealing * folds + own[dealing]
        assert np.array_equal(before.targets[teams], after.targets[teams])
        assert np.array_equal(score[dealing, rows], new_score[dealing, rows])


def test_one_dealings_prior_as_target_would_leak(planted):
    """Pulled towards the cross-fitted prior of other sentences, members learn gold that they are judged by."""
    examples, gold, turned, rows = planted
    (_, score), (_, new_score) = (held_out(examples, labels, "shared") for labels in (gold, turned))
    moved = (new_score - score)[:, rows] * (turned - gold)[rows]
    assert (moved.mean(1) > 0.01).all()


def test_as_an_offset_it_errs_on_the_side_of_caution(planted):
    """Started from the prior, members are in no dealing better on gold that they are judged by."""
    examples, gold, turned, rows = planted
    (_, score), (_, new_score) = (held_out(examples, labels, "offset") for labels in (gold, turned))
    moved = (new_score - score)[:, rows] * (turned - gold)[rows]
    assert (moved.mean(1) < 0).all()


def test_targets_only_where_every_dealing_has_its_own(planted):
    """A dealing whose gold is of one class once a fold is left out has no targets to give, and so there are none."""
    examples, gold, _, _ = planted
    features = examples.features.numpy()
    dealt = examples.fold[:, examples.segments.ids].numpy()
    spoilt = np.stack([dealt[0], np.where(gold == 1, 0, dealt[1])])
    hybrid = learn_hybrid(features, gold, spoilt, True, nothing)
    assert hybrid.prior is not None
    assert hybrid.targets is None
    assert learn_hybrid(features, gold, dealt, False, nothing).targets is None
