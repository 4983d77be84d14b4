"""Scorer `finetune` in the pipeline: the encoder trained by the bag loss, then calibrated and guarded as others are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fractal_core.errors import InputError
from fractal_core.mil.ensemble import EXTRA, Component
from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.examples import TextBags
from fractal_core.mil.finetune.settings import FineTuneSettings
from fractal_core.mil.finetune.training import fine_tune, step_count
from fractal_core.mil.guard import guarded, on_one_scale
from fractal_core.mil.scorers.texts import sentence_texts
from fractal_core.mil.starting import NO_PRIOR

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.assembling import Assembled
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.guard import Learned
    from fractal_core.mil.recipe import Recipe
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import TrainParams
    from fractal_core.store.stage import Inputs, Runtime

FINETUNE = "finetune"
_CHUNKS = 4


def learn_by_finetuning(
    inputs: Inputs, assembled: Assembled, task: Task, recipe: Recipe, params: TrainParams, runtime: Runtime
) -> tuple[Learned, list[Member]]:
    """Train an encoder a fold; return the calibrated and guarded ensemble, and the encoders.

    Args:
        inputs: tables responses, sentences and embeddings; the encoder's files.
        assembled: the examples, one dealing into folds.
        task: what to learn; the first pooling of the recipe is trained.
        recipe: its poolings and guard.
        params: of the stage.
        runtime: the device, progress and notes.

    Raises:
        InputError: labels of pairs or of grades, which this scorer does not learn from.
    """
    if task.kind in ("preference", "ordinal"):
        raise InputError(
            f'scorer = "finetune" learns from labels of single responses that are no grades, but label_kind is '
            f'"{task.kind}": take another scorer, or give every response a label of its own.'
        )
    examples, settings = assembled.examples, params.train.finetune
    task = replace(task, pooling=recipe.poolings[0])
    texts = sentence_texts(
        inputs.table("responses"),
        inputs.table("sentences"),
        inputs.batches("embeddings"),
        params.chunk_tokens,
        _CHUNKS,
    )
    bags = TextBags(
        texts=texts.texts,
        sentence=torch.from_numpy(texts.sentence),
        partners={"query": torch.from_numpy(texts.query)[:, None], "context": torch.from_numpy(texts.chunks)},
        segments=examples.segments,
        fold=examples.fold[0],
        dev=examples.dev,
    )
    tuning = FineTuneSettings(
        mode=settings.mode,
        against=settings.against,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_responses=settings.batch_responses,
        seed=params.seed,
    )

    def loss(logits: Tensor, responses: Tensor) -> Tensor:
        part = examples.segments.select(responses)[1]
        return task.losses(logits, logits.new_zeros(1, task.extras), examples.labels[responses], part)

    encoder = TrainableEncoder(inputs.sources("encoder")[0].parent, runtime.device, params.max_tokens)
    with runtime.progress("train", step_count(bags, tuning)) as progress:
        tuned = fine_tune(encoder, bags, loss, tuning, progress.advance)
    teams = examples.folds
    parameters = {
        "weights": torch.zeros(teams, 0),
        "bias": torch.zeros(teams),
        "offset": torch.ones(teams),
        EXTRA: torch.zeros(teams, task.extras),
    }
    raw = Component(FINETUNE, "evidence", NO_PRIOR, parameters, given=tuned.logits)
    judge = task.judged(task.pooling)
    history = [(f"fold {fold}", *line) for fold, member in enumerate(tuned.members) for line in _lines(member)]
    heads = on_one_scale([raw], examples, judge)
    return guarded(heads, examples, task, judge, recipe.guard, {}, history), tuned.members


def _lines(member: Member) -> list[tuple[int, float, float]]:
    """Return a fold's history as (check, penalty, loss)."""
    return [(check, 0.0, loss) for check, (_, loss) in enumerate(member.history)]
