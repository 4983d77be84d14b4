"""Training the encoder: it learns a planted signal, no fold sees its labels, and the untrained model may win."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from planted import ranks
from planted_texts import FAST, SHORT, loss_of, make_bags

from fractal_core.errors import InputError
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.settings import FineTuneSettings
from fractal_core.mil.finetune.training import fine_tune, step_count


@pytest.mark.parametrize("mode", ["bi", "cross"])
def test_learns_a_planted_signal(encoder, mode):
    """Sentences of a fold are ranked by a rule that the untrained vectors do not show, from response labels alone."""
    bags, labels, truth = make_bags()
    before = fine_tune(encoder, bags, loss_of(bags, labels), replace(SHORT, mode=mode, learning_rate=0.0, epochs=0.01))
    after = fine_tune(encoder, bags, loss_of(bags, labels), replace(FAST, mode=mode))
    assert after.logits.shape == (3, len(truth))
    own = bags.segments.expand(bags.fold)
    for fold in range(3):
        unseen = own == fold
        assert ranks(after.logits[fold, unseen], truth[unseen]) > 0.95
        if mode == "bi":
            assert ranks(before.logits[fold, unseen], truth[unseen]) < 0.9
    assert all(member.epochs > 0 and member.encoder for member in after.members)


@pytest.mark.parametrize("mode", ["bi", "cross"])
def test_a_fold_does_not_see_its_labels(encoder, mode, monkeypatch):
    """Labels of one fold turned round: that fold's model is the same bit for bit, and another fold's is not."""
    # Every check counts as a gain, so that trained weights are compared.
    monkeypatch.setattr("fractal_core.mil.finetune.stopping._GAIN", -1e9)
    bags, labels, _ = make_bags(30)
    turned = torch.where(bags.fold == 1, 1 - labels, labels)
    settings = replace(SHORT, mode=mode)
    one, two = (fine_tune(encoder, bags, loss_of(bags, each), settings) for each in (labels, turned))
    assert torch.equal(one.logits[1], two.logits[1])
    assert one.members[1].history == two.members[1].history
    for name, value in one.members[1].head.items():
        assert torch.equal(value, two.members[1].head[name])
    assert one.members[1].encoder
    for name, value in one.members[1].encoder.items():
        assert torch.equal(value, two.members[1].encoder[name])
    assert one.members[0].history != two.members[0].history


def test_going_on_starts_from_the_earlier_models(encoder, monkeypatch):
    """They are judged as they are, beaten only by what is better, and their fold's labels stay unseen."""
    bags, labels, truth = make_bags()
    before = fine_tune(encoder, bags, loss_of(bags, labels), FAST)
    still = replace(SHORT, learning_rate=0.0, head_learning_rate=0.0)
    kept = fine_tune(encoder, bags, loss_of(bags, labels), still, earlier=before.members)
    assert torch.equal(kept.logits, before.logits)
    for old, new in zip(before.members, kept.members, strict=True):
        assert (new.family, new.epochs, new.history[0][0]) == (old.family, 0.0, 0.0)
        assert new.history[0][1] == pytest.approx(min(loss for _, loss in old.history), abs=1e-5)
    short = fine_tune(encoder, bags, loss_of(bags, labels), SHORT, earlier=before.members)
    anew = fine_tune(encoder, bags, loss_of(bags, labels), SHORT)
    own = bags.segments.expand(bags.fold)
    for fold in range(3):
        losses = [min(loss for _, loss in found.members[fold].history) for found in (short, anew)]
        assert losses[0] < losses[1]
        assert ranks(short.logits[fold, own == fold], truth[own == fold]) > 0.95
    monkeypatch.setattr("fractal_core.mil.finetune.stopping._GAIN", -1e9)
    turned = torch.where(bags.fold == 1, 1 - labels, labels)
    one, two = (
        fine_tune(encoder, bags, loss_of(bags, each), SHORT, earlier=before.members).logits for each in (labels, turned)
    )
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[2], two[2])  # Fold 0 stops by the labels of fold 1, fold 2 is trained on them.


