"""Products through oneDNN against float64."""

from __future__ import annotations

import pytest
import torch

from fractal_core.mil.scorers import products
from fractal_core.mil.scorers.products import affine


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(5, 7, 3), (1, 4, 6), (64, 33, 1)])
def test_products_and_gradients(
    monkeypatch: pytest.MonkeyPatch, members: int | None, rows: int, inner: int, columns: int
) -> None:
    """Through oneDNN as without it, and as in float64: the product, and the gradient of each part."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[attr-defined]
        pytest.skip("PyTorch has no oneDNN here")
    generator = torch.Generator().manual_seed(rows)
    first = () if members is None else (members,)
    shapes = (*first, rows), (*first, rows, inner), (*first, inner, columns)
    exact = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    weight = torch.randn((*first, rows, columns), generator=generator, dtype=torch.float64)
    expected = exact[0][..., None] + exact[1] @ exact[2]
    gradients = torch.autograd.grad((expected * weight).sum(), exact)
    for fewest in (0, 10**12):
        monkeypatch.setattr(products, "_FEWEST", fewest)
        parts = [each.detach().float().requires_grad_() for each in exact]
        found = affine(*parts)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(torch.autograd.grad((found * weight.float()).sum(), parts), gradients, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_only_what_needs_a_gradient_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features take none: a third of the work of training the first layer."""
    monkeypatch.setattr(products, "_FEWEST", 0)
    made: list[torch.Size] = []
    multiply = products._multiply

    def counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        made.append(left.shape)
        return multiply(left, right)

    monkeypatch.setattr(products, "_multiply", counted)
    bias, weights, rows = torch.zeros(4), torch.randn(4, 6, requires_grad=True), torch.randn(6, 9)
    affine(bias, weights, rows).sum().backward()
    assert made == [torch.Size((4, 6)), torch.Size((4, 9))]
    assert weights.grad is not None


def test_a_row_is_the_same_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, whichever rows of weights are multiplied with it."""
    monkeypatch.setattr(products, "_FEWEST", 0)
    generator = torch.Generator().manual_seed(0)
    weights, rows = torch.randn(96, 200, generator=generator), torch.randn(200, 50, generator=generator)
    whole = affine(torch.zeros(96), weights, rows)
    part = affine(torch.zeros(24), weights[24:48], rows)
    assert torch.equal(whole[24:48], part)
