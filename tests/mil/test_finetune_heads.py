"""The heads on the encoder: their logits by hand, and the scale that an untrained one starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_texts import family_bags
from transformers import AutoModel, AutoTokenizer

from fractal_core.mil.finetune.heads import HEADS
from fractal_core.mil.finetune.member import calibrate, head_logits, read
from fractal_core.mil.finetune.reading import reading_of


def by_hand(folder, first, second=None):
    """Vector of one text or pair, alone and in float64."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        arguments = (first,) if second is None else (first, second)
        pooled = model(**tokenizer(*arguments, return_tensors="pt")).last_hidden_state[0].double().mean(0)
    return (pooled / pooled.norm()).numpy()


@pytest.mark.parametrize("family", ["query", "context"])
def test_bi_logits_by_hand(encoder, family):
    """Logit = a * largest cosine + b; without anything to compare with the cosine counts as 0."""
    bags = family_bags()
    reading = reading_of(encoder, bags, "bi", family)
    needed, rows = reading.select(torch.tensor([2, 0, 1]))
    parameters = {"log_scale": torch.tensor(1.3), "bias": torch.tensor(-0.7)}
    found = head_logits(HEADS["bi"], parameters, read(encoder, reading, needed), rows)
    expected = []
    for sentence in (2, 0, 1):
        own = by_hand(encoder.folder, bags.texts[bags.sentence[sentence]])
        others = [by_hand(encoder.folder, bags.texts[p]) for p in bags.partners[family][sentence].tolist() if p >= 0]
        expected.append(np.exp(1.3) * max((own @ other for other in others), default=0.0) - 0.7)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["query", "context"])
def test_cross_logits_by_hand(encoder, family):
    """Logit = the best over pairs [u; x] of w . vector * sqrt(D) + b; a sentence alone is paired with nothing."""
    bags = family_bags()
    reading = reading_of(encoder, bags, "cross", family)
    needed, rows = reading.select(torch.tensor([1, 2, 0]))
    weights = torch.linspace(-1, 1, 32)
    parameters = {"weights": weights, "bias": torch.tensor(0.4)}
    found = head_logits(HEADS["cross"], parameters, read(encoder, reading, needed), rows)
    expected = []
    for sentence in (1, 2, 0):
        own = bags.texts[bags.sentence[sentence]]
        partners = [bags.texts[p] for p in bags.partners[family][sentence].tolist() if p >= 0] or [""]
        vectors = [by_hand(encoder.folder, partner, own) for partner in partners]
        expected.append(max(v @ weights.double().numpy() * np.sqrt(32) for v in vectors) + 0.4)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_calibration_finds_the_best_scale():
    """The fitted a and b have a lesser loss than any neighbour, and a is positive although the labels oppose it."""
    random = np.random.default_rng(0)
    cosine = torch.from_numpy(random.uniform(0.2, 0.8, 400).astype(np.float32))
    target = torch.from_numpy((random.random(400) < 1 / (1 + np.exp(-(6 * cosine.numpy() - 3)))).astype(np.float32))

    def loss(logits):
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target)

    found, reached = calibrate(HEADS["bi"], cosine, loss)
    assert 3 < float(found["log_scale"].exp()) < 12
    for name in found:
        for step in (-0.2, 0.2):
            moved = {**found, name: found[name] + step}
            assert float(loss(HEADS["bi"].logits(moved, cosine))) > reached - 1e-3
    opposed, _ = calibrate(HEADS["bi"], -cosine, loss)
    assert 0 < float(opposed["log_scale"].exp()) < 2
