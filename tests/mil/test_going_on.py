"""Training that goes on from earlier heads: it needs few epochs, and stays honest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import RECIPE, SCHEDULE, TASK, learnt, make_examples, nothing, of_these, own, ranks

from fractal_core.mil.ensemble import Component
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.held_out import HeldOut, unit_losses
from fractal_core.mil.learning import learn
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.starting import start_from, start_where
from fractal_core.mil.task import Task
from fractal_core.mil.training import PATIENCE, fit

LONG = replace(SCHEDULE, epochs=200, penalties=(0.003, 0.03))
ONCE = replace(SCHEDULE, epochs=1, batch_responses=8, penalties=(0.003,))


def fitted(examples, schedule=LONG, task=TASK, start=None):
    """Members trained by the bag loss, from zeros unless told otherwise."""
    start = start or start_from(examples, task, "evidence", "none", None)
    return fit(examples, task, BagObjective(task, {}), start, schedule, nothing)


def head(parameters, task=TASK):
    """A head as it came out of training."""
    return Component(task.pooling, "evidence", "none", parameters)


def test_it_needs_few_epochs_and_may_stay_as_it_is():
    """At the optimum nothing is gained: the earlier members are kept to the bit, and patience ends the training."""
    examples, truth = make_examples()
    before = fitted(examples)
    after = fitted(examples, start=start_where(examples, head(before.parameters)))
    assert [epoch for epoch, _, _ in after.history][:2] == [-1, -1]
    assert after.held_out <= before.held_out
    assert len({epoch for epoch, _, _ in after.history}) <= 1 + PATIENCE + after.epoch + 1
    still = fitted(examples, replace(LONG, learning_rate=0.0), start=start_where(examples, head(before.parameters)))
    assert (still.epoch, still.held_out) == (-1, pytest.approx(before.held_out, abs=1e-6))
    assert all(torch.equal(still.parameters[name], value) for name, value in before.parameters.items())
    # Three epochs from there are worth more than three from zeros.
    short = replace(LONG, epochs=3)
    onwards = fitted(examples, short, start=start_where(examples, head(before.parameters)))
    assert onwards.held_out < fitted(examples, short).held_out - 0.05
    assert ranks(own([head(onwards.parameters)], examples), truth) > 0.9


def test_the_earlier_head_is_left_alone():
    """Going on from a head does not change it."""
    examples, _ = make_examples(responses=60)
    before = fitted(examples, ONCE)
    kept = {name: value.clone() for name, value in before.parameters.items()}
    fitted(examples, ONCE, start=start_where(examples, head(before.parameters)))
    assert all(torch.equal(kept[name], value) for name, value in before.parameters.items())


@pytest.mark.parametrize("scorer", ["evidence", "mlp"])
def test_a_member_does_not_see_labels_of_its_fold_when_it_goes_on(scorer, monkeypatch):
    """Labels of one fold turned round: that fold's member is the same bit for bit, and another one is not."""
    examples, _ = make_examples(responses=120)
    begun = fitted(examples, ONCE, start=start_from(examples, TASK, scorer, "context", None))
    # Every look counts as a gain, so that members that were trained are compared.
    monkeypatch.setattr("fractal_core.mil.training._ENOUGH", -1e9)
    turned = torch.where(examples.unit_fold[0] == 1, 1 - examples.labels, examples.labels)
    results = []
    for labels in (examples.labels, turned):
        now = replace(examples, labels=labels)
        start = start_where(now, Component("noisy", scorer, "context", begun.parameters))
        results.append(fit(now, TASK, BagObjective(TASK, {}), start, ONCE, nothing).parameters)
    one, two = results
    assert all(torch.equal(one[name][1], two[name][1]) for name in one)
    assert not torch.equal(one["weights"][0], two["weights"][0])
    assert not torch.equal(one["weights"][1], begun.parameters["weights"][1])


