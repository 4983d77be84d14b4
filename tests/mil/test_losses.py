"""Losses against loops over sentences, pairs and neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from brute_force import Bags, labels_of, operations, ragged, random_segments, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.aggregations import aggregate
from fractal_core.mil.losses import (
    SentencePairs,
    bag_cross_entropy,
    correlation_penalty,
    neighbour_penalty,
    pair_correlation,
    prior_cross_entropy,
)
from fractal_core.mil.segments import Segments


def sigmoid(z: float) -> float:
    """Probability of a logit."""
    return 1 / (1 + math.exp(-z))


def cross_entropy(target: float, p: float) -> float:
    """Cross-entropy of one probability."""
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def uniform(*shape: int, seed: int = 1) -> torch.Tensor:
    """Seeded numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=40)
@given(ragged(), st.integers(0, 100))
def test_bag_cross_entropy_of_shares(bags: Bags, seed: int) -> None:
    """Under avg the loss is the cross-entropy of the share and the mean probability."""
    logits, segments = tensors(bags)
    labels = labels_of("avg", segments, seed)
    target = torch.tensor(labels, dtype=torch.float64)
    loss = bag_cross_entropy(aggregate("avg", torch.stack([logits, -logits]), segments), target)
    for k, sign in enumerate((1, -1)):
        means = [sum(sigmoid(sign * z) for z in bag) / len(bag) for bag in bags]
        expected = [cross_entropy(y, p) for y, p in zip(labels, means, strict=True)]
        torch.testing.assert_close(loss[k], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["min", "max", "avg", "noisy_and", "noisy_or"])
def test_bag_cross_entropy_of_a_certain_mistake(name: str) -> None:
    """A response wrong by a logit of 1000 costs about 1000 and has a finite gradient; a right one costs 0."""
    values = torch.tensor([1000.0, -1000.0], requires_grad=True)
    pairs = Segments(torch.tensor([0, 1, 2]))
    wrong = bag_cross_entropy(aggregate(name, values, pairs), torch.tensor([0.0, 1.0]))
    assert wrong.tolist() == pytest.approx([1000.0, 1000.0])
    wrong.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([1.0, -1.0])
    right = bag_cross_entropy(aggregate(name, values.detach(), pairs), torch.tensor([1.0, 0.0]))
    assert right.tolist() == [0.0, 0.0]


def test_an_unlabelled_response_teaches_nothing() -> None:
    """A NaN label has loss 0 and gradient 0 and leaves the other responses alone."""
    logits, segments = tensors([[0.5, 1.0], [2.0]])
    values = logits.requires_grad_()
    loss = bag_cross_entropy(aggregate("noisy_and", values, segments), torch.tensor([math.nan, 1.0]))
    loss.sum().backward()
    assert values.grad is not None
    assert loss.tolist() == pytest.approx([0.0, cross_entropy(1.0, sigmoid(2.0))])
    assert values.grad[:2].tolist() == [0.0, 0.0]
    assert values.grad[2] < 0


@settings(deadline=None, max_examples=40)
@given(ragged(), st.integers(0, 100))
def test_prior_cross_entropy(bags: Bags, seed: int) -> None:
    """The prior term is the mean cross-entropy over a bag's sentences that have a prior, 0 if none has."""
    logits, segments = tensors(bags)
    draw = uniform(segments.total, seed=seed)
    prior = torch.where(draw < 0.3, torch.nan, draw)
    expected, start = [], 0
    for bag in bags:
        known = [
            (q, z) for q, z in zip(prior[start : start + len(bag)].tolist(), bag, strict=True) if not math.isnan(q)
        ]
        expected.append(sum(cross_entropy(q, sigmoid(z)) for q, z in known) / max(1, len(known)))
        start += len(bag)
    loss = prior_cross_entropy(torch.stack([logits, logits]), prior, segments)
    torch.testing.assert_close(loss[1], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_prior_gradient_vanishes_at_the_prior() -> None:
    """The term pulls towards the prior, stops there, and does not move sentences without one."""
    segments = Segments(torch.tensor([0, 3]))
    prior = torch.tensor([0.2, 0.9, math.nan], dtype=torch.float64)
    values = torch.tensor([math.log(0.25), 0.0, 5.0], dtype=torch.float64, requires_grad=True)
    prior_cross_entropy(values, prior, segments).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0.0, -0.2, 0.0])


