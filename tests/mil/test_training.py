"""Training: it learns the rule, keeps its constraints, and no member sees its own fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SCHEDULE, TASK, make_examples, nothing, own, ranks

from fractal_core.mil import training
from fractal_core.mil.calibration import calibrate
from fractal_core.mil.ensemble import Component, cross_fitted, cross_fitted_extra
from fractal_core.mil.examples import NO_FOLD, PriorTerms, assign_folds
from fractal_core.mil.held_out import held_out_loss
from fractal_core.mil.losses import SentencePairs
from fractal_core.mil.objective import BagObjective, PseudolabelObjective
from fractal_core.mil.starting import start_from
from fractal_core.mil.task import Task
from fractal_core.mil.training import fit

ONE_PENALTY = replace(SCHEDULE, penalties=(0.003,))


def plain(examples, task=TASK):
    """Members of zeros without prior."""
    return start_from(examples, task, "evidence", "none", None)


def learnt(examples, task=TASK, schedule=SCHEDULE, objective=None, start=None):
    """Train with the bag loss from zeros, unless told otherwise."""
    objective = objective or BagObjective(task, {})
    return fit(examples, task, objective, start or plain(examples, task), schedule, nothing)


def score(fitted, examples, family="none"):
    """The cross-fitted logits."""
    return own([Component("", "evidence", family, fitted.parameters)], examples)


@pytest.mark.parametrize("pooling", ["noisy", "hard", "soft", "logsumexp", "power_mean", "attention"])
def test_learns_the_rule_from_response_labels(pooling):
    """Under every pooling sentences are ranked by the feature that decides, though no sentence label is seen."""
    examples, truth = make_examples()
    fitted = learnt(examples, Task("min", "binary", pooling))
    assert ranks(score(fitted, examples), truth) > 0.9
    assert fitted.held_out == min(loss for _, _, loss in fitted.history)


def falling(epochs):
    """Losses that fall for so many epochs, by so little that they stay near one another, and no further."""
    return lambda epoch: 0.5 - 1e-4 * min(epoch, epochs - 1)


@pytest.mark.parametrize(
    ("others", "patient_steps", "epochs"),
    [
        (falling(1), 1_500, 3 + 30),
        (lambda epoch: 0.505 - 1e-4 * min(epoch, 9), 1_500, 10 + 30),  # Near the best one, and longer.
        (lambda epoch: 0.7 - 1e-3 * epoch, 1_500, 3 + 30),  # Better all the time, but far away.
        (lambda epoch: 0.5 - 5e-9 * epoch, 1_500, 3 + 30),  # Better by nothing that counts.
        (falling(1), 16, 3 + 6),  # Of 3 steps an epoch.
        (falling(1), 1, 3 + 1),
    ],
    ids=["both end", "the near one is waited for", "the far one is not", "nor is noise", "steps", "one epoch"],
)
def test_ends_when_nothing_gets_better(monkeypatch, others, patient_steps, epochs):
    """So many epochs after the last better loss of a penalty that is near the best; the best falls for 3 epochs."""
    monkeypatch.setattr(training, "_PATIENT_STEPS", patient_steps)
    given = iter([torch.tensor([falling(3)(epoch), others(epoch)], dtype=torch.float64) for epoch in range(100)])
    monkeypatch.setattr(training.HeldOut, "mean", lambda held_out, task, score, extra: next(given))
    examples, _ = make_examples()
    assert int(examples.taught.sum()) == 200
    fitted = learnt(examples, schedule=replace(SCHEDULE, epochs=100, batch_responses=80, penalties=(0.1, 1.0)))
    assert (fitted.penalty, fitted.epoch) == (0.1, 2)
    assert len(fitted.history) == 2 * epochs


@pytest.mark.parametrize("loss", ["likelihood", "count", "mae", "mse"])
def test_learns_from_shares(loss):
    """The mean of the scores is fitted to the share of right sentences, by every loss."""
    examples, truth = make_examples(label=lambda sentences: sentences.mean())
    fitted = learnt(examples, Task("avg", "share", "noisy", loss))
    assert ranks(score(fitted, examples), truth) > 0.9


def test_learns_from_grades():
    """A response's grade is the lowest of its sentences'; the thresholds are in order and the score ranks grades."""
    examples, truth = make_examples()
    segments, x = examples.segments, examples.features[:, 0]
    grades = (x > -1.0).long() + (x > 0.5).long()
    examples = replace(examples, labels=segments.minimum(grades.double()))
    task = Task("min", "ordinal", grades=2)
    fitted = learnt(examples, task)
    logits = score(fitted, examples).numpy()
    assert ranks(logits, grades.numpy() > 0) > 0.9
    assert ranks(logits, grades.numpy() > 1) > 0.9
    assert fitted.parameters["extra"].shape == (4, 1)


@pytest.mark.parametrize("aggregation", ["min", "avg"])
def test_learns_from_preferences(aggregation):
    """Pairs alone teach which sentences are right."""
    examples, truth = make_examples(pairs=True, responses=400)
    fitted = learnt(examples, Task(aggregation, "preference"))
    assert ranks(score(fitted, examples), truth) > 0.85


def test_learns_from_values():
    """Real labels: the mean of the scores is fitted to a share of the range."""
    examples, truth = make_examples()
    value = torch.sigmoid(2 * examples.features[:, 0].double())
    examples = replace(examples, labels=examples.segments.mean(value))
    fitted = learnt(examples, Task("avg", "real", "hard", "mse"), replace(SCHEDULE, epochs=200))
    gap = torch.sigmoid(score(fitted, examples)) - value
    assert float(gap.abs().mean()) < 0.1


def test_gold_labels_are_learned_from():
    """Where response labels say nothing, a few gold sentence labels still teach."""
    examples, truth = make_examples(signal=6.0)
    gold = torch.full((len(truth),), torch.nan, dtype=torch.float64)
    gold[::10] = torch.from_numpy(truth[::10].astype(np.float64))
    shuffled = examples.labels[torch.from_numpy(np.random.default_rng(0).permutation(len(examples.labels)))]
    blind = replace(examples, labels=shuffled)
    without, with_gold = (ranks(score(learnt(e), e), truth) for e in (blind, replace(blind, gold=gold)))
    assert with_gold > max(0.85, without)


def test_weights_keep_their_signs_and_the_offset_stays():
    """A feature of the prior is never turned against its meaning, and the head does not take the offset away."""
    examples, _ = make_examples()
    calibration = calibrate(examples, TASK, examples.priors["context"])
    assert (calibration["offset"] > 1).all()
    start = start_from(examples, TASK, "evidence", "context", calibration)
    opposed = replace(start, signs=torch.tensor([-1.0, 0.0, 1.0]))
    fitted = learnt(examples, start=opposed).parameters
    assert (fitted["weights"][:, 0] <= 0).all()
    assert (fitted["weights"][:, 2] >= 0).all()
    assert torch.equal(fitted["offset"], calibration["offset"])


def test_a_member_does_not_see_its_own_fold():
    """Labels of one fold turned round: that fold's member is the same bit for bit, at a fixed epoch and penalty."""
    examples, _ = make_examples(dealings=2)
    one_epoch = replace(SCHEDULE, epochs=1, penalties=(0.1,))
    turned = examples.labels.clone()
    turned[examples.fold[0] == 2] = 1 - turned[examples.fold[0] == 2]
    first, second = (
        learnt(each, schedule=one_epoch).parameters["weights"] for each in (examples, replace(examples, labels=turned))
    )
    assert torch.equal(first[2], second[2])
    assert not torch.equal(first[1], second[1])
    assert not torch.equal(first[4 + 2], second[4 + 2])  # Another dealing: other responses are in its fold 2.


