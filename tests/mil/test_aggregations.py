"""Aggregations against their definitions in decimal arithmetic."""

from __future__ import annotations

import pytest
import torch
from brute_force import EXTREMES, Bags, log_probabilities, operations, permuted, ragged, random_segments, tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from fractal_core.mil.aggregations import (
    AGGREGATIONS,
    ATTENTIVE,
    FAMILIES,
    POOLINGS,
    BagLogProbabilities,
    aggregate,
)
from fractal_core.mil.segments import Segments

NAMES = tuple(AGGREGATIONS)
HARD_AND_NOISY = ("min", "max", "avg", "noisy_and", "noisy_or")
MONOTONE = tuple(name for name in NAMES if name not in FAMILIES["soft"])
SMOOTH = ("soft", "logsumexp", "power_mean")
names = pytest.mark.parametrize("name", NAMES)


def assert_matches_definition(name: str, bags: Bags, dtype: torch.dtype, tolerance: float) -> None:
    """Compare both log-probabilities of every bag, relatively and absolutely."""
    logits, segments = tensors(bags, dtype)
    result = aggregate(name, logits, segments)
    expected = torch.tensor([log_probabilities(name, bag) for bag in bags], dtype=torch.float64).T
    assert result.positive.dtype == result.negative.dtype == dtype
    actual = torch.stack(result).to(torch.float64)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=torch.finfo(dtype).tiny)


def test_every_pooling_names_aggregations() -> None:
    """Each pooling says which aggregation stands for min, max and avg, and all but attention average plainly."""
    assert set(POOLINGS) == {"hard", "noisy", "soft", "logsumexp", "power_mean", "attention"}
    assert POOLINGS["noisy"] == {"min": "noisy_and", "max": "noisy_or", "avg": "avg"}
    assert POOLINGS["power_mean"] == {"min": "power_min", "max": "power_max", "avg": "avg"}
    assert POOLINGS["attention"] == dict.fromkeys(("min", "max", "avg"), "attention")
    for pooling in POOLINGS.values():
        assert set(pooling) == {"min", "max", "avg"}
        assert set(pooling.values()) <= {*AGGREGATIONS, *ATTENTIVE}


@names
@settings(deadline=None, max_examples=30)
@given(bags=ragged(-30, 30))
def test_definition(name: str, bags: Bags) -> None:
    """Log-probabilities have twelve right digits, also where they are tiny."""
    assert_matches_definition(name, bags, torch.float64, 1e-12)


