"""Attention pooling: a mean weighted by the softmax of attention logits."""

from __future__ import annotations

import pytest
import torch
from brute_force import EXTREMES, Bags, ragged, random_segments, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.aggregations import aggregate

attention_logits = st.floats(-6, 6, width=32)


@settings(deadline=None, max_examples=40)
@given(bags=ragged(-30, 30), data=st.data())
def test_attention_is_a_weighted_mean(bags: Bags, data: st.DataObject) -> None:
    """The softmax of the attention logits weighs the probabilities; the same for every leading dimension."""
    weights = [data.draw(st.lists(attention_logits, min_size=len(bag), max_size=len(bag))) for bag in bags]
    logits, segments = tensors(bags)
    attention, _ = tensors(weights)
    result = aggregate("attention", torch.stack([logits, -logits]), segments, attention)
    expected = [
        (torch.softmax(torch.tensor(a).double(), 0) * torch.sigmoid(torch.tensor(z).double())).sum()
        for a, z in zip(weights, bags, strict=True)
    ]
    torch.testing.assert_close(result.positive[0].exp(), torch.stack(expected), rtol=1e-11, atol=0)
    torch.testing.assert_close(result.negative[1], result.positive[0], rtol=1e-10, atol=1e-15)


def test_equal_attention_is_the_average() -> None:
    """Attention logits that do not differ give the plain mean."""
    logits, segments = random_segments(60)
    result = aggregate("attention", logits, segments, torch.full_like(logits, 3.0))
    torch.testing.assert_close(torch.stack(result), torch.stack(aggregate("avg", logits, segments)))


def test_attention_learns() -> None:
    """Gradients of values and attention equal finite differences, and are finite at +-1000."""
    flat, segments = tensors([[0.3, -1.0, 2.0], [0.5], [3.0, -3.0]])
    pair = (flat.clone().requires_grad_(), (flat.flip(0) / 2).requires_grad_())
    assert torch.autograd.gradcheck(lambda z, a: tuple(aggregate("attention", z, segments, a)), pair)
    for dtype in (torch.float32, torch.float64):
        flat, segments = tensors(EXTREMES, dtype)
        for attention in (flat, -flat, flat.flip(0)):
            values, weights = flat.clone().requires_grad_(), attention.clone().requires_grad_()
            result = aggregate("attention", values, segments, weights)
            assert torch.isfinite(torch.stack(result)).all()
            (result.positive.sum() + 2 * result.negative.sum()).backward()
            assert values.grad is not None
            assert weights.grad is not None
            assert torch.isfinite(values.grad).all()
            assert torch.isfinite(weights.grad).all()


def test_attention_must_be_given() -> None:
    """Attention pooling without attention logits is an error that says so."""
    with pytest.raises(ValueError, match="'attention' weighs sentences by attention logits"):
        aggregate("attention", *tensors([[0.0]]))