def test_cross_fitted_takes_the_member_of_the_fold():
    """A train response is scored by its own folds' members, any other by the mean of all."""
    examples, truth = make_examples(folds=4, dealings=2)
    logits = torch.arange(8.0)[:, None].expand(8, len(truth))
    own, spread = cross_fitted(logits, examples)
    fold = examples.fold[:, examples.segments.ids]
    expected = (fold[0] + 4 + fold[1]) / 2
    assert torch.equal(own, torch.where(fold[0] == NO_FOLD, torch.tensor(3.5), expected.float()))
    assert np.allclose(spread, np.std(1 / (1 + np.exp(-np.arange(8.0)))))


def test_same_seed_same_bytes():
    """Two trainings are equal bit for bit; another seed is another order of batches."""
    examples, _ = make_examples()

    def weights(seed):
        return learnt(examples, schedule=replace(SCHEDULE, seed=seed, epochs=5)).parameters["weights"]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_student_learns_from_its_own_teacher():
    """Each fold's members are taught by that fold's targets alone, and by confident sentences alone."""
    examples, truth = make_examples()
    targets = torch.from_numpy(truth.astype(np.float32)).expand(4, -1).clone()
    targets[3] = 0.5
    everything = torch.ones_like(targets, dtype=torch.bool)
    plan = replace(ONE_PENALTY, epochs=40)
    taught = learnt(examples, schedule=plan, objective=PseudolabelObjective(TASK, targets, everything))
    assert (taught.parameters["weights"][:3, 0] > 0.3).all()
    assert abs(float(taught.parameters["weights"][3, 0])) < 0.1
    none = learnt(examples, schedule=plan, objective=PseudolabelObjective(TASK, targets, ~everything))
    assert not none.parameters["weights"].any()


