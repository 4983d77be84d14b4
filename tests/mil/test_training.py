"""Training: it learns the rule, keeps its constraints, chooses its prior, and no member sees its own fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.examples import NO_FOLD, Examples, PriorTerms, assign_folds, segments_of
from fractal_core.mil.losses import SentencePairs
from fractal_core.mil.objective import BagObjective, PseudolabelObjective
from fractal_core.mil.saving import SavedScorer, load_scorer, save_scorer
from fractal_core.mil.starting import best_start, plain_start
from fractal_core.mil.training import Schedule, cross_fitted, fit, held_out_loss
from fractal_core.priors.evidence_prior import EvidenceStandardiser

SCHEDULE = Schedule(epochs=60, batch_responses=64, learning_rate=0.05, seed=0)


def nothing(*_):
    """Take no note of progress."""


def make_examples(seed=0, responses=240, folds=4, signal=3.0):
    """Sentences whose first feature decides; the second is noise, the third is the first turned round.

    A response is right iff all of its sentences are. Returns the examples and the sentences' true labels.
    """
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(responses), random.integers(1, 6, responses))
    count = len(owners)
    features = random.normal(size=(count, 3)).astype(np.float32)
    features[:, 2] = -features[:, 0]
    truth = random.random(count) < 1 / (1 + np.exp(-(signal * features[:, 0] + 2)))
    labels = np.array([truth[owners == b].all() for b in range(responses)], dtype=np.float64)
    fold = assign_folds([f"g{b}" for b in range(responses)], folds, seed)
    fold[::6] = NO_FOLD
    examples = Examples(
        features=torch.from_numpy(features),
        priors={"context": torch.from_numpy(features[:, 0].copy()), "query": torch.from_numpy(features[:, 1].copy())},
        families={"context": torch.tensor([1.0, 0.0, -1.0]), "query": torch.tensor([0.0, 1.0, 0.0])},
        segments=segments_of(owners, responses),
        labels=torch.from_numpy(labels),
        fold=torch.from_numpy(fold),
        dev=torch.from_numpy(fold == NO_FOLD),
        terms=PriorTerms(),
    )
    return examples, truth


def ranks(scores, truth):
    """AUC by counting pairs."""
    positive, negative = scores[truth], scores[~truth]
    return float((positive[:, None] > negative[None, :]).mean())


def test_learns_the_rule_from_response_labels():
    """Sentences are ranked by the feature that decides, though no sentence label is seen."""
    examples, truth = make_examples()
    fitted = fit(examples, "noisy_and", BagObjective("noisy_and", {}), plain_start(examples), SCHEDULE, nothing)
    logits, spread = cross_fitted(fitted.scorer.logits(examples.features, torch.zeros(len(truth))), examples)
    assert ranks(logits.numpy(), truth) > 0.9
    assert (spread >= 0).all()
    assert fitted.held_out == min(loss for _, _, loss in fitted.history)


def test_starts_from_the_prior_that_explains_the_labels():
    """The calibrated held-out loss prefers the prior that means something; noise gets no offset worth the name."""
    examples, _ = make_examples()
    starting = best_start(examples, "noisy_and", SCHEDULE, nothing)
    assert starting.family == "context"
    assert starting.losses["context"] < starting.losses["query"]
    assert (starting.start.scorer.offset > 1).all()


def test_weights_keep_their_signs_and_the_offset_stays():
    """A feature of the prior is never turned against its meaning, and the head does not take the offset away."""
    examples, _ = make_examples()
    starting = best_start(examples, "noisy_and", SCHEDULE, nothing)
    opposed = replace(starting.start, signs=torch.tensor([-1.0, 0.0, 1.0]))
    fitted = fit(examples, "noisy_and", BagObjective("noisy_and", {}), opposed, SCHEDULE, nothing)
    assert (fitted.scorer.weights[:, 0] <= 0).all()
    assert (fitted.scorer.weights[:, 2] >= 0).all()
    assert torch.equal(fitted.scorer.offset, starting.start.scorer.offset)


def test_a_member_does_not_see_its_own_fold():
    """Labels of one fold turned round: that fold's member is the same bit for bit, at a fixed epoch and penalty."""
    examples, _ = make_examples()
    one_epoch = replace(SCHEDULE, epochs=1)
    turned = examples.labels.clone()
    turned[examples.fold == 2] = 1 - turned[examples.fold == 2]
    members = [
        fit(each, "noisy_and", BagObjective("noisy_and", {}), plain_start(each), one_epoch, nothing, (0.1,)).scorer
        for each in (examples, replace(examples, labels=turned))
    ]
    assert torch.equal(members[0].weights[2], members[1].weights[2])
    assert not torch.equal(members[0].weights[1], members[1].weights[1])


