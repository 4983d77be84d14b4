"""What is saved is what is loaded, to the bit, and saving twice gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from planted import make_examples
from safetensors import safe_open

from fractal_core.evidence.catalogue import FEATURES
from fractal_core.mil.ensemble import Component, ensemble_logits, with_given
from fractal_core.mil.saving import (
    SavedEnsemble,
    load_ensemble,
    load_given,
    load_heads,
    save_ensemble,
    save_given,
    save_heads,
)
from fractal_core.mil.scorers.comparison import Comparison
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.sentences import Fit
from fractal_core.mil.task import Task
from fractal_core.priors.evidence_prior import EvidenceStandardiser


def parameters(scorer, members=4, width=3, extra=2, seed=0):
    """Random parameters of a scorer."""
    generator = torch.Generator().manual_seed(seed)
    shapes = SCORERS[scorer].start(members, width, generator)
    drawn = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in shapes.items()}
    return {**drawn, "extra": torch.randn(members, extra, generator=generator)}


@pytest.fixture
def saved():
    """Three components: a head, a bare prior and encoders; all that is fitted."""
    examples, truth = make_examples(responses=30)
    bare = {**parameters("evidence", width=0, seed=1), "weights": torch.zeros(4, 0)}
    alone = {name: tensor.clone() for name, tensor in bare.items()}
    given = torch.randn(4, len(truth), generator=torch.Generator().manual_seed(2))
    components = [
        Component("noisy", "mlp", "context", parameters("mlp"), share=0.5),
        Component("context", "evidence", "context", bare, share=0.3),
        Component("finetune", "finetune", "none", alone, share=0.2, given=given),
    ]
    random = np.random.default_rng(0)
    names = tuple(feature.name for feature in FEATURES[:5])
    values = random.normal(size=(40, 5)).astype(np.float32)
    values[:, 3] = np.nan
    standardiser = EvidenceStandardiser.fit(values, names, np.ones(40, dtype=bool))
    basis = np.linalg.qr(random.normal(size=(6, 6)))[0][:2]
    comparison = Comparison(random.normal(size=6), basis, random.normal(size=8), random.random(8) + 0.5)
    metadata = {"features": list(names), "winner": "noisy and the prior", "held_out_loss": 0.25, "round": 3}
    scales = {"context": (0.1 + 0.2, 1 / 3), "hybrid": (0.0, 1.0)}
    task = Task("min", "ordinal", "soft", "likelihood", 3)
    fit = Fit(standardiser, comparison, scales, random.normal(size=(4, 6)), (0.1, 2 / 3))
    return SavedEnsemble(components, task, fit, metadata), examples


def test_round_trip(saved, tmp_path):
    """Components, task, all that is fitted and metadata come back, and with what encoders said logits bit for bit."""
    ensemble, examples = saved
    save_ensemble(ensemble, tmp_path / "scorer.safetensors")
    save_given(ensemble.components[2].given, tmp_path / "given.safetensors")
    loaded = load_ensemble(tmp_path / "scorer.safetensors")
    assert loaded.task == ensemble.task
    assert loaded.fit.scales == ensemble.fit.scales
    assert loaded.fit.span == ensemble.fit.span
    assert np.array_equal(loaded.fit.hybrid, ensemble.fit.hybrid)
    assert loaded.metadata == ensemble.metadata
    for before, after in zip(ensemble.components, loaded.components, strict=True):
        same = [(c.name, c.scorer, c.family, c.share) for c in (before, after)]
        assert same[0] == same[1]
        assert set(before.parameters) == set(after.parameters)
        assert all(torch.equal(before.parameters[name], after.parameters[name]) for name in before.parameters)
        assert after.given is None
    components = with_given(loaded.components, load_given(tmp_path / "given.safetensors"))
    assert [component.given is None for component in components] == [True, True, False]
    assert torch.equal(ensemble_logits(components, examples), ensemble_logits(ensemble.components, examples))
    for name, array in ensemble.fit.standardiser.arrays().items():
        assert np.array_equal(array, loaded.fit.standardiser.arrays()[name])
        assert array.dtype == loaded.fit.standardiser.arrays()[name].dtype
    for name, array in ensemble.fit.comparison.arrays().items():
        assert np.array_equal(array, loaded.fit.comparison.arrays()[name])


def test_without_comparison(saved, tmp_path):
    """An ensemble that compares no vectors has no comparison after loading either."""
    ensemble, _ = saved
    plain = SavedEnsemble(
        ensemble.components[:1], ensemble.task, Fit(ensemble.fit.standardiser, None, {}), {"round": 0}
    )
    save_ensemble(plain, tmp_path / "plain.safetensors")
    loaded = load_ensemble(tmp_path / "plain.safetensors")
    assert loaded.fit.comparison is None
    assert len(loaded.components) == 1
    assert (loaded.fit.scales, loaded.fit.hybrid, loaded.fit.span) == ({}, None, (0.0, 1.0))
    save_given(None, tmp_path / "given.safetensors")
    assert load_given(tmp_path / "given.safetensors") is None


def test_heads(tmp_path):
    """Heads come back by what they learned, with the parameters that training left, attention among them."""
    tasks = [Task("min", "binary", "noisy"), Task("min", "ordinal", "attention", grades=3)]
    heads = [
        Component(task.pooling, "evidence", "context", parameters("evidence", seed=n)) for n, task in enumerate(tasks)
    ]
    heads[1].parameters["attention"] = torch.randn(4, 3)
    save_heads(list(zip(tasks, heads, strict=True)), tmp_path / "heads.safetensors")
    loaded = load_heads(tmp_path / "heads.safetensors")
    assert list(loaded) == tasks
    for task, head in zip(tasks, heads, strict=True):
        found = loaded[task]
        assert (found.name, found.scorer, found.family) == (task.pooling, "evidence", "context")
        assert found.parameters.keys() == head.parameters.keys()
        assert all(torch.equal(found.parameters[name], value) for name, value in head.parameters.items())


def test_same_bytes(saved, tmp_path):
    """Saving twice, and saving what was loaded, gives the same bytes, whatever the order of metadata."""
    ensemble, _ = saved
    first, second, third = (tmp_path / name for name in "abc")
    save_ensemble(ensemble, first)
    turned = dict(reversed(ensemble.metadata.items()))
    save_ensemble(SavedEnsemble(ensemble.components, ensemble.task, ensemble.fit, turned), second)
    save_ensemble(load_ensemble(first), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_more_than_ten_components(saved, tmp_path):
    """Component 1 does not get what is component 10's."""
    ensemble, _ = saved
    many = [Component(f"c{n}", "evidence", "none", parameters("evidence", seed=n), share=1 / 12) for n in range(12)]
    save_ensemble(SavedEnsemble(many, ensemble.task, ensemble.fit, {}), tmp_path / "many.safetensors")
    loaded = load_ensemble(tmp_path / "many.safetensors").components
    assert [c.name for c in loaded] == [c.name for c in many]
    for before, after in zip(many, loaded, strict=True):
        assert torch.equal(before.parameters["weights"], after.parameters["weights"])


def test_metadata_can_be_read_without_fractal(saved, tmp_path):
    """The header is JSON that says what was learned and of what the ensemble is made; there are tensors, no pickles."""
    ensemble, _ = saved
    save_ensemble(ensemble, tmp_path / "scorer.safetensors")
    with safe_open(tmp_path / "scorer.safetensors", framework="np") as file:
        said = json.loads(file.metadata()["fractal"])
    assert {name: said[name] for name in asdict(ensemble.task)} == asdict(ensemble.task)
    assert [c["name"] for c in said["components"]] == ["noisy", "context", "finetune"]
    assert said["winner"] == "noisy and the prior"
