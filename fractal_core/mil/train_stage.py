"""Stage `train`: the scorer, from response labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.mil.assembling import assemble
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.posterior import probability
from fractal_core.mil.saving import SavedScorer, save_scorer
from fractal_core.mil.starting import NO_PRIOR, Starting, best_start, plain_start
from fractal_core.mil.training import Schedule, cross_fitted, fit

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.config import TrainConfig
    from fractal_core.pipeline import TrainParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime

_NOISY = {"min": "noisy_and", "max": "noisy_or", "avg": "avg"}


def train(inputs: Inputs, params: TrainParams, outputs: Outputs, runtime: Runtime) -> None:
    """Train, and score every sentence with members that did not see its response's label.

    Writes table scores (round 0), scorer.safetensors and history.parquet (held-out loss by epoch and penalty).
    """
    settings = params.train
    assembled = assemble(inputs, settings, params.seed, None)
    kind = training_aggregation(params.aggregation, settings)
    objective = BagObjective(kind, settings.prior_weights.model_dump())
    examples, plan = assembled.examples, schedule(settings, params.seed)
    with runtime.progress("train", settings.epochs * (1 + len(examples.priors))) as progress:
        starting = Starting(NO_PRIOR, plain_start(examples), {})
        if settings.prior_offset:
            starting = best_start(examples, kind, plan, progress.advance)
        fitted = fit(examples, kind, objective, starting.start, plan, progress.advance)
    logits = fitted.scorer.logits(examples.features, starting.start.prior)
    outputs.write("scores", score_rows(assembled.keys, 0, *cross_fitted(logits, examples)))
    metadata = {
        "features": list(assembled.features),
        "aggregation": params.aggregation,
        "bag_loss": kind,
        "prior": starting.family,
        "penalty": fitted.penalty,
        "epoch": fitted.epoch,
        "held_out_loss": round(fitted.held_out, 6),
    }
    scale = assembled.prior_scales.get(starting.family, (0.0, 1.0))
    saved = SavedScorer(fitted.scorer, assembled.standardiser, *scale, metadata)
    save_scorer(saved, outputs.file("scorer.safetensors"))
    epochs, penalties, losses = zip(*fitted.history, strict=True)
    history = pa.table({"epoch": epochs, "penalty": penalties, "held_out_loss": losses})
    pq.write_table(history, outputs.file("history.parquet"))
    for family, loss in starting.losses.items():
        runtime.note(f"{family} evidence alone: held-out bag loss {loss:.4f}")
    runtime.note(f"best epoch {fitted.epoch + 1}, penalty {fitted.penalty:g}: held-out bag loss {fitted.held_out:.4f}")


def training_aggregation(aggregation: str, settings: TrainConfig) -> str:
    """Return the aggregation used in training: `aggregation` itself, or its noisy form."""
    return _NOISY[aggregation] if settings.bag_loss == "noisy" else aggregation


def schedule(settings: TrainConfig, seed: int) -> Schedule:
    """Return how long and how fast to train."""
    return Schedule(settings.epochs, settings.batch_responses, settings.learning_rate, seed)


def score_rows(keys: pa.Table, number: int, logits: Tensor, spread: Tensor) -> pa.Table:
    """Return rows of table scores for one round.

    Args:
        keys: response_id and sentence_index of N sentences.
        number: the round.
        logits: [N].
        spread: [N].
    """
    return (
        keys.append_column("round", pa.array([number] * keys.num_rows, pa.int32()))
        .append_column("probability", pa.array(probability(logits.double()).numpy()))
        .append_column("spread", pa.array(spread.numpy()))
    )
