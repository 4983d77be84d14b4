"""A fixture of the tests of fine-tuning."""

from __future__ import annotations

import pytest

from fractal_core.mil.finetune.encoder import TrainableEncoder


@pytest.fixture
def encoder(deep_encoder):
    """An untrained small encoder on the CPU."""
    return TrainableEncoder(deep_encoder, "cpu", max_tokens=32, batch_tokens=4096)
