"""Stage `train` under `train.on_new_data = "freeze"`: an earlier scorer, as it is, scores every sentence."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from fractal_core.errors import InputError
from fractal_core.mil.applying import apply_ensemble, odd_label
from fractal_core.mil.assembling import Assembled, Settled, assemble
from fractal_core.mil.ensemble import FINETUNE
from fractal_core.mil.finetune.saving import ENCODERS
from fractal_core.mil.finetuning import score_by_finetuned
from fractal_core.mil.folds import FOLDS
from fractal_core.mil.going_on import Earlier, note_silent
from fractal_core.mil.recipe import plan_of
from fractal_core.mil.rows import score_rows
from fractal_core.mil.saving import GIVEN, HEADS, SCORER, save_given

if TYPE_CHECKING:
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import TrainParams
    from fractal_core.store.stage import Inputs, Outputs, Predecessor, Runtime

_KEPT = (SCORER, HEADS, ENCODERS, FOLDS, "history.parquet")


def score_frozen(inputs: Inputs, params: TrainParams, before: Predecessor, outputs: Outputs, runtime: Runtime) -> None:
    """Score every sentence with an earlier scorer, and hand on its files byte for byte.

    A response that the scorer was trained on is scored by the members that have not seen its label, even if it has
    another one now; a response that none has seen by the mean of all.

    Raises:
        InputError: a response has a label that the scorer cannot read.
    """
    earlier = Earlier.read(before)
    saved = earlier.saved
    assembled = assemble(inputs, plan_of(params), Settled(saved.fit, earlier.folds), runtime.note)
    _check_labels(assembled, saved.task)
    runtime.note(f"frozen: scores are by the scorer of run {before.run_id}, {earlier.compared(assembled)}")
    note_silent(saved.components, assembled, runtime.note)
    given = None
    if any(component.scorer == FINETUNE for component in saved.components):
        given = score_by_finetuned(inputs, assembled.sentences.segments, earlier.members, params, runtime)
    said = apply_ensemble(saved, assembled.sentences, assembled.examples.fold, given)
    outputs.write("scores", score_rows(assembled.keys, 0, saved.task, said.logits, said.extra, said.spread))
    save_given(given, outputs.file(GIVEN))
    for name in _KEPT:
        shutil.copyfile(before.path(name), outputs.file(name))


def _check_labels(assembled: Assembled, task: Task) -> None:
    """Raise an InputError for a share where the scorer has found that labels are 0 or 1."""
    odd = odd_label(assembled.examples, task)
    if odd is not None:
        response = assembled.responses.column("response_id")[int(assembled.examples.units[odd, 0])]
        label = float(assembled.examples.labels[odd])
        raise InputError(
            f'The scorer that is kept reads labels as 0 or 1 (aggregation = "auto" took {task.aggregation}), but '
            f"response {response} has the label {label:g}: mend the label, or set train.on_new_data = "
            '"retrain".'
        )
