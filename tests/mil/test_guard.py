"""The guard: whichever of head, prior and their average explains held-out response labels best is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import examples_of, learnt, make_examples, own, ranks


def noise_and_prior():
    """Features that say nothing, and a prior that knows."""
    examples, truth = make_examples(responses=160)
    noise = torch.randn(examples.features.shape, generator=torch.Generator().manual_seed(7))
    prior = {"context": examples.priors["context"]}
    return replace(examples, features=noise, priors=prior, families={"context": torch.zeros(3)}), truth


def test_a_noise_head_loses_to_a_good_prior():
    """The prior, or the average with it, is taken and named; every candidate's loss is reported."""
    examples, truth = noise_and_prior()
    learned = learnt(examples)
    assert learned.winner in ("the context prior", "noisy and the context prior")
    assert set(learned.compared) == {"noisy", "the context prior", "noisy and the context prior"}
    assert learned.winner == min(learned.compared, key=learned.compared.get)
    assert learned.held_out == pytest.approx(learned.compared[learned.winner], abs=1e-2)
    assert "context" in [component.name for component in learned.components]
    assert ranks(own(learned.components, examples), truth) > 0.9


def test_without_guard_the_head_stays():
    """With the guard off no prior competes, however bad the head is."""
    examples, truth = noise_and_prior()
    learned = learnt(examples, guard=False)
    assert learned.winner == "noisy"
    assert set(learned.compared) == {"noisy"}
    assert [component.name for component in learned.components] == ["noisy"]
    assert ranks(own(learned.components, examples), truth) < 0.65


def test_a_good_head_is_kept():
    """A prior of noise does not get in."""
    examples, truth = make_examples(responses=160)
    examples = replace(examples, priors={"query": examples.priors["query"]})
    learned = learnt(examples)
    assert learned.winner == "noisy"
    assert {"the query prior", "noisy and the query prior"} < set(learned.compared)
    assert ranks(own(learned.components, examples), truth) > 0.9


def test_head_and_prior_are_averaged_where_each_knows_a_half():
    """The average wins where head and prior know different things, half of each."""
    random = np.random.default_rng(3)
    sizes = random.integers(1, 4, 300)
    known, hidden = random.normal(size=(2, sizes.sum()))
    truth = random.random(sizes.sum()) < 1 / (1 + np.exp(-(3 * known + 3 * hidden + 1)))
    starts = np.cumsum(sizes) - sizes
    prior = {"context": torch.from_numpy(hidden.astype(np.float32))}
    examples = examples_of(known[:, None], np.minimum.reduceat(truth, starts), sizes, prior)
    learned = learnt(examples)
    assert learned.winner == "noisy and the context prior"
    assert [(part.name, part.share) for part in learned.components] == [("noisy", 0.5), ("context", 0.5)]


def test_a_prior_of_zeros_does_not_compete():
    """A family that is 0 everywhere is no prior."""
    examples, _ = make_examples(responses=80)
    silent = replace(examples, priors={"context": torch.zeros(examples.segments.total)})
    assert set(learnt(silent).compared) == {"noisy"}


def test_the_loss_of_a_constant_is_reported():
    """One score for all sentences: worse than a head that knows, and no worse than one that cannot know."""
    examples, _ = make_examples(responses=160)
    learned = learnt(examples)
    assert learned.held_out < learned.constant - 0.1
    random = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 2, examples.labels.shape, generator=random).double()
    noise = torch.randn(examples.features.shape, generator=random)
    blind = learnt(replace(examples, labels=labels, features=noise, priors={}, families={}))
    assert blind.held_out >= blind.constant - 0.01
    sizes, wanted = examples.segments.sizes.numpy(), labels.numpy()
    right = np.linspace(0.3, 0.999, 400)[:, None] ** sizes
    losses = -np.where(wanted, np.log(right), np.log(1 - right)).mean(1)
    assert blind.constant == pytest.approx(losses.min(), abs=0.02)


def test_a_head_does_not_start_from_what_gold_taught():
    """The hybrid prior, however good, competes at the end; heads start from evidence."""
    examples, truth = make_examples(responses=160)
    taught = {"hybrid": torch.from_numpy(truth * 6.0 - 3).float(), "query": examples.priors["query"]}
    learned = learnt(replace(examples, priors=taught), prior_offset=True)
    assert learned.winner in ("the hybrid prior", "noisy and the hybrid prior")
    assert {part.family for part in learned.components} <= {"hybrid", "query"}
    assert "query" in {part.family for part in learned.components} or learned.winner == "the hybrid prior"
    alone = learnt(replace(examples, priors={"hybrid": taught["hybrid"]}), prior_offset=True, guard=False)
    assert [part.family for part in alone.components] == ["none"]


@pytest.mark.parametrize(("golden", "by_gold"), [(150, True), (20, False)])
def test_gold_labels_judge_where_there_are_enough(golden, by_gold):
    """Response labels that are about something else choose a prior that is wrong of sentences; gold does not."""
    examples, truth = make_examples(responses=240)
    misleading = examples.priors["query"]
    labels = (examples.segments.minimum(misleading) > -0.7).double()
    gold = torch.where(examples.train[examples.segments.ids], torch.from_numpy(truth).double(), torch.nan)
    gold[torch.nonzero(~torch.isnan(gold)).flatten()[golden:]] = torch.nan
    noise = torch.randn(examples.features.shape, generator=torch.Generator().manual_seed(7))
    learned = learnt(replace(examples, labels=labels, gold=gold, features=noise))
    assert learned.by_gold == by_gold
    assert learned.winner == min(learned.compared, key=learned.compared.get)
    assert ("context" in learned.winner) == by_gold
