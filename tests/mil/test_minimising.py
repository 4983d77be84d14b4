"""Minima of several functions at once."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fractal_core.mil.minimising import minimise


def quadratics(centres: Tensor, curvatures: Tensor):
    """Return 0.5 (x - c)' A (x - c) of each c and A."""

    def functions(points: Tensor) -> tuple[Tensor, Tensor]:
        gradient = (curvatures @ (points - centres)[..., None]).squeeze(-1)
        return 0.5 * (gradient * (points - centres)).sum(1), gradient

    return functions


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
def test_quadratics(seed, count, width):
    """Their minima are where they are known to be, however steep they are."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, width, width, generator=generator, dtype=torch.float64)
    steep = 10 ** (4 * torch.rand(count, 1, 1, generator=generator, dtype=torch.float64) - 2)
    curvatures = steep * (root @ root.transpose(1, 2) + 0.1 * torch.eye(width))
    centres = torch.randn(count, width, generator=generator, dtype=torch.float64)
    found = minimise(quadratics(centres, curvatures), torch.zeros(count, width, dtype=torch.float64))
    torch.testing.assert_close(found, centres, rtol=1e-5, atol=2e-5)


def rosenbrock(points: Tensor) -> tuple[Tensor, Tensor]:
    """A bent valley with its minimum at (1, 1)."""
    x, y = points.T
    value = (1 - x) ** 2 + 100 * (y - x * x) ** 2
    return value, torch.stack([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)], dim=1)


def test_a_bent_valley():
    """From both sides of it."""
    start = torch.tensor([[-1.2, 1.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(minimise(rosenbrock, start), torch.ones(3, 2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_minimum_does_not_depend_on_what_else_is_looked_for():
    """To the last bit, beside functions that take longer, and in another order."""
    start = torch.tensor([[-1.2, 1.0], [0.9, 0.9], [1.0, 1.0]], dtype=torch.float64)
    together = minimise(rosenbrock, start)
    for row in range(3):
        assert torch.equal(minimise(rosenbrock, start[row : row + 1])[0], together[row])
    assert torch.equal(minimise(rosenbrock, start.flip(0)), together.flip(0))
    assert torch.equal(together[2], start[2])


def test_steps_that_overflow_are_shortened():
    """A value that is no number is no gain: exp(exp(x)) - 10 x, where a long step overflows."""

    def functions(points: Tensor) -> tuple[Tensor, Tensor]:
        inner = points[:, 0].exp()
        return inner.exp() - 10 * points[:, 0], (inner * inner.exp() - 10)[:, None]

    found = float(minimise(functions, torch.tensor([[-40.0]], dtype=torch.float64)))
    assert math.exp(found) * math.exp(math.exp(found)) == pytest.approx(10, abs=1e-6)


def test_nothing_to_look_for():
    """No functions, or none that takes a number."""
    for shape in ((0, 2), (3, 0)):
        start = torch.zeros(shape, dtype=torch.float64)
        assert minimise(lambda points: (points.sum(1), points), start).shape == shape


def test_few_evaluations():
    """A quadratic of two numbers, of the size of a loss, takes about a dozen."""
    calls = []
    functions = quadratics(torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[[0.2, 0.05], [0.05, 0.1]]]).double())

    def counted(points: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(points))
        return functions(points)

    minimise(counted, torch.zeros(1, 2, dtype=torch.float64))
    assert len(calls) <= 15


def hills(points: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + x^2): curved downwards beyond 1, ever flatter away from its minimum at 0."""
    (x,) = points.T
    return torch.log1p(x * x), (2 * x / (1 + x * x))[:, None]


def test_steps_grow_where_it_is_flat():
    """A minimum that is far away down a slope without curvature is reached, not crept towards."""
    calls = []

    def counted(points: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(points))
        return hills(points)

    found = minimise(counted, torch.tensor([[300.0], [-40.0]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.zeros(2, 1, dtype=torch.float64), rtol=0, atol=1e-7)
    assert len(calls) < 60


def test_a_function_that_is_no_number_stays_where_it_is():
    """At once everywhere, or wherever a step would lead; the others go on."""
    start = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)

    def functions(points: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = points.T
        value, gradient = 0.5 * x * x, x.clone()
        value[0] = gradient[0] = torch.nan
        gradient[1] = torch.where(x[1] == 2, x[1], torch.nan)
        return value, gradient[:, None]

    torch.testing.assert_close(minimise(functions, start), torch.tensor([[1.0], [2.0], [0.0]]).double())
