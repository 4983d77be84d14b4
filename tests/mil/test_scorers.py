"""Scorers: batched members equal one member at a time, gradients reach what is trained, features are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.scorers.linear import Linear, contributions
from fractal_core.mil.scorers.parameters import copy, penalise, replace
from fractal_core.mil.scorers.perceptron import Perceptron
from fractal_core.mil.scorers.registry import SCORERS


def drawn(scorer, members, width, seed=0):
    """Parameters with nothing zero, in float64."""
    generator = torch.Generator().manual_seed(seed)
    parameters = scorer.start(members, width, generator)
    return {
        name: (tensor + 0.3 * torch.randn(tensor.shape, generator=generator)).double().abs()
        if name == "offset"
        else (tensor + 0.3 * torch.randn(tensor.shape, generator=generator)).double()
        for name, tensor in parameters.items()
    }


def gelu(x):
    """GELU by its definition."""
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def slow_logit(parameters, member, layers, row, prior):
    """One member, one sentence, one number at a time."""
    values = list(row)
    for layer in range(layers):
        weights, bias = parameters[f"weights.{layer}"][member], parameters[f"bias.{layer}"][member]
        values = [
            gelu(sum(float(w) * v for w, v in zip(weights[unit], values, strict=True)) + float(bias[unit]))
            for unit in range(len(bias))
        ]
    output = sum(float(w) * v for w, v in zip(parameters["weights"][member], values, strict=True))
    return output + float(parameters["bias"][member]) + float(parameters["offset"][member]) * prior


CASES = [(Linear(), 0), (Perceptron((3,)), 1), (Perceptron((0.5, 0.25)), 2), (Perceptron((5, 0.3, 2)), 3)]


@pytest.mark.parametrize(("scorer", "layers"), CASES)
@settings(max_examples=15)
@given(members=st.integers(1, 4), width=st.integers(1, 6), count=st.integers(0, 5), seed=st.integers(0, 99))
def test_batched_members_equal_slow_ones(scorer, layers, members, width, count, seed):
    """Every logit is the one that plain Python finds."""
    parameters = drawn(scorer, members, width, seed)
    random = torch.Generator().manual_seed(seed + 1)
    features = torch.randn(count, width, generator=random, dtype=torch.float64)
    prior = torch.randn(count, generator=random, dtype=torch.float64)
    expected = [
        [slow_logit(parameters, m, layers, row, p) for row, p in zip(features.tolist(), prior.tolist(), strict=True)]
        for m in range(members)
    ]
    found = scorer.logits(parameters, features, prior)
    assert found.shape == (members, count)
    np.testing.assert_allclose(found.numpy(), np.array(expected).reshape(members, count), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SCORERS)
def test_starts_at_nothing_and_can_leave(name):
    """Fresh members score 0; one step of gradient moves the score; the start is drawn from the seed alone."""
    scorer = SCORERS[name]
    parameters = scorer.start(3, 8, torch.Generator().manual_seed(0))
    again = scorer.start(3, 8, torch.Generator().manual_seed(0))
    assert all(torch.equal(parameters[key], again[key]) for key in parameters)
    assert all(len(tensor) == 3 for tensor in parameters.values())
    features, prior = torch.randn(20, 8, generator=torch.Generator().manual_seed(1)), torch.ones(20)
    assert not scorer.logits(parameters, features, prior).any()
    for _ in range(2):
        for tensor in parameters.values():
            tensor.requires_grad_()
        scorer.logits(parameters, features, prior)[:, :5].sum().backward()
        parameters = {key: (tensor + 0.1 * tensor.grad).detach() for key, tensor in parameters.items()}
    moved = scorer.start(3, 8, torch.Generator().manual_seed(0))
    assert all(not torch.equal(parameters[key], moved[key]) for key in parameters)


@pytest.mark.parametrize("scorer", [scorer for scorer, _ in CASES])
def test_gradients_are_right(scorer):
    """Analytic gradients of logits agree with finite differences in float64."""
    parameters = drawn(scorer, 2, 4)
    names = list(parameters)
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    prior = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)

    def logits(*tensors):
        return scorer.logits(dict(zip(names, tensors, strict=True)), features, prior)

    assert torch.autograd.gradcheck(logits, [parameters[name].requires_grad_() for name in names])


def test_penalty_is_half_the_squared_norm():
    """The gradients are those of the loss with each member's penalty in it; what is not named has the loss's own."""
    names, penalty = ["weights.0", "weights"], torch.tensor([0.5, 3.0], dtype=torch.float64)
    gradients = []
    for by_hand in (True, False):
        parameters = drawn(Perceptron((3,)), 2, 4)
        for tensor in parameters.values():
            tensor.requires_grad_()
        loss = sum(tensor.pow(4).sum() for tensor in parameters.values())
        ridge = 0.5 * torch.stack([parameters[name].square().flatten(1).sum(1) for name in names]).sum(0)
        (loss if by_hand else loss + (penalty * ridge).sum()).backward()
        if by_hand:
            penalise(parameters, names, penalty)
        gradients.append([tensor.grad for tensor in parameters.values()])
    torch.testing.assert_close(*gradients)


def test_best_reading_counts():
    """Of several readings of a sentence the largest output is its score, and repeating the best changes nothing."""
    scorer = Perceptron((4,))
    parameters = drawn(scorer, 3, 5)
    features = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    prior = torch.linspace(-1, 1, 6, dtype=torch.float64)
    each = torch.stack([scorer.logits(parameters, features[:, c], prior) for c in range(2)])
    torch.testing.assert_close(scorer.logits(parameters, features, prior), each.amax(0))
    padded = torch.cat([features, features[:, :1]], dim=1)
    torch.testing.assert_close(scorer.logits(parameters, padded, prior), each.amax(0))


def test_blocks_change_nothing(monkeypatch):
    """Without gradient rows are scored in blocks, to the same logits."""
    scorer = Perceptron((4, 3))
    parameters = drawn(scorer, 2, 5)
    features, prior = torch.randn(11, 5, dtype=torch.float64), torch.zeros(11, dtype=torch.float64)
    whole = scorer.logits(parameters, features, prior)
    monkeypatch.setattr("fractal_core.mil.scorers.perceptron._NUMBERS_AT_ONCE", 16)
    with torch.no_grad():
        torch.testing.assert_close(scorer.logits(parameters, features, prior), whole)


def test_copy_and_replace_members():
    """Copies share nothing; replacing overwrites the members named and no other."""
    scorer = Perceptron((2,))
    parameters = drawn(scorer, 3, 4)
    for tensor in parameters.values():
        tensor.requires_grad_()
    chosen = copy(parameters, torch.tensor([2, 0, 2]))
    assert all(torch.equal(chosen[key], parameters[key][[2, 0, 2]]) for key in parameters)
    mine, before = copy(parameters), copy(parameters)
    other = {key: tensor + 1 for key, tensor in parameters.items()}
    replace(mine, torch.tensor([1]), other)
    for key, tensor in mine.items():
        assert not tensor.requires_grad
        assert torch.equal(tensor[1], before[key][1] + 1)
        assert torch.equal(tensor[[0, 2]], before[key][[0, 2]])
        assert torch.equal(parameters[key], before[key])


def test_contributions_add_up():
    """Contributions and the mean bias sum to the mean logit, and the prior's is the last."""
    parameters = drawn(Linear(), 4, 3)
    features, prior = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    parts = contributions(parameters, features, prior)
    assert parts.shape == (7, 4)
    whole = Linear().logits(parameters, features, prior).mean(0)
    torch.testing.assert_close(parts.sum(1) + parameters["bias"].mean(), whole)
    torch.testing.assert_close(parts[:, 3], parameters["offset"].mean() * prior)
    torch.testing.assert_close(parts[:, 1], parameters["weights"][:, 1].mean() * features[:, 1])


@pytest.mark.parametrize("hidden", [(), (0,), (-3,), (2.5,), (0.5, 0.0)])
def test_impossible_widths(hidden):
    """Widths that are neither fractions nor whole numbers are refused."""
    with pytest.raises(ValueError, match="Hidden widths"):
        Perceptron(hidden)


def test_paper_widths():
    """FRACTAL's scorer of 3 x 384 dimensions has layers of a half and a quarter of them."""
    assert SCORERS["concat"].widths(1152) == [576, 288]
