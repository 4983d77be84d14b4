"""Training the encoder by the bag loss: a model a fold, which never sees a label of its fold, not even to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.finetune.gradients import accumulate
from fractal_core.mil.finetune.heads import HEADS
from fractal_core.mil.finetune.member import Member, calibrate, head_logits, read, score
from fractal_core.mil.finetune.reading import Reading, reading_of
from fractal_core.mil.finetune.stopping import Watch

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.finetune.encoder import TrainableEncoder
    from fractal_core.mil.finetune.examples import TextBags
    from fractal_core.mil.finetune.heads import Head, HeadParameters
    from fractal_core.mil.finetune.settings import BagLoss, FineTuneSettings

_MAX_NORM = 1.0


@dataclass(frozen=True, eq=False)
class FineTuned:
    """What `fine_tune` found.

    Attributes:
        logits: float32 [K, N], of every sentence by every fold's model.
        members: K models.
    """

    logits: Tensor
    members: list[Member]


@dataclass(frozen=True, eq=False)
class _Frozen:
    """What sentences are read against, and the vectors of all units before training."""

    reading: Reading
    vectors: Tensor


def step_count(bags: TextBags, settings: FineTuneSettings) -> int:
    """Return the most steps that `fine_tune` takes, for a progress bar."""
    return sum(_steps(len(bags.parts(fold)[0]), settings) for fold in range(bags.folds))


def fine_tune(
    encoder: TrainableEncoder,
    bags: TextBags,
    loss: BagLoss,
    settings: FineTuneSettings,
    advance: Callable[[int], None] = lambda steps: None,
    earlier: Sequence[Member] = (),
) -> FineTuned:
    """Train a model a fold and score every sentence with each.

    First the head alone is fitted to the untrained encoder; that model is the one to beat. Then encoder and head are
    trained together (AdamW); at every check the bag loss of the stopping responses (`TextBags.parts`) is taken, and
    the weights with the least are kept. An encoder over-fits a few hundred labels within an epoch.

    The same input and seed give the same bytes on the CPU with the same number of threads; a GPU may round otherwise
    from run to run.

    Args:
        encoder: untrained, and so again afterwards.
        bags: the sentences and their texts.
        loss: bag loss of some responses; it must not look at any others.
        settings: how to train.
        advance: called with numbers of steps; they sum to `step_count`.
        earlier: the folds' models of an earlier training, to go on from and to be beaten; none to start anew.

    Raises:
        InputError: if sentences have nothing to be read against, or there are too few folds or labelled responses.
    """
    head, everything = HEADS[settings.mode], torch.arange(len(bags.sentence))
    encoder.load(None)
    if earlier:
        readings = {name: reading_of(encoder, bags, settings.mode, name) for name in {m.family for m in earlier}}
        starts = [_ended(encoder, head, readings, bags, loss, *each) for each in enumerate(earlier)]
    else:
        readings = {}
        frozen = {}
        for family in bags.families(settings.against):
            readings[family] = reading = reading_of(encoder, bags, settings.mode, family)
            frozen[family] = _Frozen(reading, read(encoder, reading, reading.select(everything)[0]))
        starts = [_untrained(head, frozen, bags, loss, fold) for fold in range(bags.folds)]
    members = [
        _fit(encoder, head, readings[start.family], start, bags, loss, settings, fold, advance)
        for fold, start in enumerate(starts)
    ]
    return FineTuned(score(encoder, settings.mode, members, bags), members)


def _fit(
    encoder: TrainableEncoder,
    head: Head,
    reading: Reading,
    start: Member,
    bags: TextBags,
    loss: BagLoss,
    settings: FineTuneSettings,
    fold: int,
    advance: Callable[[int], None],
) -> Member:
    """Train one fold's model from where it starts."""
    train, stop = bags.parts(fold)
    needed, rows = reading.select(bags.segments.select(stop)[0])
    watch = Watch(start)
    encoder.load(start.encoder)
    parameters = {name: value.to(encoder.device).clone().requires_grad_() for name, value in start.head.items()}
    groups = [
        {"params": encoder.trained(), "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        {"params": list(parameters.values()), "lr": settings.head_learning_rate, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups)
    generator = torch.Generator().manual_seed(settings.seed)
    steps = _steps(len(train), settings)
    each_epoch = math.ceil(len(train) / settings.batch_responses)
    order: list[Tensor] = []
    for step in range(1, steps + 1):
        if not order:
            order = list(torch.split(train[torch.randperm(len(train), generator=generator)], settings.batch_responses))
        _step(encoder, head, parameters, reading, bags, loss, order.pop(0), optimiser)
        advance(1)
        # Checks lie evenly in an epoch, and one ends the training.
        if step == steps or step * settings.checks // each_epoch > (step - 1) * settings.checks // each_epoch:
            logits = head_logits(head, parameters, read(encoder, reading, needed), rows)
            watch.check(step / each_epoch, _mean(loss, logits, stop), parameters, encoder)
            if watch.waited >= settings.patience:
                advance(steps - step)
                break
    return watch.best


def _untrained(head: Head, frozen: dict[str, _Frozen], bags: TextBags, loss: BagLoss, fold: int) -> Member:
    """Return the calibrated untrained model, of the family that explains a fold's train responses best."""
    train, stop = bags.parts(fold)
    sentences = bags.segments.select(train)[0]
    found = {}
    for family, start in frozen.items():
        rows = start.reading.of[sentences].to(start.vectors.device)
        combined = head.combine(start.vectors, rows)
        found[family] = calibrate(head, combined, lambda logits: loss(logits[None].cpu(), train)[0].mean())
    family = min(found, key=lambda name: found[name][1])
    parameters, start = found[family][0], frozen[family]
    untrained = head_logits(head, parameters, start.vectors, start.reading.of[bags.segments.select(stop)[0]])
    return Member(family, parameters, None, 0.0, [(0.0, _mean(loss, untrained, stop))])


def _ended(
    encoder: TrainableEncoder,
    head: Head,
    readings: dict[str, Reading],
    bags: TextBags,
    loss: BagLoss,
    fold: int,
    member: Member,
) -> Member:
    """Return a fold's model as an earlier training left it, judged by the responses that stop it now."""
    stop = bags.parts(fold)[1]
    needed, rows = readings[member.family].select(bags.segments.select(stop)[0])
    encoder.load(member.encoder)
    logits = head_logits(head, member.head, read(encoder, readings[member.family], needed), rows)
    return replace(member, epochs=0.0, history=[(0.0, _mean(loss, logits, stop))])


def _step(
    encoder: TrainableEncoder,
    head: Head,
    parameters: HeadParameters,
    reading: Reading,
    bags: TextBags,
    loss: BagLoss,
    batch: Tensor,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Take one step on some responses."""
    needed, rows = reading.select(bags.segments.select(batch)[0])

    def objective(vectors: Tensor) -> Tensor:
        logits = head.logits(parameters, head.combine(vectors, rows.to(vectors.device)))
        return loss(logits[None].cpu(), batch)[0].mean()

    optimiser.zero_grad()
    accumulate(encoder, reading.units, needed, objective)
    torch.nn.utils.clip_grad_norm_(encoder.trained(), _MAX_NORM)
    optimiser.step()


def _steps(responses: int, settings: FineTuneSettings) -> int:
    return max(1, math.ceil(settings.epochs * math.ceil(responses / settings.batch_responses)))


@torch.no_grad()
def _mean(loss: BagLoss, logits: Tensor, responses: Tensor) -> float:
    return float(loss(logits[None], responses)[0].mean())
