"""Stage `train`: the scorer, from response labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fractal_core.mil.adjusting import adjust, adjusted_for
from fractal_core.mil.assembling import Assembled, assemble
from fractal_core.mil.ensemble import cross_fitted, cross_fitted_extra, ensemble_extra, ensemble_logits
from fractal_core.mil.finetune.saving import save_finetuned
from fractal_core.mil.finetuning import FINETUNE, learn_by_finetuning
from fractal_core.mil.learning import learn
from fractal_core.mil.recipe import plan_of, recipe_of, schedule_of, tasks_of
from fractal_core.mil.rows import score_rows
from fractal_core.mil.saving import SavedEnsemble, save_ensemble

if TYPE_CHECKING:
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.guard import Learned
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import TrainParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


def train(inputs: Inputs, params: TrainParams, outputs: Outputs, runtime: Runtime) -> None:
    """Train, and score every sentence with members that did not see its response's label.

    Writes table scores (round 0), scorer.safetensors, finetuned.safetensors (encoders that were trained, if any) and
    history.parquet (held-out loss by head, epoch and penalty).
    """
    assembled = assemble(inputs, plan_of(params), None, runtime.note)
    examples = assembled.examples
    tasks = [
        adjusted_for(task, params.train.adjust_for, examples) for task in tasks_of(params, _binary(examples.labels))
    ]
    found: list[tuple[Task, Learned, list[Member]]] = []
    for task in tasks:
        recipe = recipe_of(params.train, task)
        members: list[Member] = []
        if params.train.scorer == FINETUNE:
            learned, members = learn_by_finetuning(inputs, assembled, task, recipe, params, runtime)
        else:
            with runtime.progress(_titled(task, tasks), params.train.epochs * len(recipe.poolings)) as progress:
                plan = schedule_of(params.train, params.seed)
                seen = adjust(examples, task.adjusted, assembled.features)
                learned = learn(seen, task, recipe, plan, progress.advance)
        found.append((task, learned, members))
        if len(tasks) > 1:
            runtime.note(f"read as {task.aggregation}: held-out loss {learned.held_out:.4f}")
    task, learned, members = min(found, key=lambda each: each[1].held_out)
    if len(tasks) > 1:
        runtime.note(f"aggregation auto: {task.aggregation} explains the labels best")
    if task.adjusted:
        runtime.note(
            f"preferences are adjusted for {task.adjusted} evidence of the whole response, which no sentence is scored "
            'by; train.adjust_for = "none" lets it count'
        )
    if learned.by_gold:
        runtime.note("candidates are compared by gold labels of sentences that they did not see")
    losses = learned.compared if learned.by_gold else learned.heads | learned.compared
    for name, loss in losses.items():
        runtime.note(f"held-out loss of {name}: {loss:.4f}")
    runtime.note(f"held-out loss of the same score for every sentence: {learned.constant:.4f}")
    runtime.note(f"scores are those of: {learned.winner}")
    least = learned.compared[learned.winner]
    if least >= learned.constant:
        runtime.note(
            f"WARNING: the scores explain held-out labels no better than the same score for every sentence "
            f"({least:.4f} against {learned.constant:.4f}): there are too few labels, or they are not about what the "
            "evidence is about; do not rely on the scores"
        )
    _write(assembled, task, learned, members, outputs)


def _titled(task: Task, tasks: list[Task]) -> str:
    return "train" if len(tasks) == 1 else f"train ({task.aggregation})"


def _binary(labels: torch.Tensor) -> bool:
    return bool((torch.isnan(labels) | (labels == 0) | (labels == 1)).all())


def _write(assembled: Assembled, task: Task, learned: Learned, members: list[Member], outputs: Outputs) -> None:
    examples = adjust(assembled.examples, task.adjusted, assembled.features)
    logits, spread = cross_fitted(ensemble_logits(learned.components, examples), examples)
    extra = cross_fitted_extra(ensemble_extra(learned.components), examples)
    outputs.write("scores", score_rows(assembled.keys, 0, task, logits, extra, spread))
    supervision = assembled.supervision
    metadata = {
        "features": list(assembled.features),
        "winner": learned.winner,
        "held_out_loss": round(learned.held_out, 6),
        "low": supervision.low,
        "high": supervision.high,
        "round": 0,
    }
    saved = SavedEnsemble(learned.components, task, assembled.fit, assembled.prior_scales, metadata)
    save_ensemble(saved, outputs.file("scorer.safetensors"))
    save_finetuned(members, outputs.file("finetuned.safetensors"), {})
    heads, epochs, penalties, losses = zip(*learned.history, strict=True) if learned.history else ((), (), (), ())
    history = {
        "head": pa.array(heads, pa.string()),
        "epoch": pa.array(epochs, pa.int32()),
        "penalty": pa.array(penalties, pa.float64()),
        "held_out_loss": pa.array(np.array(losses, dtype=np.float64)),
    }
    pq.write_table(pa.table(history), outputs.file("history.parquet"))