def test_the_loss_is_asked_about_visible_responses_alone(encoder):
    """No fold's training or stopping asks for the loss of its own responses, nor of unlabelled ones."""
    bags, labels, _ = make_bags(30, folds=4)
    bags = replace(bags, dev=bags.dev & (torch.arange(30) > 12))
    train_or_dev = (bags.fold != NO_FOLD) | bags.dev
    for fold in range(4):
        train, stop = bags.parts(fold)
        assert not set(train.tolist()) & set(stop.tolist())
        assert (bags.fold[train] != fold).all()
        assert (bags.fold[stop] != fold).all()
        assert train_or_dev[torch.cat([train, stop])].all()
        assert set(stop.tolist()) >= set(torch.nonzero(bags.dev).flatten().tolist())
    asked = []

    def loss(logits, responses):
        assert logits.shape == (1, int(bags.segments.sizes[responses].sum()))
        asked.append(set(responses.tolist()))
        return loss_of(bags, labels)(logits, responses)

    fine_tune(encoder, bags, loss, SHORT)
    visible = [set(torch.cat(bags.parts(fold)).tolist()) for fold in range(4)]
    assert all(any(part <= whole for whole in visible) for part in asked)


def test_many_dev_responses_stop_alone(monkeypatch):
    """With enough dev responses every other fold is trained on."""
    bags, _, _ = make_bags(30, folds=3)
    monkeypatch.setattr("fractal_core.mil.finetune.examples.ENOUGH_TO_STOP", 6)
    train, stop = bags.parts(0)
    assert torch.equal(stop, torch.nonzero(bags.dev).flatten())
    assert set(bags.fold[train].tolist()) == {1, 2}


def test_auto_takes_the_family_that_explains_the_labels(encoder):
    """Each fold is read against what its own responses favour."""
    bags, labels, truth = make_bags()
    # A context that is the sentence itself where it is right, and the query where it is wrong.
    context = torch.where(truth, bags.sentence, 0)[:, None]
    bags = replace(bags, partners={**bags.partners, "context": context})
    found = fine_tune(encoder, bags, loss_of(bags, labels), replace(SHORT, against="auto"))
    assert [member.family for member in found.members] == ["context"] * 3
    assert ranks(found.logits.mean(0), truth) > 0.95


def test_the_untrained_model_may_win(encoder):
    """If every step does harm, the calibrated untrained model is kept, and patience ends the training."""
    bags, labels, _ = make_bags(30)
    taken = []
    settings = replace(FAST, epochs=4, checks=4, patience=2, learning_rate=1.0, head_learning_rate=1.0)
    found = fine_tune(encoder, bags, loss_of(bags, labels), settings, taken.append)
    assert sum(taken) == step_count(bags, settings)
    untrained = [member for member in found.members if member.encoder is None]
    assert untrained
    for member in untrained:
        assert member.epochs == 0
        assert len(member.history) == 3
        assert member.history[0][1] <= min(loss for _, loss in member.history) + 1e-3
    for member in found.members:
        assert all(a < b for (a, _), (b, _) in pairwise(member.history))


def test_what_cannot_be_trained_is_said(encoder, tmp_path):
    """Nothing to compare with, nothing to stop by, unknown names and folders are one sentence each."""
    bags, labels, _ = make_bags(20)
    with pytest.raises(InputError, match="a context, but none of"):
        fine_tune(encoder, bags, loss_of(bags, labels), replace(SHORT, against="context"))
    alone = replace(bags, fold=torch.zeros_like(bags.fold), dev=torch.zeros_like(bags.dev))
    with pytest.raises(InputError, match="use 3 folds or more"):
        fine_tune(encoder, alone, loss_of(bags, labels), SHORT)
    with pytest.raises(ValueError, match="no mode 'tri'"):
        FineTuneSettings(mode="tri")
    with pytest.raises(ValueError, match="against 'moon'"):
        FineTuneSettings(against="moon")
    with pytest.raises(InputError, match="cannot be loaded"):
        TrainableEncoder(tmp_path, "cpu")
