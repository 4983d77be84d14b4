"""Reading texts to train on: once each, with the frozen encoder's vectors, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_texts import family_bags, loss_of, make_bags

from fractal_core.encode.encoder import Encoder
from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.gradients import accumulate
from fractal_core.mil.finetune.heads import HEADS
from fractal_core.mil.finetune.reading import reading_of


def test_vectors_are_those_of_the_frozen_encoder(encoder, deep_encoder):
    """Untrained, texts get the vectors of table `embeddings`, whatever the batches."""
    texts = ["milk", "a longer text about milk, 120 degrees", "", "x y" * 90, "two words"]
    units = encoder.texts(texts)
    expected = np.stack([reading.pooled for reading in Encoder(deep_encoder, 32).read(texts)])
    encoder.batch_tokens = 80
    chosen = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        np.testing.assert_allclose(encoder.read(units, chosen).numpy(), expected[chosen], atol=1e-5)


def test_each_text_is_read_once(encoder):
    """Units are distinct texts under bi and distinct pairs under cross, and a selection holds only what it needs."""
    bags = replace(family_bags(), sentence=torch.tensor([1, 1, 1]))
    texts, pairs = (reading_of(encoder, bags, mode, "context") for mode in ("bi", "cross"))
    assert len(texts.units) == 3
    assert len(pairs.units) == 3
    assert texts.select(torch.tensor([1]))[0].numel() == 2
    assert pairs.select(torch.tensor([1]))[0].numel() == 1


@pytest.mark.parametrize("mode", ["bi", "cross"])
def test_little_memory_same_gradient(tiny_encoder, mode):
    """Read in turns under a small token budget, loss and gradients are those of one pass."""
    bags, labels, _ = make_bags(12)
    head, batch = HEADS[mode], torch.arange(12)
    generator = torch.Generator().manual_seed(0)
    found = []
    for tokens in (100_000, 64):
        encoder = TrainableEncoder(tiny_encoder, "cpu", 32, tokens)
        reading = reading_of(encoder, bags, mode, "query")
        needed, rows = reading.select(torch.arange(len(bags.sentence)))
        weights = torch.randn(32, generator=generator.manual_seed(0))
        parameters = {"log_scale": torch.tensor(1.0), "weights": weights, "bias": torch.tensor(-0.5)}
        parameters = {name: value.requires_grad_() for name, value in parameters.items()}

        def objective(vectors, parameters=parameters, rows=rows):
            logits = head.logits(parameters, head.combine(vectors, rows))
            return loss_of(bags, labels)(logits[None], batch).mean()

        loss = accumulate(encoder, reading.units, needed, objective)
        grads = {n: p.grad for n, p in encoder.model.named_parameters() if p.grad is not None}
        found.append((loss, grads, parameters["bias"].grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    assert "embeddings.word_embeddings.weight" not in found[0][1]
    largest = max(float(gradient.abs().max()) for gradient in found[0][1].values())
    assert largest > 0
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-3, atol=1e-5 * largest)
    torch.testing.assert_close(found[1][2], found[0][2])
