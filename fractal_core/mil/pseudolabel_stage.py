"""Stage `pseudolabel`: sentence labels that agree with the response labels, and rounds of retraining on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.mil.adjusting import adjust
from fractal_core.mil.answers import answer, noise
from fractal_core.mil.assembling import Settled, assemble
from fractal_core.mil.ensemble import (
    FINETUNE,
    cross_fitted,
    cross_fitted_extra,
    ensemble_extra,
    ensemble_logits,
    with_given,
)
from fractal_core.mil.explaining import contribution_rows
from fractal_core.mil.folds import FOLDS, read_folds
from fractal_core.mil.guard import judged_by_gold, unseen_loss
from fractal_core.mil.logarithms import probability
from fractal_core.mil.recipe import plan_of, schedule_of
from fractal_core.mil.rounds import student
from fractal_core.mil.rows import pseudolabel_rows, score_rows
from fractal_core.mil.saving import GIVEN, NOISE, SCORER, STUDENT, load_ensemble, load_given, save_ensemble
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    import pyarrow as pa

    from fractal_core.mil.assembling import Assembled
    from fractal_core.mil.ensemble import Component
    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task
    from fractal_core.stage_params import PseudolabelParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


@one_thread()
def pseudolabel(inputs: Inputs, params: PseudolabelParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write tables pseudolabels (of the best round), scores (rounds from 1), contributions, and student.safetensors.

    A round trains a fresh scorer on the posteriors of the round before, each fold on those of its own teacher. It is
    kept only if it fits held-out response labels better; the first that does not ends the rounds. Where the scorer is
    frozen, so is the student of the earlier result that there is to go on from, and nothing is trained.
    """
    teacher = load_ensemble(inputs.file(SCORER))
    settled = Settled(teacher.fit, read_folds(inputs.file(FOLDS)))
    assembled = assemble(inputs, plan_of(params), settled, lambda text: None)
    task, judge = teacher.task, teacher.task.judged()
    everything = adjust(assembled.examples, task.adjusted, assembled.features)
    examples = everything.to_learn_from()
    components, number = with_given(teacher.components, load_given(inputs.file(GIVEN))), 0
    rounds, settled_noise = params.pseudolabel.rounds, None
    before = inputs.continued()
    if before is not None:
        kept, rounds = load_ensemble(before.path(STUDENT)), 0
        settled_noise = kept.metadata.get(NOISE)
        number = int(kept.metadata["round"])
        if number:
            components = kept.components
            outputs.write("scores", _scores(assembled, number, task, components, everything))
        whose = f"student of round {number}" if number else "scorer"
        runtime.note(f"frozen: sentence labels are by the {whose} of run {before.run_id}")
    elif rounds and params.train.scorer == FINETUNE:
        runtime.note("a fine-tuned encoder has no students: no rounds")
        rounds = 0
    loss = unseen_loss(examples, judge, components)
    with runtime.progress("pseudolabel", rounds * params.train.epochs) as progress:
        for candidate in range(1, rounds + 1):
            plan = schedule_of(params.train, params.seed + candidate, runtime.device)
            confidence = params.pseudolabel.confidence
            scorer = params.train.scorer
            new = [student(components, examples, task, scorer, confidence, plan, progress.advance)]
            outputs.write("scores", _scores(assembled, candidate, task, new, everything))
            new_loss = unseen_loss(examples, judge, new)
            verdict = f"({new_loss:.4f}, before {loss:.4f})"
            unseen = "gold labels" if judged_by_gold(examples) else "responses"
            if new_loss >= loss:
                runtime.note(f"round {candidate} fits held-out {unseen} no better {verdict}: not kept")
                break
            runtime.note(f"round {candidate} fits held-out {unseen} better {verdict}: kept")
            components, loss, number = new, new_loss, candidate
    logits, spread = cross_fitted(ensemble_logits(components, everything), everything)
    extra = cross_fitted_extra(ensemble_extra(components), everything)
    labelled = assembled.supervision.as_given(everything)
    about: dict[str, int | float] = {"round": number}
    if task.kind == "real":
        # What is kept is kept as it is, whatever the labels are now.
        about[NOISE] = settled_noise or noise(task, probability(logits.double())[None], labelled)
    save_ensemble(replace(teacher, components=components, metadata=teacher.metadata | about), outputs.file(STUDENT))
    answers = answer(task, logits, extra, labelled, about.get(NOISE))
    rows = pseudolabel_rows(assembled.keys, answers, spread, assembled.supervision, everything.segments, number)
    outputs.write("pseudolabels", rows)
    for piece in contribution_rows(assembled.keys, components, everything, assembled.features):
        outputs.write("contributions", piece)


def _scores(assembled: Assembled, number: int, task: Task, components: list[Component], examples: Examples) -> pa.Table:
    """Return rows of table scores for one round."""
    logits, spread = cross_fitted(ensemble_logits(components, examples), examples)
    extra = cross_fitted_extra(ensemble_extra(components), examples)
    return score_rows(assembled.keys, number, task, logits, extra, spread)
