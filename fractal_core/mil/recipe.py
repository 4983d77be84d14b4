"""How to learn: what the configuration says, made explicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fractal_core.label_kinds import settled_kind, trained_kind
from fractal_core.mil.assembling import Plan
from fractal_core.mil.task import Task
from fractal_core.mil.training import PENALTIES, Schedule

if TYPE_CHECKING:
    from fractal_core.config import TrainSettings
    from fractal_core.stage_params import TrainParams

AGGREGATIONS = ("min", "max", "avg")
# Learning rate and penalties of each scorer; the paper's has too many weights to train at seven penalties at once.
_OWN: dict[str, tuple[float, tuple[float, ...]]] = {
    "evidence": (0.02, PENALTIES),
    "mlp": (0.003, (0.001, 0.01, 0.1)),
    "concat": (0.0003, (0.0001,)),
}


@dataclass(frozen=True)
class Recipe:
    """How to learn.

    Attributes:
        scorer: a key of `SCORERS`.
        poolings: keys of `POOLINGS`, each of which trains a head.
        prior_offset: whether to start from the best prior.
        weights: of the prior terms.
        fade: whether the prior terms fade over the epochs.
        guard: whether bare priors compete with the trained heads.
    """

    scorer: str
    poolings: tuple[str, ...]
    prior_offset: bool
    weights: Mapping[str, float]
    fade: bool
    guard: bool


def recipe_of(settings: TrainSettings, task: Task) -> Recipe:
    """Return what the settings say of a task."""
    poolings: tuple[str, ...] = (settings.pooling,)
    if settings.pooling == "auto":
        poolings = ("noisy",) if task.aggregation == "avg" else ("noisy", "hard")
        if task.kind == "real":
            poolings = ("hard",)
    weights = settings.prior_weights.model_dump()
    offset = settings.prior_offset and settings.scorer != "concat"
    return Recipe(settings.scorer, poolings, offset, weights, settings.prior_fade, settings.guard)


def schedule_of(settings: TrainSettings, seed: int, device: str) -> Schedule:
    """Return how long, how fast and where to train."""
    rate, penalties = _OWN.get(settings.scorer, _OWN["evidence"])
    rate = settings.learning_rate or rate
    return Schedule(settings.epochs, settings.batch_responses, rate, seed, penalties, device)


def tasks_of(params: TrainParams, labels_are_binary: bool) -> list[Task]:
    """Return the tasks to choose from: one, or under aggregation auto one for each way the labels can be read.

    Args:
        params: of the stage.
        labels_are_binary: whether every label is 0 or 1.
    """
    kind = settled_kind(params.label_kind, params.aggregation)
    if params.aggregation != "auto":
        return [_task(params, params.aggregation, trained_kind(params.label_kind, params.aggregation))]
    if kind == "preference":
        return [_task(params, aggregation, kind) for aggregation in AGGREGATIONS]
    if not labels_are_binary:
        return [_task(params, "avg", "share")]
    return [_task(params, name, "share" if name == "avg" else "binary") for name in AGGREGATIONS]


def _task(params: TrainParams, aggregation: str, kind: str) -> Task:
    loss: str = params.train.bag_loss
    if loss == "likelihood":
        loss = {"real": "mse", "count": "count"}.get(kind, loss)
    return Task(aggregation, kind, loss=loss, grades=params.grades if kind == "ordinal" else 1)


def plan_of(params: TrainParams) -> Plan:
    """Return what is to be assembled."""
    settings = params.train
    kind = trained_kind(params.label_kind, params.aggregation)
    graded = params.label_kind == "ordinal" and kind == "real"
    return Plan(
        kind=kind,
        highest_grade=params.grades if graded else None,
        scorer=settings.scorer,
        folds=settings.folds,
        repeats=1 if settings.scorer == "finetune" else settings.repeats,
        seed=params.seed,
        hybrid=params.hybrid,
        position=settings.position,
        weights=settings.prior_weights.model_dump(),
        chunk_tokens=params.chunk_tokens,
    )
