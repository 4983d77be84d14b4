"""Preferences adjusted for a family of evidence: what speaks for a response need not speak for its sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import examples_of, learnt, own, ranks

from fractal_core.mil.adjusting import adjust, adjusted_for
from fractal_core.mil.logarithms import BagLogProbabilities
from fractal_core.mil.preferences import preference_log_likelihood
from fractal_core.mil.task import COVARIATES, Task

FEATURES = ("cos_chunk_best", "cos_query", "log_words")
PAIRS = Task("avg", "preference")


def confounded(responses=1200):
    """Pairs that are decided by support first and by relevance second, which is rare where support is good."""
    random = np.random.default_rng(2)
    sizes = random.integers(1, 5, responses)
    owners = np.repeat(np.arange(responses), sizes)
    relevance = random.normal(size=len(owners))
    support = -0.7 * relevance + 0.7 * random.normal(size=len(owners))
    truth = relevance > 0
    mean = np.stack([np.bincount(owners, value) / sizes for value in (support, truth)], axis=1)
    units = np.arange(responses).reshape(-1, 2)
    lead = (mean[units[:, 0]] - mean[units[:, 1]]) @ np.array([6.0, 3.0])
    preferred = random.random(len(units)) < 1 / (1 + np.exp(-lead))
    features = np.stack([support, relevance, random.normal(size=len(owners))], axis=1).astype(np.float32)
    columns = torch.from_numpy(features)
    examples = examples_of(
        features,
        preferred,
        sizes,
        {"context": columns[:, 0], "query": columns[:, 1]},
        families={"context": torch.tensor([1.0, 0.0, 0.0]), "query": torch.tensor([0.0, 1.0, 0.0])},
        units=torch.from_numpy(units),
        fold=torch.from_numpy((np.arange(responses) // 2 % 3)[None]),
        train=torch.ones(len(units), dtype=torch.bool),
        dev=torch.zeros(len(units), dtype=torch.bool),
    )
    return examples, truth


def test_adjusted_scores_are_of_what_the_label_means():
    """Left alone, sentences are scored by support and relevance is turned round; adjusted, relevance is found."""
    examples, truth = confounded()
    plain = learnt(examples, PAIRS, prior_offset=True)
    task = adjusted_for(PAIRS, "auto", examples)
    assert task.adjusted == "context"
    seen = adjust(examples, task.adjusted, FEATURES)
    learned = learnt(seen, task, prior_offset=True)
    assert ranks(own(plain.components, examples), truth) < 0.4
    assert ranks(own(learned.components, seen), truth) > 0.9
    weights = learned.components[0].parameters["extra"][:, 1]
    assert (weights > 0.5).all()


def test_covariates_are_means_and_minima_of_each_pair():
    """First response minus second, in standard deviations over responses; the family is gone from sentences."""
    examples, _ = confounded(60)
    seen = adjust(examples, "context", FEATURES)
    bags = torch.split(examples.priors["context"], examples.segments.sizes.tolist())
    table = np.array([[float(bag.mean()), float(bag.min())] for bag in bags])
    z = (table - table.mean(0)) / table.std(0)
    first, second = examples.units.numpy().T
    assert seen.covariates.numpy() == pytest.approx(z[first] - z[second], abs=1e-5)
    assert seen.covariates.shape == (30, COVARIATES)
    assert set(seen.priors) == set(seen.families) == {"query"}
    assert not seen.features[:, 0].any()
    assert torch.equal(seen.features[:, 1:], examples.features[:, 1:])
    assert adjust(examples, "", FEATURES) is examples


@pytest.mark.parametrize(
    ("aggregation", "choice", "family"),
    [
        ("min", "auto", "query"),
        ("max", "auto", "context"),
        ("avg", "auto", "context"),
        ("avg", "query", "query"),
        ("avg", "none", ""),
        ("min", "context", "context"),
    ],
)
def test_what_preferences_are_adjusted_for(aggregation, choice, family):
    """By default, for what a sentence label of that aggregation does not mean."""
    examples, _ = confounded(12)
    assert adjusted_for(Task(aggregation, "preference"), choice, examples).adjusted == family
    assert adjusted_for(Task(aggregation, "binary"), choice, examples).adjusted == ""


def test_evidence_that_is_alone_is_kept():
    """Without a query there is nothing but the context to score sentences by; without a context nothing to adjust."""
    examples, _ = confounded(12)
    for family in ("context", "query"):
        alone = replace(examples, priors={**examples.priors, family: torch.zeros(examples.segments.total)})
        assert adjusted_for(PAIRS, "auto", alone) == PAIRS


def test_a_handicap_moves_the_lead():
    """The log-odds of a win grow by the handicap; a tie is as far from either as before (Davidson 1970)."""
    odds = torch.tensor([0.3, -0.5], dtype=torch.float64)
    bags = BagLogProbabilities(torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds))
    pairs, nu = torch.tensor([[0, 1]]), 0.4
    strength = np.exp([0.3 + 1.2, -0.5])
    total = strength.sum() + nu * np.sqrt(strength.prod())
    for preferred, expected in ((1.0, strength[0]), (0.0, strength[1]), (0.5, nu * np.sqrt(strength.prod()))):
        found = preference_log_likelihood(
            bags, pairs, torch.tensor([preferred]), torch.tensor(nu).log(), handicap=torch.tensor([1.2])
        )
        assert float(found) == pytest.approx(np.log(expected / total), abs=1e-6)
