"""Training on a device that is not the CPU: the same batches, and the result of training on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from elsewhere import ELSEWHERE, second_device
from planted import QUICK, TASK, learnt, make_examples

from benchmarks.training import make_problem
from fractal_core.mil.objective import BagObjective, PseudolabelObjective
from fractal_core.mil.starting import start_from
from fractal_core.mil.task import Task
from fractal_core.mil.training import fit

SHORT = replace(QUICK, epochs=2)
KINDS = {
    "binary, min": (TASK, {}),
    "share": (Task("avg", "share"), {"label": lambda sentences: float(sentences.mean())}),
    "count": (Task("avg", "count", loss="count"), {"label": lambda sentences: float(sentences.mean())}),
    "real": (Task("avg", "real", loss="mse"), {"label": lambda sentences: float(sentences.mean())}),
    "grades": (Task("min", "ordinal", grades=2), {"label": lambda sentences: float(sentences.sum().clip(0, 2))}),
    "pairs": (Task("avg", "preference"), {"pairs": True}),
}
CASES = [*((kind, "noisy") for kind in KINDS), *(("binary, min", each) for each in ("hard", "soft", "attention"))]


@pytest.mark.parametrize(("kind", "pooling"), CASES)
def test_every_kind_of_label(kind, pooling):
    """No tensor is left behind on the CPU or made there, and heads are those that the CPU trains."""
    task, options = KINDS[kind]
    examples, _ = make_examples(responses=12, folds=2, **options)
    here = learnt(examples, task, SHORT, poolings=(pooling,), prior_offset=True)
    with second_device():
        there = learnt(examples, task, replace(SHORT, device=ELSEWHERE), poolings=(pooling,), prior_offset=True)
    assert {type(each) for part in there.components for each in part.parameters.values()} == {torch.Tensor}
    assert there.history == here.history
    for ours, theirs in zip(there.components, here.components, strict=True):
        for name, value in ours.parameters.items():
            torch.testing.assert_close(value, theirs.parameters[name])


def _fits(examples, task, scorer, objective):
    """Train on both devices; the objectives are made anew, because they remember."""
    start = start_from(examples, task, scorer, "none", None)
    here = fit(examples, task, objective(), start, SHORT, lambda: None)
    with second_device():
        there = fit(examples, task, objective(), start, replace(SHORT, device=ELSEWHERE), lambda: None)
    return here, there


def _assert_same(here, there):
    assert there.history == here.history
    for name, value in there.parameters.items():
        assert type(value) is torch.Tensor
        assert torch.equal(value, here.parameters[name]), name


@pytest.mark.parametrize("scorer", ["concat", "mlp"])
def test_vectors_of_texts_and_every_prior_term(scorer):
    """The published scorer, which reads a query once for all sentences; priors of pairs and neighbours, which fade."""
    examples = make_problem(24, 8).examples
    sentences = examples.segments.total
    generator = torch.Generator().manual_seed(0)
    near = torch.randint(-1, sentences, (sentences, 3), generator=generator)
    examples = replace(examples, terms=replace(examples.terms, neighbours=(near, torch.rand(near.shape))))
    task = Task("max", "binary", "hard")
    weights = {"query": 0.2, "correlation": 0.2, "neighbours": 0.2}
    _assert_same(*_fits(examples, task, scorer, lambda: BagObjective(task, weights, fade_epochs=2)))


@pytest.mark.parametrize("kind", ["binary, min", "grades"])
def test_students(kind):
    """What the teacher says of every sentence moves along."""
    task, options = KINDS[kind]
    examples, _ = make_examples(responses=48, **options)
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(examples.dealings * examples.folds, examples.segments.total, generator=generator)
    if task.kind == "ordinal":
        targets = torch.stack([targets / 2, targets / 2, 1 - targets], dim=1)
    sure = torch.rand(len(targets), examples.segments.total, generator=generator) < 0.7
    _assert_same(*_fits(examples, task, "evidence", lambda: PseudolabelObjective(task, targets, sure)))


def test_the_second_device_is_one():
    """What this file rests on: a tensor that is left on the CPU is an error."""
    with second_device(), pytest.raises(RuntimeError, match="two devices"):
        torch.ones(3).to(ELSEWHERE) + torch.ones(3)
