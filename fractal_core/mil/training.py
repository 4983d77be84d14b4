"""Training by the bag loss: all dealings, folds and penalties at once, the best epoch and penalty by held-out labels.

Member (dealing s, fold k, penalty l) never sees the labels of fold k of its dealing, so its loss there is an honest
estimate; a response of fold k is scored by members k alone (cross-fitting), and any other response by the mean of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.ensemble import ATTENTION, EXTRA, attention_logits
from fractal_core.mil.held_out import HeldOut
from fractal_core.mil.moving import moved
from fractal_core.mil.scorers.parameters import copy, penalise, replace
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.objective import Objective
    from fractal_core.mil.scorers.parameters import Parameters
    from fractal_core.mil.task import Task

# L2 penalties on the weights of standardised features, per unit; the largest all but leaves the prior alone.
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Epochs without a better loss after which to stop, fewer where they have more steps: those of 30 epochs of 50.
PATIENCE, _PATIENT_STEPS = 30, 1_500
_ENOUGH = 1e-6
# Of the held-out loss (nats a unit, but for distances): what is worse than the best by more keeps nothing training.
_CONTENDING = 0.01
# Numbers in a block of 32 MB. Once it has been freed, glibc keeps as much of what is freed later; it would else give
# the memory of a step back to the system, and every page of the next one would be a fault (7 % of the time of concat).
_KEPT = 7_900_000


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and on which device of PyTorch to train."""

    epochs: int
    batch_responses: int
    learning_rate: float
    seed: int
    penalties: tuple[float, ...] = PENALTIES
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Start:
    """Where members start and what of them is trained.

    Attributes:
        scorer: a key of `SCORERS`.
        parameters: S * K members, in the order of dealings and folds, with `extra`.
        prior: float32 [N], what the offset multiplies.
        signs: float32 [F]; a weight of a linear scorer may not leave the side of its sign, 0 is free.
        trained: names of the parameters that are trained.
        goes_on: whether they have been trained before: then they may also stay as they are.
    """

    scorer: str
    parameters: Parameters
    prior: Tensor
    signs: Tensor | None
    trained: tuple[str, ...]
    goes_on: bool = False


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained ensemble, a member a dealing and fold.

    Attributes:
        parameters: S * K members.
        penalty: the L2 penalty chosen.
        epoch: the epoch chosen, from 0; -1 for members that go on and are best as they were.
        held_out: mean held-out loss of the choice, in nats a unit.
        history: (epoch, penalty, held-out loss) of all that was tried.
    """

    parameters: Parameters
    penalty: float
    epoch: int
    held_out: float
    history: list[tuple[int, float, float]]


@one_thread()
def fit(
    examples: Examples, task: Task, objective: Objective, start: Start, schedule: Schedule, advance: Callable[[], None]
) -> Fitted:
    """Train and choose.

    Args:
        examples: labelled train units have a fold; labelled dev units join the held-out loss.
        task: whose loss judges held-out units.
        objective: what is trained on.
        start: where members start.
        schedule: epochs, batch, learning rate, seed, penalties to choose from.
        advance: called once an epoch.

    Returns:
        The ensemble of the penalty and epoch with the least held-out loss, on the CPU. Training ends after
        `schedule.epochs`, or when no penalty near the best one has had less for `PATIENCE` epochs, or fewer if these
        are many steps. Batches are the same on every device, sums are rounded otherwise.
    """
    if schedule.device == "cpu":
        return _fit(examples, task, objective, start, schedule, advance)
    there = moved((examples, task, objective, start), schedule.device)
    return moved(_fit(*there, schedule, advance), "cpu")


def _fit(
    examples: Examples, task: Task, objective: Objective, start: Start, schedule: Schedule, advance: Callable[[], None]
) -> Fitted:
    scorer, penalties = SCORERS[start.scorer], schedule.penalties
    teams = len(start.parameters["bias"])  # A team is a dealing and fold.
    device = start.parameters["bias"].device
    team = torch.arange(teams, device=device).repeat_interleave(len(penalties))
    penalty = torch.tensor(penalties, device=device).repeat(teams)
    parameters = copy(start.parameters, team)
    trained = [parameters[name].requires_grad_() for name in start.trained]
    penalised = [name for name in start.trained if name.startswith("weights") or name == ATTENTION]
    optimiser = torch.optim.Adam(trained, lr=schedule.learning_rate, fused=True)
    torch.empty(_KEPT)
    generator = torch.Generator().manual_seed(schedule.seed)
    units = objective.units(examples)
    steps = max(1, -(-len(units) // schedule.batch_responses))
    patience = min(PATIENCE, -(-_PATIENT_STEPS // steps))
    unit_fold = examples.unit_fold[team // examples.folds]
    hidden = unit_fold == (team % examples.folds)[:, None]
    unseen = HeldOut(examples, hidden[:: len(penalties)])
    chosen, best = copy(parameters), torch.full((len(penalties),), torch.inf, device=device)
    best_epoch = torch.zeros(len(penalties), dtype=torch.int64, device=device)
    history: list[tuple[int, float, float]] = []

    def score(some: Parameters, sentences: Tensor) -> tuple[Tensor, Tensor | None]:
        features = examples.features[sentences]
        return scorer.logits(some, features, start.prior[sentences]), attention_logits(some, features)

    def score_by(members: slice, sentences: Tensor) -> tuple[Tensor, Tensor | None]:
        return score({name: tensor[members] for name, tensor in parameters.items()}, sentences)

    def everyone() -> Tensor:
        return scorer.logits(parameters, examples.features, start.prior)

    for epoch in range(-1 if start.goes_on else 0, schedule.epochs):
        for batch in _batches(units, schedule.batch_responses, generator) if epoch >= 0 else ():
            sentences, segments = examples.segments.select(examples.units[batch].flatten())
            logits, attention = score(parameters, sentences)
            seen = (~hidden[:, batch]).to(logits.dtype)
            losses = objective.loss(examples, logits, parameters[EXTRA], batch, sentences, segments, attention)
            data = (losses * seen).sum(-1) / seen.sum(-1).clamp(min=1)
            optimiser.zero_grad()
            data.sum().backward()  # type: ignore[no-untyped-call]
            penalise(parameters, penalised, penalty)
            optimiser.step()
            _constrain(parameters, start.signs)
        with torch.no_grad():
            held_out = unseen.mean(task, score_by, parameters[EXTRA])
            objective.end_epoch(everyone, epoch)
        history += [(epoch, p, float(value)) for p, value in zip(penalties, held_out, strict=True)]
        better = held_out < best - _ENOUGH
        best = torch.where(better, held_out, best)
        best_epoch[better] = epoch
        replace(chosen, torch.nonzero(better.repeat(teams)).flatten(), parameters)
        if epoch >= 0:
            advance()
        if epoch - int(best_epoch[best <= best.min() + _CONTENDING].max()) >= patience:
            break
    winner = int(best.argmin())
    members = torch.arange(teams, device=device) * len(penalties) + winner
    result = copy(chosen, members)
    return Fitted(result, penalties[winner], int(best_epoch[winner]), float(best[winner]), history)


def _batches(units: Tensor, size: int, generator: torch.Generator) -> Sequence[Tensor]:
    order = torch.randperm(len(units), generator=generator)
    return torch.split(units[order.to(units.device)], size)


@torch.no_grad()
def _constrain(parameters: Parameters, signs: Tensor | None) -> None:
    """Project: the offset is at least 0, and no weight is on the wrong side of its sign."""
    parameters["offset"].clamp_(min=0.0)
    if signs is not None:
        weights = parameters["weights"]
        weights.masked_fill_(weights * signs < 0, 0.0)
