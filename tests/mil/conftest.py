"""A fixture of the tests of fine-tuning."""

from __future__ import annotations

import pytest

from fractal_core.mil.finetune.encoder import TrainableEncoder


@pytest.fixture
def encoder(tiny_encoder):
    """An untrained tiny encoder on the CPU."""
    return TrainableEncoder(tiny_encoder, "cpu", max_tokens=32, batch_tokens=4096)
