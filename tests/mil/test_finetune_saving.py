"""Fine-tuned models: the same seed writes the same bytes, and what is read back scores the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from planted_texts import SHORT, loss_of, make_bags
from transformers import AutoModel

from fractal_core.mil.finetune.member import score
from fractal_core.mil.finetune.saving import load_finetuned, save_finetuned
from fractal_core.mil.finetune.training import fine_tune


def test_same_seed_same_bytes(encoder, tmp_path, monkeypatch):
    """Two trainings write the same file; another seed takes another order; the encoder is left untrained."""
    monkeypatch.setattr("fractal_core.mil.finetune.stopping._GAIN", -1e9)
    bags, labels, _ = make_bags(20)
    settings = replace(SHORT, learning_rate=1e-3)
    files = []
    for number, seed in enumerate((0, 0, 1)):
        found = fine_tune(encoder, bags, loss_of(bags, labels), replace(settings, seed=seed))
        assert all(member.encoder for member in found.members)
        path = tmp_path / f"{number}.safetensors"
        save_finetuned(found.members, path, {"mode": "bi"})
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]
    fresh = dict(AutoModel.from_pretrained(encoder.folder).named_parameters())
    assert all(torch.equal(value, fresh[name]) for name, value in encoder.state().items())


def test_saved_models_score_the_same(encoder, tmp_path, monkeypatch):
    """What is read back gives the logits of training, and folds that stayed untrained store no encoder."""
    monkeypatch.setattr("fractal_core.mil.finetune.stopping._GAIN", -1e9)
    bags, labels, _ = make_bags(20)
    found = fine_tune(encoder, bags, loss_of(bags, labels), replace(SHORT, learning_rate=1e-3))
    members = [*found.members[:2], replace(found.members[2], encoder=None)]
    save_finetuned(members, tmp_path / "a.safetensors", {"mode": "bi"})
    again, metadata = load_finetuned(tmp_path / "a.safetensors")
    assert metadata == {"mode": "bi"}
    assert [m.encoder is None for m in again] == [m.encoder is None for m in members]
    assert [(m.family, m.epochs, m.history) for m in again] == [(m.family, m.epochs, m.history) for m in members]
    logits = score(encoder, "bi", again, bags)
    assert torch.equal(logits[:2], found.logits[:2])
    assert not torch.equal(logits[2], found.logits[2])