def test_heads_are_found_by_what_they_learned():
    """Poolings that were trained go on, with their prior, and others start anew; all are handed on as they are."""
    examples, _ = make_examples(responses=120)
    recipe = replace(RECIPE, poolings=("noisy", "hard"), prior_offset=True)
    before = learn(examples, TASK, recipe, replace(SCHEDULE, epochs=10), nothing)
    assert [task.pooling for task, _ in before.raw] == ["noisy", "hard"]
    noisy, raw = before.raw[0]
    # That it starts from the query prior is what tells it from a head that starts anew.
    earlier = {noisy: replace(raw, family="query")}
    after = learn(examples, TASK, recipe, replace(SCHEDULE, epochs=10), nothing, earlier)
    assert [component.family for _, component in after.raw] == ["query", before.raw[1][1].family]
    starts = {name: min(epoch for each, epoch, _, _ in after.history if each == name) for name in ("noisy", "hard")}
    assert starts == {"noisy": -1, "hard": 0}
    parameters = after.raw[1][1].parameters
    assert all(torch.equal(parameters[name], value) for name, value in before.raw[1][1].parameters.items())
    other = learn(examples, Task("max", "binary"), recipe, replace(SCHEDULE, epochs=2), nothing, earlier)
    assert {epoch for _, epoch, _, _ in other.history} == {0, 1}


def test_who_has_left_train_is_judged_by_the_fold_that_has_not_seen_it():
    """A dev unit counts by its own fold, if it had one, else a share by every fold; one without label not at all."""
    examples, _ = make_examples(responses=60, folds=3)
    fold = examples.fold.clone()
    train = torch.nonzero(examples.train).flatten()[:2]
    moved, bare = int(train[0]), int(train[1])
    dev, labels = examples.dev.clone(), examples.labels.clone()
    dev[moved], labels[bare] = True, torch.nan
    split = examples.train.clone()
    split[moved] = False
    now = replace(examples, dev=dev, labels=labels, train=split, fold=fold)
    logits, extra = torch.randn(3, now.segments.total), torch.zeros(3, 0)
    losses = unit_losses(now, TASK, logits, extra)
    hidden = now.unit_fold == torch.arange(3)[:, None]
    total, weight = 0.0, 0.0
    for unit in range(60):
        own_fold = int(fold[0, unit])
        if own_fold != NO_FOLD and unit != bare:
            total, weight = total + float(losses[own_fold, unit]), weight + 1
        elif own_fold == NO_FOLD:
            total, weight = total + float(losses[:, unit].mean()), weight + 1
    assert float(HeldOut(now, hidden).mean(TASK, of_these(logits), extra)) == pytest.approx(total / weight)


def test_labels_without_a_fold_are_not_learned_from():
    """Where a scorer is kept, a new label has no member that would not see it; those of others are learned from."""
    examples, _ = make_examples(responses=60, folds=3)
    assert examples.to_learn_from() is examples
    gold = torch.full_like(examples.gold, torch.nan)
    gold[:40] = 1.0
    new = torch.zeros(60, dtype=torch.bool)
    new[torch.nonzero(examples.train).flatten()[5:10]] = True
    now = replace(examples, fold=examples.fold.masked_fill(new, NO_FOLD), gold=gold)
    learned = now.to_learn_from()
    assert torch.equal(torch.isnan(learned.labels), new)
    assert torch.equal(learned.labels[~new], examples.labels[~new])
    of_new = now.segments.expand(new | ~examples.train)
    assert torch.isnan(learned.gold[of_new]).all()
    assert torch.equal(learned.gold[~of_new].nan_to_num(-1), gold[~of_new].nan_to_num(-1))
    assert not bool((learned.taught & new).any())


def test_the_number_of_folds_does_not_follow_from_who_is_left():
    """With nobody left in the last fold its member still speaks of those that have no fold."""
    examples, _ = make_examples(responses=60, folds=3)
    few = replace(examples, fold=examples.fold.masked_fill(examples.fold == 2, NO_FOLD))
    assert (few.folds, replace(few, members=3).folds) == (2, 3)
    components = learnt(examples).components
    logits = own(components, replace(few, members=3))
    everyone = torch.stack([c.share * c.logits(examples) for c in components]).sum(0).mean(0)
    gone = examples.segments.expand(examples.fold[0] == 2)
    assert torch.allclose(logits[gone], everyone[gone])
