"""Scorer `finetune` in the pipeline: the encoder trained by the bag loss, then calibrated and guarded as others are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from fractal_core.errors import InputError
from fractal_core.mil.ensemble import EXTRA, FINETUNE, Component
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.finetune.apart import bag_loss, fine_tune_apart
from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.examples import TextBags
from fractal_core.mil.finetune.member import score
from fractal_core.mil.finetune.settings import FineTuneSettings
from fractal_core.mil.finetune.training import fine_tune, step_count
from fractal_core.mil.guard import calibrated_priors, guarded, on_one_scale
from fractal_core.mil.scorers.texts import sentence_texts
from fractal_core.mil.starting import NO_PRIOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from fractal_core.mil.assembling import Assembled
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.guard import Learned
    from fractal_core.mil.recipe import Recipe
    from fractal_core.mil.segments import Segments
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import TrainParams
    from fractal_core.store.stage import Inputs, Runtime

_CHUNKS = 4


def learn_by_finetuning(
    inputs: Inputs,
    assembled: Assembled,
    task: Task,
    recipe: Recipe,
    params: TrainParams,
    runtime: Runtime,
    folder: Path,
    earlier: Sequence[Member] = (),
) -> tuple[Learned, list[Member]]:
    """Train an encoder a fold; return the calibrated and guarded ensemble, and the encoders.

    Args:
        inputs: tables responses, sentences and embeddings; the encoder's files.
        assembled: the examples, one dealing into folds.
        task: what to learn; the first pooling of the recipe is trained.
        recipe: its poolings and guard.
        params: of the stage.
        runtime: the device, progress and notes.
        folder: for other processes; it must not be there yet.
        earlier: encoders to go on from, one a fold; none to start anew.

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
    # Responses that an earlier training learned from have a fold even if they have no label in train any more.
    fold = examples.fold[0].masked_fill(~examples.taught, NO_FOLD)
    bags = _bags(inputs, params, examples.segments, fold, examples.dev & examples.unseen)
    bags = replace(bags, members=examples.folds)
    tuning = FineTuneSettings(
        mode=settings.mode,
        against=settings.against,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_responses=settings.batch_responses,
        seed=params.seed,
    )

    model = inputs.sources("encoder")[0].parent, params.max_tokens
    with runtime.progress("train", step_count(bags, tuning)) as progress:
        if runtime.engine.apart:
            tuned = fine_tune_apart(
                model, bags, task, examples.labels, tuning, earlier, runtime, folder, progress.advance
            )
        else:
            loss = bag_loss(task, examples.labels, examples.segments)
            tuned = fine_tune(_encoder(inputs, params, runtime), bags, loss, tuning, progress.advance, earlier)
    teams = examples.folds
    parameters = {
        "weights": torch.zeros(teams, 0),
        "bias": torch.zeros(teams),
        "offset": torch.ones(teams),
        EXTRA: torch.zeros(teams, task.extras),
    }
    raw = Component(FINETUNE, FINETUNE, NO_PRIOR, parameters, given=tuned.logits)
    judge = task.judged(task.pooling)
    history = [(f"fold {fold}", *line) for fold, member in enumerate(tuned.members) for line in _lines(member)]
    heads = on_one_scale([raw], examples, judge)
    priors_under = partial(calibrated_priors, examples)
    return guarded(heads, examples, task, judge, recipe.guard, {}, history, priors_under), tuned.members


def score_by_finetuned(
    inputs: Inputs, segments: Segments, members: Sequence[Member], params: TrainParams, runtime: Runtime
) -> Tensor:
    """Return what trained encoders say of every sentence of some responses, float32 [K, N]; no label is looked at."""
    nothing = torch.zeros(segments.count, dtype=torch.bool)
    bags = _bags(inputs, params, segments, torch.full((segments.count,), NO_FOLD), nothing)
    return score(_encoder(inputs, params, runtime), params.train.finetune.mode, members, bags)


def _encoder(inputs: Inputs, params: TrainParams, runtime: Runtime) -> TrainableEncoder:
    return TrainableEncoder(inputs.sources("encoder")[0].parent, runtime.device, params.max_tokens)


def _bags(inputs: Inputs, params: TrainParams, segments: Segments, fold: Tensor, dev: Tensor) -> TextBags:
    """Return the sentences with the texts they may be read against, dealt into folds as given."""
    responses, sentences = inputs.table("responses"), inputs.table("sentences")
    texts = sentence_texts(responses, sentences, inputs.batches("embeddings"), params.chunk_tokens, _CHUNKS)
    return TextBags(
        texts=texts.texts,
        sentence=torch.from_numpy(texts.sentence),
        partners={"query": torch.from_numpy(texts.query)[:, None], "context": torch.from_numpy(texts.chunks)},
        segments=segments,
        fold=fold,
        dev=dev,
    )


def _lines(member: Member) -> list[tuple[int, float, float]]:
    """Return a fold's history as (check, penalty, loss)."""
    return [(check, 0.0, loss) for check, (_, loss) in enumerate(member.history)]