def test_cross_fitted_takes_the_member_of_the_fold():
    """A train response is scored by its own fold's member, any other by the mean."""
    examples, truth = make_examples(folds=4)
    logits = torch.arange(4.0)[:, None].expand(4, len(truth))
    own, _ = cross_fitted(logits, examples)
    fold = examples.segments.expand(examples.fold)
    assert torch.equal(own, torch.where(fold == NO_FOLD, torch.tensor(1.5), fold.float()))


def test_same_seed_same_bytes():
    """Two trainings are equal bit for bit; another seed is another order of batches."""
    examples, _ = make_examples()

    def train(seed):
        plan = replace(SCHEDULE, seed=seed, epochs=5)
        return fit(examples, "noisy_and", BagObjective("noisy_and", {}), plain_start(examples), plan, nothing).scorer

    assert torch.equal(train(0).weights, train(0).weights)
    assert not torch.equal(train(0).weights, train(1).weights)


def test_student_learns_from_its_own_teacher():
    """Each fold's members are taught by that fold's targets alone."""
    examples, truth = make_examples()
    targets = torch.from_numpy(truth.astype(np.float32)).expand(4, -1).clone()
    targets[3] = 0.5
    start, plan = plain_start(examples), replace(SCHEDULE, epochs=40)
    fitted = fit(examples, "noisy_and", PseudolabelObjective(targets), start, plan, nothing, (0.003,))
    assert (fitted.scorer.weights[:3, 0] > 0.3).all()
    assert abs(float(fitted.scorer.weights[3, 0])) < 0.1


def test_prior_terms_pull_towards_their_targets():
    """With all the weight on a prior, the scores follow it and not the labels."""
    examples, _ = make_examples(signal=0.0)
    prior = torch.sigmoid(2 * examples.features[:, 1])
    examples = replace(examples, terms=PriorTerms(probabilities={"query": prior}))
    objective = BagObjective("noisy_and", {"query": 1.0})
    fitted = fit(examples, "noisy_and", objective, plain_start(examples), SCHEDULE, nothing, (0.003,))
    assert (fitted.scorer.weights[:, 1] > 0).all()
    with pytest.raises(ValueError, match="at most 1"):
        BagObjective("min", {"query": 0.7, "document": 0.7})


def test_all_terms_are_finite():
    """Every term at once, on mini-batches, with missing priors and neighbours."""
    examples, truth = make_examples(responses=40)
    pairs = SentencePairs(examples.segments)
    half = torch.full((len(truth),), 0.5)
    half[::3] = torch.nan
    neighbours = torch.full((len(truth), 2), -1)
    neighbours[:, 0] = torch.arange(len(truth)).flip(0)
    terms = PriorTerms(
        probabilities={"document": half, "context_evidence": half},
        pairs=(pairs, torch.full((len(pairs.first),), 0.7)),
        neighbours=(neighbours, torch.full(neighbours.shape, 0.9)),
    )
    weights = {"document": 0.2, "context_evidence": 0.2, "correlation": 0.2, "neighbours": 0.2}
    plan = replace(SCHEDULE, epochs=3, batch_responses=7)
    examples = replace(examples, terms=terms)
    fitted = fit(examples, "min", BagObjective("min", weights), plain_start(examples), plan, nothing)
    assert torch.isfinite(fitted.scorer.weights).all()
    assert np.isfinite(held_out_loss(examples, "min", torch.zeros(len(truth))))


@settings(max_examples=60, deadline=None)
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


def test_saved_scorer_is_the_same(tmp_path):
    """What is read back scores the same, and saving twice gives the same bytes."""
    examples, truth = make_examples()
    scorer = fit(
        examples, "min", BagObjective("min", {}), plain_start(examples), replace(SCHEDULE, epochs=2), nothing
    ).scorer
    standardiser = EvidenceStandardiser(np.zeros(3), np.ones(3), np.array([1, 0, -1], np.int8), np.ones(3, np.bool_))
    saved = SavedScorer(scorer, standardiser, 0.5, 2.0, {"prior": "context", "features": ["a", "b", "c"]})
    save_scorer(saved, tmp_path / "a.safetensors")
    save_scorer(saved, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load_scorer(tmp_path / "a.safetensors")
    prior = torch.zeros(len(truth))
    assert torch.equal(again.scorer.logits(examples.features, prior), scorer.logits(examples.features, prior))
    assert (again.prior_mean, again.prior_scale, again.metadata) == (0.5, 2.0, saved.metadata)
