"""Stage `train`: the scorer, from response labels alone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fractal_core.mil.adjusting import adjust, adjusted_for
from fractal_core.mil.assembling import Assembled, Settled, assemble
from fractal_core.mil.ensemble import FINETUNE, cross_fitted, cross_fitted_extra, ensemble_extra, ensemble_logits
from fractal_core.mil.finetune.saving import ENCODERS, save_finetuned
from fractal_core.mil.finetuning import learn_by_finetuning
from fractal_core.mil.folds import FOLDS, write_folds
from fractal_core.mil.freezing import score_frozen
from fractal_core.mil.going_on import FREEZE, TRAINED_ON, Earlier, note_anew, note_silent, to_train_further
from fractal_core.mil.learning import learn
from fractal_core.mil.recipe import plan_of, recipe_of, schedule_of, tasks_of
from fractal_core.mil.rows import score_rows
from fractal_core.mil.saving import GIVEN, HEADS, SCORER, SavedEnsemble, save_ensemble, save_given, save_heads
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from fractal_core.mil.ensemble import Component
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.guard import Learned
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import TrainParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


def train(inputs: Inputs, params: TrainParams, outputs: Outputs, runtime: Runtime) -> None:
    """Train, and score every sentence with members that did not see its response's label.

    Writes table scores (round 0), scorer.safetensors, heads.safetensors (heads before calibration), folds.parquet (of
    the responses learned from), finetuned.safetensors (encoders that were trained, if any), given.safetensors (what
    they say of every sentence) and history.parquet (held-out loss by head, epoch and penalty).

    An earlier scorer is trained further or kept, if there is one to go on from (`train.on_new_data`). The same input
    and seed give the same bytes whatever the number of threads, but for scorer "finetune": an encoder would take too
    long on one.
    """
    with nullcontext() if params.train.scorer == FINETUNE else one_thread():
        _train(inputs, params, outputs, runtime)


def _train(inputs: Inputs, params: TrainParams, outputs: Outputs, runtime: Runtime) -> None:
    before, plan = inputs.continued(), plan_of(params)
    if before is not None and before.mode == FREEZE:
        score_frozen(inputs, params, before, outputs, runtime)
        return
    earlier = to_train_further(before, plan, runtime.note)
    settled = None if earlier is None else Settled(earlier.saved.fit, earlier.folds, trains=True)
    assembled = assemble(inputs, plan, settled, runtime.note)
    if earlier is not None:
        runtime.note(f"warm start from the scorer of run {earlier.run_id}, {earlier.compared(assembled)}")
        note_silent(earlier.heads.values(), assembled, runtime.note)
    examples = assembled.examples
    tasks = [
        adjusted_for(task, params.train.adjust_for, examples) for task in tasks_of(params, _binary(examples.labels))
    ]
    found: list[tuple[Task, Learned, list[Member]]] = []
    heads: list[tuple[Task, Component]] = []
    for task in tasks:
        recipe = recipe_of(params.train, task)
        members: list[Member] = []
        if params.train.scorer == FINETUNE:
            encoders = _encoders(earlier, task, runtime.note)
            folder = outputs.scratch(f"finetune-{task.aggregation}")
            learned, members = learn_by_finetuning(inputs, assembled, task, recipe, params, runtime, folder, encoders)
        else:
            with runtime.progress(_titled(task, tasks), params.train.epochs * len(recipe.poolings)) as progress:
                schedule = schedule_of(params.train, params.seed, runtime.device)
                seen = adjust(examples, task.adjusted, assembled.features)
                learned = learn(seen, task, recipe, schedule, progress.advance, earlier.heads if earlier else {})
        found.append((task, learned, members))
        heads += learned.raw
        if len(tasks) > 1:
            runtime.note(f"read as {task.aggregation}: held-out loss {learned.held_out:.4f}")
    task, learned, members = min(found, key=lambda each: each[1].held_out)
    note_anew(earlier, heads, runtime.note)
    if len(tasks) > 1:
        runtime.note(f"aggregation auto: {task.aggregation} explains the labels best")
    _say(task, learned, runtime.note)
    _write(assembled, task, learned, members, outputs)
    save_heads(heads, outputs.file(HEADS))


def _encoders(earlier: Earlier | None, task: Task, note: Callable[[str], None]) -> list[Member]:
    """Return the encoders to go on from: those there are have learned one reading of the labels."""
    if earlier is None:
        return []
    if earlier.saved.task.aggregation != task.aggregation:
        note(f"read as {task.aggregation}: encoders start anew, for the earlier ones learned otherwise")
        return []
    return earlier.members


def _say(task: Task, learned: Learned, note: Callable[[str], None]) -> None:
    """Note what was compared, and what came of it."""
    if task.adjusted:
        note(
            f"preferences are adjusted for {task.adjusted} evidence of the whole response, which no sentence is scored "
            'by; train.adjust_for = "none" lets it count'
        )
    if learned.by_gold:
        note("candidates are compared by gold labels of sentences that they did not see")
    losses = learned.compared if learned.by_gold else learned.heads | learned.compared
    for name, loss in losses.items():
        note(f"held-out loss of {name}: {loss:.4f}")
    note(f"held-out loss of the same score for every sentence: {learned.constant:.4f}")
    note(f"scores are those of: {learned.winner}")
    least = learned.compared[learned.winner]
    if least >= learned.constant:
        note(
            f"WARNING: the scores explain held-out labels no better than the same score for every sentence "
            f"({least:.4f} against {learned.constant:.4f}): there are too few labels, or they are not about what the "
            "evidence is about; do not rely on the scores"
        )


def _titled(task: Task, tasks: list[Task]) -> str:
    return "train" if len(tasks) == 1 else f"train ({task.aggregation})"


def _binary(labels: torch.Tensor) -> bool:
    return bool((torch.isnan(labels) | (labels == 0) | (labels == 1)).all())


def _write(assembled: Assembled, task: Task, learned: Learned, members: list[Member], outputs: Outputs) -> None:
    examples = adjust(assembled.examples, task.adjusted, assembled.features)
    logits, spread = cross_fitted(ensemble_logits(learned.components, examples), examples)
    extra = cross_fitted_extra(ensemble_extra(learned.components), examples)
    outputs.write("scores", score_rows(assembled.keys, 0, task, logits, extra, spread))
    metadata = {
        "features": list(assembled.features),
        "winner": learned.winner,
        "held_out_loss": round(learned.held_out, 6),
        TRAINED_ON: int(assembled.taught.sum()),
        "round": 0,
    }
    save_ensemble(SavedEnsemble(learned.components, task, assembled.fit, metadata), outputs.file(SCORER))
    write_folds(assembled.folds, outputs.file(FOLDS))
    save_finetuned(members, outputs.file(ENCODERS), {})
    given = (component.given for component in learned.components)
    save_given(next((each for each in given if each is not None), None), outputs.file(GIVEN))
    heads, epochs, penalties, losses = zip(*learned.history, strict=True) if learned.history else ((), (), (), ())
    history = {
        "head": pa.array(heads, pa.string()),
        "epoch": pa.array(epochs, pa.int32()),
        "penalty": pa.array(penalties, pa.float64()),
        "held_out_loss": pa.array(np.array(losses, dtype=np.float64)),
    }
    pq.write_table(pa.table(history), outputs.file("history.parquet"))
