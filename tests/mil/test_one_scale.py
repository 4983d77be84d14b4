"""One scale for all members, whatever scorer they are of, and the held-out loss by which they are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import TASK, make_examples

from fractal_core.mil.calibration import calibrate
from fractal_core.mil.ensemble import Component, cross_fitted, ensemble_extra, ensemble_logits
from fractal_core.mil.guard import assess, on_one_scale
from fractal_core.mil.held_out import held_out_loss
from fractal_core.mil.scorers.registry import SCORERS


def members(examples, slopes, biases):
    """A linear component whose members have these slopes on the first feature, and biases."""
    weights = torch.zeros(len(slopes), examples.features.shape[1])
    weights[:, 0] = torch.tensor(slopes)
    teams = len(slopes)
    parameters = {
        "weights": weights,
        "bias": torch.tensor(biases),
        "offset": torch.zeros(teams),
        "extra": torch.zeros(teams, 0),
        "attention": torch.ones(teams, examples.features.shape[1]),
    }
    return Component("head", "evidence", "none", parameters)


def test_members_are_standardised():
    """Whatever scale and bias members were trained to, on one scale those that rank alike say the same."""
    examples, _ = make_examples()
    plain = members(examples, [1.0] * 4, [0.0] * 4)
    uneven = members(examples, [0.1, 5.0, 1.0, 40.0], [-3.0, 0.0, 7.0, 20.0])
    first, second = (on_one_scale([each], examples, TASK)[0] for each in (plain, uneven))
    assert torch.allclose(first.logits(examples), second.logits(examples), atol=2e-3)
    assert "attention" not in second.parameters
    assert assess(examples, TASK, [second]) < assess(examples, TASK, [uneven])


def test_the_mean_of_components_is_what_is_calibrated():
    """Each member's weighted mean goes through one increasing line, and its standardised score is calibrated."""
    examples, _ = make_examples()
    turned = members(examples, [2.0, 1.0, 0.5, 1.0], [1.0, 0.0, -1.0, 2.0])
    turned.parameters["weights"][:, 1] = torch.tensor([1.0, -2.0, 0.0, 0.5])
    parts = [replace(members(examples, [1.0, 3.0, 1.0, 2.0], [0.0] * 4), share=0.25), replace(turned, share=0.75)]
    before = ensemble_logits(parts, examples)
    scaled = on_one_scale(parts, examples, TASK)
    after = ensemble_logits(scaled, examples)
    z = (before - before.mean(1, keepdim=True)) / before.std(1, keepdim=True)
    by = calibrate(examples, TASK, cross_fitted(z, examples)[0])
    assert torch.allclose(after, by["offset"][:, None] * z + by["bias"][:, None], atol=1e-3)
    assert [part.share for part in scaled] == [0.25, 0.75]
    assert torch.equal(ensemble_extra(scaled), by["extra"])


def test_a_fine_tuned_component_is_scaled_too():
    """What a scorer outside said of the sentences is put on one scale by its offset and bias."""
    examples, truth = make_examples()
    given = torch.stack([slope * examples.features[:, 0] - slope for slope in (1.0, 2.0, 5.0, 10.0)])
    parameters = {
        "weights": torch.zeros(4, 0), "bias": torch.zeros(4), "offset": torch.ones(4), "extra": torch.zeros(4, 0),
    }  # fmt: skip
    (scaled,) = on_one_scale([Component("tuned", "evidence", "none", parameters, given=given)], examples, TASK)
    logits = scaled.logits(examples)
    plain = on_one_scale([members(examples, [1.0] * 4, [0.0] * 4)], examples, TASK)[0].logits(examples)
    assert torch.allclose(logits, plain, atol=2e-3)


def test_every_scorer_is_put_on_one_scale():
    """Scaling a scorer's parameters scales its logits, for every scorer there is."""
    examples, _ = make_examples(responses=60)
    for name, scorer in SCORERS.items():
        parameters = scorer.start(4, 3, torch.Generator().manual_seed(0))
        noise = torch.Generator().manual_seed(1)
        parameters = {key: torch.randn(tensor.shape, generator=noise) for key, tensor in parameters.items()}
        parameters["offset"] = parameters["offset"].abs()
        parameters["extra"] = torch.zeros(4, 0)
        raw = Component(name, name, "context", parameters)
        (scaled,) = on_one_scale([raw], examples, TASK)
        before, after = raw.logits(examples), scaled.logits(examples)
        factor = after.std(1) / before.std(1)
        expected = factor[:, None] * (before - before.mean(1, keepdim=True)) + after.mean(1, keepdim=True)
        assert torch.allclose(after, expected, atol=1e-3)
        judged = held_out_loss(examples, TASK, cross_fitted(after, examples)[0][None], torch.zeros(1, 0))
        assert judged == pytest.approx(assess(examples, TASK, [scaled]))


def test_assess_is_the_mean_held_out_loss():
    """Taught train units by their own fold's member, dev units by the mean of all; nobody else counts."""
    examples, _ = make_examples()
    labels = examples.labels.clone()
    labels[5] = torch.nan
    examples = replace(examples, labels=labels, dev=examples.dev & ~torch.isnan(labels))
    component = members(examples, [1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 1.0, 1.5])
    total, count = 0.0, 0
    logits = component.logits(examples)
    for response in range(examples.segments.count):
        if torch.isnan(labels[response]):
            continue
        fold = int(examples.fold[0, response])
        rows = examples.segments.ids == response
        z = (logits[fold] if fold >= 0 else logits.mean(0))[rows].double()
        positive = float(torch.sigmoid(z).prod())
        total -= np.log(positive if labels[response] == 1 else 1 - positive)
        count += 1
    assert assess(examples, TASK, [component]) == pytest.approx(total / count, rel=1e-4)
