"""Linear layers through oneDNN against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fractal_core.encode import linear
from fractal_core.encode.linear import PackedLinear, pack_linear_layers


@pytest.fixture
def layers():
    """Two linear layers, one without bias, and what is between them."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.ModuleDict({"inner": nn.Linear(40, 8, bias=False)}), nn.LayerNorm(8))


def test_products_are_those_of_torch(layers):
    """Same weights, same bias, any leading shape."""
    states = torch.randn(3, 7, 24)
    for layer, width in ((layers[0], 24), (layers[1]["inner"], 40)):
        rows = states if width == 24 else torch.randn(5, 40)
        torch.testing.assert_close(PackedLinear(layer, 16)(rows), layer(rows))


@torch.inference_mode()
def test_rows_do_not_depend_on_each_other(layers):
    """A row has the same bits wherever it stands, whatever the other rows are, on one thread and on three."""
    packed = PackedLinear(layers[0], 64)
    rows = torch.randn(64, 24)
    expected = packed(rows)
    order = torch.randperm(64)
    assert torch.equal(packed(rows[order]), expected[order])
    assert torch.equal(packed(torch.cat([rows[:9], torch.zeros(55, 24)]))[:9], expected[:9])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(packed(rows), expected)
    finally:
        torch.set_num_threads(before)


def test_every_linear_layer_is_replaced(layers):
    """However deep; nothing else is."""
    pack_linear_layers(layers, 16)
    assert isinstance(layers[0], PackedLinear)
    assert isinstance(layers[1]["inner"], PackedLinear)
    assert isinstance(layers[2], nn.LayerNorm)


def test_without_onednn_layers_stay(layers, monkeypatch):
    """Torch may have been built without it."""
    monkeypatch.setattr(linear.torch.backends.mkldnn, "is_available", lambda: False)
    pack_linear_layers(layers, 16)
    assert isinstance(layers[0], nn.Linear)