@names
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_definition_at_the_extremes(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """Logits of +-1000, near-equal huge ones and tiny ones are right in both precisions."""
    assert_matches_definition(name, EXTREMES, dtype, tolerance)


@names
@pytest.mark.parametrize("switch", [-12.0, 12.0, -6.9, 6.9, 0.6931])
def test_no_step_where_formulas_change(name: str, switch: float) -> None:
    """On both sides of every switch between series and closed form the value is right."""
    bags = [[switch + step] * n for step in (-1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.5) for n in (1, 2, 5)]
    assert_matches_definition(name, bags, torch.float64, 1e-13)


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_the_extremes(name: str, dtype: torch.dtype) -> None:
    """No gradient is NaN, infinite or of the wrong sign for any mixture of logits up to +-1000."""
    logits, segments = tensors(EXTREMES, dtype)
    for k in (0, 1):
        values = logits.clone().requires_grad_()
        aggregate(name, values, segments)[k].sum().backward()
        assert values.grad is not None
        assert torch.isfinite(values.grad).all()
        if name in MONOTONE:
            assert (values.grad >= 0).all() if k == 0 else (values.grad <= 0).all()


@pytest.mark.parametrize(("name", "side", "sign"), [("noisy_and", 1, 1.0), ("noisy_or", 0, -1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saturated_bag_still_learns(name: str, side: int, sign: float, dtype: torch.dtype) -> None:
    """Where every p rounds to the wrong side, the gradient shares -1 (or 1) among the sentences by responsibility."""
    bags = [[1000.0 * sign, 1000.0 * sign], [300.0 * sign, 1000.0 * sign, 300.0 * sign]]
    logits, segments = tensors(bags, dtype)
    values = logits.requires_grad_()
    aggregate(name, values, segments)[side].sum().backward()
    expected = -sign * torch.tensor([0.5, 0.5, 0.5, 0.0, 0.5], dtype=dtype)
    assert values.grad is not None
    torch.testing.assert_close(values.grad, expected)


@names
def test_gradcheck(name: str) -> None:
    """Analytic gradients of both log-probabilities equal finite differences."""
    flat, segments = tensors([[0.3, -1.0, 2.0], [0.5], [-14.0, -13.0], [9.0, 8.0, 14.0], [3.0, -3.0]])
    values = torch.stack([flat, -flat]).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: tuple(aggregate(name, z, segments)), (values,))


@pytest.mark.parametrize("name", ["min", "max"])
def test_hard_aggregations_teach_one_sentence(name: str) -> None:
    """The gradient of min and max reaches exactly one sentence a bag."""
    logits, segments = random_segments(40)
    values = logits.requires_grad_()
    aggregate(name, values, segments).positive.sum().backward()
    assert values.grad is not None
    assert segments.sum((values.grad != 0).long()).tolist() == [1] * 40


@pytest.mark.parametrize("name", MONOTONE)
@settings(deadline=None, max_examples=30)
@given(bags=ragged(-20, 20), raise_by=st.floats(0.0, 5.0))
def test_a_better_sentence_never_hurts(name: str, bags: Bags, raise_by: float) -> None:
    """Raising one logit never lowers log P(y = 1), never raises log P(y = 0)."""
    before = aggregate(name, *tensors(bags))
    after = aggregate(name, *tensors([[bag[0] + raise_by, *bag[1:]] for bag in bags]))
    slack = 1e-12
    assert (after.positive >= before.positive * (1 + slack) - slack).all()
    assert (after.negative <= before.negative * (1 - slack) + slack).all()


@names
@settings(deadline=None, max_examples=30)
@given(bags=ragged(-30, 30))
def test_probabilities_sum_to_one(name: str, bags: Bags) -> None:
    """P(y = 1) + P(y = 0) = 1."""
    result = aggregate(name, *tensors(bags))
    total = result.positive.exp() + result.negative.exp()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=30)
@given(bags=ragged(-30, 30))
def test_order_of_the_aggregations(bags: Bags) -> None:
    """noisy-AND <= min <= avg <= max <= noisy-OR."""
    logits, segments = tensors(bags)
    chain = [aggregate(n, logits, segments).positive.exp() for n in ("noisy_and", "min", "avg", "max", "noisy_or")]
    for smaller, larger in zip(chain, chain[1:], strict=False):
        assert (smaller <= larger + 1e-14).all()


@pytest.mark.parametrize(("mirror", "name"), [("avg", "avg"), *(family[:2] for family in FAMILIES.values())])
def test_mirror_symmetry(name: str, mirror: str) -> None:
    """MAX(p) = 1 - MIN(1 - p), to the last bit, and so for the others."""
    logits, segments = random_segments(60)
    one, other = aggregate(name, logits, segments), aggregate(mirror, -logits, segments)
    assert torch.equal(one.positive, other.negative)
    assert torch.equal(one.negative, other.positive)


@names
def test_a_single_sentence_is_its_own_bag(name: str) -> None:
    """A bag of one has its sentence's probability."""
    logits = torch.tensor([-1000.0, -20.0, -0.5, 0.0, 3.0, 1000.0], dtype=torch.float64)
    result = aggregate(name, logits, Segments(torch.arange(7)))
    torch.testing.assert_close(result.positive, logsigmoid(logits), rtol=1e-13, atol=1e-300)
    torch.testing.assert_close(result.negative, logsigmoid(-logits), rtol=1e-13, atol=1e-300)


@names
def test_bags_are_independent(name: str) -> None:
    """The order of bags, leading dimensions and other bags change nothing, to the last bit."""
    logits, segments = random_segments(50)
    order = permuted(segments)
    sentences, part = segments.select(order)
    whole = aggregate(name, logits, segments)
    assert torch.equal(aggregate(name, logits[sentences], part).negative, whole.negative[order])
    stacked = aggregate(name, torch.stack([logits, logits])[:, None], segments)
    assert stacked.positive.shape == (2, 1, 50)
    assert torch.equal(stacked.positive[1, 0], whole.positive)


@pytest.mark.parametrize("name", HARD_AND_NOISY)
def test_ten_thousand_sentences(name: str) -> None:
    """A bag of 10,000 sentences agrees with its definition, computed in the simple way on moderate logits."""
    logits = torch.linspace(-9, 9, 10_000, dtype=torch.float64)
    p = torch.sigmoid(logits)
    expected = {
        "min": p[0],
        "max": p[-1],
        "avg": p.mean(),
        "noisy_and": p.log().sum().exp(),
        "noisy_or": torch.tensor(1.0),
    }
    result = aggregate(name, logits, Segments(torch.tensor([0, 10_000])))
    torch.testing.assert_close(result.positive.exp(), expected[name].double()[None], rtol=1e-11, atol=0)
    assert torch.isfinite(torch.cat(result)).all()


@names
def test_work_is_vectorised(name: str) -> None:
    """100,000 bags take as many tensor operations as 30."""

    def count(bags: int) -> int:
        logits, segments = random_segments(bags)
        return operations(lambda: aggregate(name, logits, segments))

    assert count(100_000) == count(30) < 160


def test_an_unknown_name_lists_the_known() -> None:
    """The error names what was asked for and what there is."""
    with pytest.raises(ValueError, match="'median'.*avg, min, noisy_and.*attention"):
        aggregate("median", *tensors([[0.0]]))


@pytest.mark.parametrize("pooling", SMOOTH)
@settings(deadline=None, max_examples=30)
@given(bags=ragged(-30, 30))
def test_smooth_forms_lie_between_mean_and_extreme(pooling: str, bags: Bags) -> None:
    """A smooth minimum is at least the minimum, a smooth maximum at most the maximum; of probabilities, mean between.

    The log-mean-exp of logits is a mean of logits, not of probabilities, so the mean of logits bounds that one.
    """
    logits, segments = tensors(bags)
    mean = aggregate("avg", logits, segments).positive.exp()
    if pooling == "logsumexp":
        mean = torch.sigmoid(segments.mean(logits))
    low, high = (aggregate(POOLINGS[pooling][kind], logits, segments).positive.exp() for kind in ("min", "max"))
    least, most = torch.sigmoid(segments.minimum(logits)), torch.sigmoid(segments.maximum(logits))
    for smaller, larger in ((least, low), (low, mean), (mean, high), (high, most)):
        assert (smaller <= larger + 1e-13).all()


@pytest.mark.parametrize("pooling", SMOOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_forms_teach_every_sentence(pooling: str, dtype: torch.dtype) -> None:
    """Where sentences are alike all learn alike, from a bag's mistakes too: 1000 is as good as 1."""
    for level in (1.0, 1000.0):
        logits, segments = tensors([[level, level], [-level, -level]], dtype)
        values = logits.requires_grad_()
        result = aggregate(POOLINGS[pooling]["min"], values, segments)
        (result.negative[0] - result.positive[1]).backward()
        wrong = torch.sigmoid(torch.tensor(level)).item() / 2
        assert values.grad is not None
        torch.testing.assert_close(values.grad, torch.full((4,), -wrong, dtype=dtype))


def test_one_line_registers_an_aggregation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function put into the registry is found under its name."""

    def first(logits: torch.Tensor, segments: Segments) -> BagLogProbabilities:
        leading = logits[segments.offsets[:-1]]
        return BagLogProbabilities(logsigmoid(leading), logsigmoid(-leading))

    monkeypatch.setitem(AGGREGATIONS, "first", first)
    assert aggregate("first", *tensors([[0.0, 5.0]])).positive.exp().tolist() == [0.5]