def test_prior_terms_pull_towards_their_targets_and_fade():
    """With all the weight on a prior the scores follow it and not the labels; faded, it has no pull."""
    examples, _ = make_examples(signal=0.0)
    prior = torch.sigmoid(2 * examples.features[:, 1])
    examples = replace(examples, terms=PriorTerms(probabilities={"query": prior}))
    pulled = learnt(examples, schedule=ONE_PENALTY, objective=BagObjective(TASK, {"query": 1.0}))
    assert (pulled.parameters["weights"][:, 1] > 0).all()
    faded = BagObjective(TASK, {"query": 1.0}, fade_epochs=1)
    faded.end_epoch(lambda: torch.zeros(1, len(prior)), 0)
    labels_alone = learnt(examples, schedule=ONE_PENALTY)
    again = learnt(examples, schedule=ONE_PENALTY, objective=faded)
    assert torch.equal(again.parameters["weights"], labels_alone.parameters["weights"])
    with pytest.raises(ValueError, match="at most 1"):
        BagObjective(TASK, {"query": 0.7, "document": 0.7})


@pytest.mark.parametrize("pairs", [False, True])
def test_all_terms_are_finite(pairs):
    """Every term at once, on mini-batches, with missing priors and neighbours, for responses and for pairs."""
    examples, truth = make_examples(responses=40, pairs=pairs)
    task = Task("avg", "preference") if pairs else Task("min", "binary", "hard")
    sentence_pairs = SentencePairs(examples.segments)
    half = torch.full((len(truth),), 0.5)
    half[::3] = torch.nan
    neighbours = torch.full((len(truth), 2), -1)
    neighbours[:, 0] = torch.arange(len(truth)).flip(0)
    terms = PriorTerms(
        probabilities={"document": half, "hybrid": half},
        pairs=(sentence_pairs, torch.full((len(sentence_pairs.first),), 0.7)),
        neighbours=(neighbours, torch.full(neighbours.shape, 0.9)),
    )
    weights = {"document": 0.2, "hybrid": 0.2, "correlation": 0.2, "neighbours": 0.2}
    plan = replace(SCHEDULE, epochs=3, batch_responses=7)
    examples = replace(examples, terms=terms)
    fitted = learnt(examples, task, plan, BagObjective(task, weights))
    assert torch.isfinite(fitted.parameters["weights"]).all()
    assert fitted.parameters["weights"].any()
    extra = torch.zeros(1, task.extras)
    assert np.isfinite(held_out_loss(examples, task, torch.zeros(1, len(truth)), extra))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 3))
def test_folds_keep_groups_whole_and_even(groups, folds, seed):
    """A group is in one fold, folds differ by at most one group, and the order of rows does not matter."""
    names = [f"group {g}" for g in groups]
    fold = assign_folds(names, folds, seed)
    by_group = dict(zip(names, fold.tolist(), strict=True))
    assert [by_group[name] for name in names] == fold.tolist()
    sizes = np.bincount(list(by_group.values()), minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    assert assign_folds(names[::-1], folds, seed).tolist() == fold.tolist()[::-1]


def test_gaps_are_those_of_the_own_fold_too():
    """A train response's extra parameters are those of its folds' members, any other's the mean of all."""
    examples, _ = make_examples(folds=4, dealings=2)
    extra = torch.arange(8.0)[:, None]
    own = cross_fitted_extra(extra, examples)[:, 0]
    fold = examples.fold[:, examples.segments.ids]
    assert torch.equal(own, torch.where(fold[0] == NO_FOLD, torch.tensor(3.5), (fold[0] + 4 + fold[1]) / 2))
