"""Products through oneDNN against float64."""

from __future__ import annotations

import pytest
import torch

from fractal_core.mil.scorers import products
from fractal_core.mil.scorers.products import affine


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a product, and whatever the processor, it goes through oneDNN."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[attr-defined]
        pytest.skip("PyTorch has no oneDNN here")
    monkeypatch.setattr(products, "_FEWEST", 0)
    monkeypatch.setattr(products, "_faster", lambda: True)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(5, 7, 3), (1, 4, 6), (64, 33, 1)])
def test_products_and_gradients(
    onednn: None, monkeypatch: pytest.MonkeyPatch, members: int | None, rows: int, inner: int, columns: int
) -> None:
    """Through oneDNN as without it, and as in float64: the product, and the gradient of each part."""
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


def test_only_what_needs_a_gradient_has_one(onednn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features take none: a third of the work of training the first layer."""
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


@pytest.mark.parametrize(("processor", "expected"), [("AMD EPYC", True), ("Intel Xeon", False), (None, True)])
def test_mkl_is_left_to_intel(monkeypatch: pytest.MonkeyPatch, processor: str | None, expected: bool) -> None:
    """There it is the faster one."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {} if processor is None else {"cpu_name": processor})
    assert products._faster.__wrapped__() is expected


def test_a_row_is_the_same_beside_others(onednn: None) -> None:
    """To the last bit, whichever rows of weights are multiplied with it."""
    generator = torch.Generator().manual_seed(0)
    weights, rows = torch.randn(96, 200, generator=generator), torch.randn(200, 50, generator=generator)
    whole = affine(torch.zeros(96), weights, rows)
    part = affine(torch.zeros(24), weights[24:48], rows)
    assert torch.equal(whole[24:48], part)