@pytest.mark.parametrize("cap", [1, 2, 3, 64])
def test_pairs_are_those_of_a_double_loop(cap: int) -> None:
    """Each sentence is paired with at most `cap` followers of its own bag, in order."""
    segments = Segments.from_sizes(torch.tensor([1, 4, 2, 1, 6]))
    pairs = SentencePairs(segments, cap)
    starts = segments.offsets.tolist()
    expected = [
        (x, z)
        for low, high in zip(starts, starts[1:], strict=False)
        for x in range(low, high)
        for z in range(x + 1, min(high, x + cap + 1))
    ]
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert pairs.sizes.tolist() == [
        sum(low <= x < high for x, _ in expected) for low, high in zip(starts, starts[1:], strict=False)
    ]


def test_a_long_response_has_few_pairs() -> None:
    """10,000 sentences make fewer than 10,000 x 64 pairs, not 50 million."""
    assert SentencePairs(Segments(torch.tensor([0, 10_000]))).first.shape[0] == 64 * 10_000 - 64 * 65 // 2


def test_a_cap_below_one_is_refused() -> None:
    """A cap of 0 would switch the term off unnoticed."""
    with pytest.raises(ValueError, match="at least 1, but is 0"):
        SentencePairs(Segments(torch.tensor([0, 2])), 0)


def test_pair_correlation_is_pearson() -> None:
    """P2 equals (1 + numpy's correlation) / 2."""
    vectors = uniform(9, 16) - 0.3
    pairs = SentencePairs(Segments(torch.tensor([0, 4, 5, 9])))
    pearson = np.corrcoef(vectors.numpy())
    expected = (1 + pearson[pairs.first.numpy(), pairs.second.numpy()]) / 2
    np.testing.assert_allclose(pair_correlation(vectors, pairs).numpy(), expected, rtol=1e-12)


