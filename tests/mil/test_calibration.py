"""Calibration: the scale and bias of every team, by the labels of responses that it did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import TASK, examples_of, make_examples

from fractal_core.mil.calibration import calibrate
from fractal_core.mil.held_out import UnitSentences, unit_losses
from fractal_core.mil.task import Task


def share(sentences):
    """The mean of true labels."""
    return float(sentences.mean())


@pytest.mark.parametrize(
    ("task", "label"),
    [(TASK, None), (Task("avg", "count", loss="count"), share)],
    ids=["min", "count"],
)
def test_calibration_recovers_scale_and_bias(task, label):
    """True log-odds are 2 x + 2: every team finds them from the labels of responses."""
    examples, _ = make_examples(responses=3000, signal=2.0, **({"label": label} if label else {}))
    found = calibrate(examples, task, examples.priors["context"])
    assert found["offset"].numpy() == pytest.approx([2.0] * 4, abs=0.25)
    assert found["bias"].numpy() == pytest.approx([2.0] * 4, abs=0.25)
    assert found["weights"].shape == (4, 0)


@pytest.mark.parametrize("kind", ["binary", "share", "ordinal", "preference", "real"])
def test_calibration_is_the_best(kind):
    """Nothing near it explains the labels of the other folds better, the extra numbers included."""
    if kind == "preference":
        examples, _ = make_examples(pairs=True)
        examples = replace(examples, labels=torch.where(torch.arange(120) % 5 == 0, 0.5, examples.labels))
    else:
        examples, _ = make_examples(label=share if kind in ("share", "real") else None)
    if kind == "ordinal":
        x = examples.features[:, 0]
        examples = replace(examples, labels=examples.segments.minimum(((x > -1).long() + (x > 0.3).long()).double()))
    task = Task("avg" if kind in ("share", "real") else "min", kind, grades=2).judged()
    noisy = examples.priors["context"] + torch.randn(
        examples.segments.total, generator=torch.Generator().manual_seed(1)
    )
    found = calibrate(examples, task, noisy)
    assert found["extra"].shape == (4, 1 if kind in ("ordinal", "preference") else 0)
    visible = examples.taught & (examples.unit_fold[0] != 2)

    def loss(offset, bias, extra):
        logits = (offset * noisy + bias).double()[None]
        ridge = 0.1 / int(visible.sum()) * float(torch.log(offset) ** 2 + bias**2 + extra.square().sum())
        return float(unit_losses(examples, task, logits, extra.double()[None])[0, visible].mean()) + ridge

    offset, bias, extra = (found[name][2] for name in ("offset", "bias", "extra"))
    best = loss(offset, bias, extra)
    for step in (-0.1, 0.1):
        assert loss(offset * (1 + step), bias, extra) > best
        assert loss(offset, bias + step, extra) > best
        assert loss(offset, bias, extra + step) > best or not len(extra)


@pytest.mark.parametrize("pairs", [False, True])
def test_calibration_does_not_see_its_own_fold(pairs):
    """Labels of fold 2 turned round: team 2 stays where it was, to the last bit; the others move."""
    examples, _ = make_examples(dealings=2, pairs=pairs)
    task = Task("avg", "preference") if pairs else TASK
    turned = torch.where(examples.unit_fold[0] == 2, 1 - examples.labels, examples.labels)
    first = calibrate(examples, task, examples.priors["context"])
    second = calibrate(replace(examples, labels=turned), task, examples.priors["context"])
    for name in ("offset", "bias", "extra"):
        assert torch.equal(first[name][2], second[name][2])
    moved = (first["offset"] - second["offset"]).abs()
    assert float(moved[[0, 1, 3]].min()) > 0.1
    assert float(moved[4 + 2]) > 0.1  # Another dealing: other responses are in its fold 2.


def test_calibration_stays_finite():
    """A perfect score, a reversed one, one that says nothing and labels of one kind give finite, positive scales."""
    examples, _ = make_examples(signal=20.0)
    prior = examples.priors["context"]
    for score in (prior, -prior, torch.zeros_like(prior)):
        for labels in (examples.labels, torch.ones_like(examples.labels)):
            found = calibrate(replace(examples, labels=labels), TASK, score)
            assert all(torch.isfinite(tensor).all() for tensor in found.values())
            assert (found["offset"] > 0).all()
    reversed_scale = calibrate(examples, TASK, -prior)["offset"]
    assert float(reversed_scale.max()) < 0.05


def test_a_handful_of_labels_makes_no_steep_score():
    """Eight responses that a score separates without error: it is believed, but a response it misses is no disaster."""
    examples, _ = make_examples(responses=8, signal=50.0, folds=2)
    examples = replace(examples, labels=(examples.segments.minimum(examples.priors["context"]) > -0.5).double())
    found = calibrate(examples, TASK, examples.priors["context"])
    assert (found["offset"] < 15).all()
    assert (found["bias"].abs() < 10).all()
    assert (found["offset"] > 1).any()


@pytest.mark.parametrize("pairs", [False, True])
def test_blocks_of_units_say_what_all_say_at_once(pairs, monkeypatch):
    """Gradients of a few sentences at a time, as for a million of them, end where those of all end."""
    examples, _ = make_examples(pairs=pairs)
    task = Task("avg", "preference") if pairs else TASK
    whole = calibrate(examples, task, examples.priors["context"])
    monkeypatch.setattr("fractal_core.mil.calibration._SENTENCES_AT_ONCE", 50)
    assert len(UnitSentences.in_blocks(examples, 50)) > 10
    parts = calibrate(examples, task, examples.priors["context"])
    for name in ("offset", "bias", "extra"):
        assert parts[name].numpy() == pytest.approx(whole[name].numpy(), abs=1e-3)


def test_blocks_hold_every_unit_once_and_few_sentences():
    """In order; none has more than the most and one unit."""
    examples, _ = make_examples()
    blocks = UnitSentences.in_blocks(examples, 50)
    assert torch.cat([block.units for block in blocks]).tolist() == list(range(240))
    assert torch.cat([block.sentences for block in blocks]).tolist() == list(range(examples.segments.total))
    assert all(block.segments.total <= 50 + 5 for block in blocks)


def test_calibration_gets_to_the_end_where_it_is_flat():
    """Counts of 24 long responses: the loss is concave in the scale on the way, and every team still gets there."""
    random = np.random.default_rng(0)
    x = random.normal(size=(4800, 1)).astype(np.float32)
    truth = random.random(4800) < 1 / (1 + np.exp(-x[:, 0]))
    sizes = np.full(24, 200)
    examples = examples_of(x, truth.reshape(24, 200).mean(1), sizes, folds=3)
    task = Task("avg", "count", loss="count")
    found = calibrate(examples, task, torch.from_numpy(x[:, 0]))

    def losses(offset):
        logits = (offset[:, None] * torch.from_numpy(x[:, 0]) + found["bias"][:, None]).double()
        each = unit_losses(examples, task, logits, torch.zeros(3, 0).double())
        seen = (examples.unit_fold[0] != torch.arange(3)[:, None]).double()
        return ((each * seen).sum(1) + 0.1 * torch.log(offset.double()) ** 2) / seen.sum(1)

    best = losses(found["offset"])
    for factor in (0.97, 1.03):
        assert (losses(found["offset"] * factor) > best).all()