def test_pair_correlation_in_blocks() -> None:
    """More pairs than one block holds give the same as any of them alone."""
    segments = Segments.from_sizes(torch.full((900,), 8))
    pairs = SentencePairs(segments)
    vectors = uniform(segments.total, 5)
    correlation = pair_correlation(vectors, pairs)
    assert correlation.shape[0] == 900 * 28 > 16_384
    sentences, _ = segments.select(torch.tensor([899]))
    alone = pair_correlation(vectors[sentences], SentencePairs(Segments(torch.tensor([0, 8]))))
    assert torch.equal(correlation[-28:], alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_vectors_correlate_with_nothing(dtype: torch.dtype) -> None:
    """A constant or zero vector has no Pearson correlation: 1/2, neither NaN nor rounding noise."""
    ramp = torch.arange(384, dtype=dtype)
    # The mean of these rounds, and the noise it leaves would correlate perfectly with itself.
    constant = torch.full((384,), 0.7, dtype=dtype)
    vectors = torch.stack([constant, constant, torch.zeros_like(ramp), ramp, -ramp])
    correlation = pair_correlation(vectors, SentencePairs(Segments(torch.tensor([0, 5]))))
    torch.testing.assert_close(correlation, torch.tensor([0.5] * 9 + [0.0], dtype=dtype))


@settings(deadline=None, max_examples=40)
@given(ragged(), st.integers(0, 100))
def test_correlation_penalty_is_a_double_loop(bags: Bags, seed: int) -> None:
    """The term is METHOD's sum over the pairs of a bag, divided by its number of sentences."""
    logits, segments = tensors(bags)
    pairs = SentencePairs(segments)
    correlation = uniform(pairs.first.shape[0], seed=seed)
    queue, expected = iter(correlation.tolist()), []
    for bag in bags:
        p = [sigmoid(z) for z in bag]
        total = 0.0
        for x in range(len(p)):
            for z in range(x + 1, len(p)):
                c = next(queue)
                total += abs((1 - p[x]) * (1 - p[z]) - c) * abs(p[x] * p[z] - c)
        expected.append(total / len(p))
    penalty = correlation_penalty(torch.sigmoid(torch.stack([logits, -logits])), correlation, pairs)
    torch.testing.assert_close(penalty[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_correlation_penalty_of_agreement() -> None:
    """Perfectly correlated sentences cost nothing when they agree for certain, and 1/2 when they are opposite."""
    pairs = SentencePairs(Segments(torch.tensor([0, 2, 4, 6])))
    penalty = correlation_penalty(torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]), torch.ones(3), pairs)
    assert penalty.tolist() == [0.0, 0.0, 0.5]


def test_pairs_of_a_mini_batch() -> None:
    """Correlations computed once and cut with `select` give the penalties of the bags taken."""
    logits, segments = random_segments(40)
    p, pairs = torch.sigmoid(logits), SentencePairs(segments, 5)
    correlation = pair_correlation(uniform(segments.total, 6), pairs)
    bags = torch.tensor([7, 3, 30, 0, 3])
    sentences, _ = segments.select(bags)
    indices, part = pairs.select(bags)
    whole = correlation_penalty(p, correlation, pairs)
    assert torch.equal(correlation_penalty(p[sentences], correlation[indices], part), whole[bags])


@settings(deadline=None, max_examples=40)
@given(ragged(), st.integers(0, 100))
def test_neighbour_penalty_is_a_loop(bags: Bags, seed: int) -> None:
    """The term is a mean over neighbours, then sentences; absent ones and negative similarities count nothing."""
    logits, segments = tensors(bags)
    p, n = torch.sigmoid(logits), segments.total
    neighbours = (uniform(n, 3, seed=seed) * (n + 1)).long() - 1
    similarity = 2 * uniform(n, 3, seed=seed + 1) - 0.5
    cost = []
    for i in range(n):
        present = [k for k in range(3) if neighbours[i, k] >= 0]
        terms = [max(0.0, float(similarity[i, k])) * float(p[i] - p[neighbours[i, k]]) ** 2 for k in present]
        cost.append(sum(terms) / max(1, len(terms)))
    offsets = segments.offsets.tolist()
    expected = [sum(cost[low:high]) / (high - low) for low, high in zip(offsets, offsets[1:], strict=False)]
    penalty = neighbour_penalty(torch.stack([p, 1 - p]), torch.stack([p, 1 - p]), neighbours, similarity, segments)
    torch.testing.assert_close(penalty[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(penalty[1], penalty[0], rtol=1e-9, atol=1e-12)


def test_neighbours_outside_the_mini_batch() -> None:
    """Neighbours are looked up among all sentences, of which the batch may be a part."""
    everyone = torch.tensor([0.9, 0.1, 0.5, 1.0])
    batch = torch.tensor([0.5], requires_grad=True)
    penalty = neighbour_penalty(
        batch, everyone, torch.tensor([[0, 3, -1]]), torch.tensor([[1.0, 0.5, 9.0]]), Segments(torch.tensor([0, 1]))
    )
    assert penalty.tolist() == pytest.approx([(0.16 + 0.125) / 2])
    penalty.sum().backward()
    assert batch.grad is not None
    assert batch.grad.tolist() == pytest.approx([(2 * -0.4 + 2 * 0.5 * -0.5) / 2])


def test_no_neighbours_no_penalty() -> None:
    """Zero neighbour columns, or none found, cost nothing."""
    segments, p = Segments(torch.tensor([0, 2])), torch.tensor([0.1, 0.9])
    none = torch.zeros(2, 0)
    assert neighbour_penalty(p, p, none.long(), none, segments).tolist() == [0.0]
    assert neighbour_penalty(p, p, torch.tensor([[-1], [-1]]), torch.ones(2, 1), segments).tolist() == [0.0]


def test_gradcheck() -> None:
    """Analytic gradients of all terms equal finite differences."""
    flat, segments = tensors([[0.3, -1.0, 2.0], [0.5], [1.5, -0.5]])
    values = torch.stack([flat, flat.flip(0)]).requires_grad_()
    labels = torch.tensor([1.0, 0.0, math.nan], dtype=torch.float64)
    prior = torch.tensor([0.2, 0.5, math.nan, math.nan, 0.9, 0.1], dtype=torch.float64)
    pairs = SentencePairs(segments)
    correlation = uniform(pairs.first.shape[0])
    neighbours, similarity = torch.tensor([[1, 3], [2, -1], [5, 0], [-1, -1], [0, 1], [3, 2]]), uniform(6, 2)

    def terms(z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        p = torch.sigmoid(z)
        return (
            bag_cross_entropy(aggregate("noisy_or", z, segments), labels),
            prior_cross_entropy(z, prior, segments),
            correlation_penalty(p, correlation, pairs),
            neighbour_penalty(p, p, neighbours, similarity, segments),
        )

    assert torch.autograd.gradcheck(terms, (values,))


def test_work_is_vectorised() -> None:
    """A training step's terms take as many tensor operations on 20,000 bags as on 30, pairs included."""

    def count(bags: int) -> int:
        logits, segments = random_segments(bags)
        neighbours = torch.arange(segments.total)[:, None].flip(0)
        labels = torch.ones(bags)

        def step() -> None:
            pairs = SentencePairs(segments).select(torch.arange(bags))[1]
            p = torch.sigmoid(logits)
            bag_cross_entropy(aggregate("noisy_and", logits, segments), labels)
            prior_cross_entropy(logits, p, segments)
            correlation_penalty(p, pairs.first.double(), pairs)
            neighbour_penalty(p, p, neighbours, p[:, None], segments)

        return operations(step)

    assert count(20_000) == count(30) < 250
