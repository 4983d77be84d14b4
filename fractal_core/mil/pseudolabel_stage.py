"""Stage `pseudolabel`: sentence labels that agree with the response labels, and rounds of retraining on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.mil.adjusting import adjust
from fractal_core.mil.answers import answer
from fractal_core.mil.assembling import assemble
from fractal_core.mil.ensemble import cross_fitted, cross_fitted_extra, ensemble_extra, ensemble_logits
from fractal_core.mil.explaining import contribution_rows
from fractal_core.mil.guard import judged_by_gold, unseen_loss
from fractal_core.mil.recipe import plan_of, schedule_of
from fractal_core.mil.rounds import student
from fractal_core.mil.rows import pseudolabel_rows, score_rows
from fractal_core.mil.saving import load_ensemble, save_ensemble

if TYPE_CHECKING:
    from fractal_core.stage_params import PseudolabelParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


def pseudolabel(inputs: Inputs, params: PseudolabelParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write tables pseudolabels (of the best round), scores (rounds from 1), contributions, and student.safetensors.

    A round trains a fresh scorer on the posteriors of the round before, each fold on those of its own teacher. It is
    kept only if it fits held-out response labels better; the first that does not ends the rounds.
    """
    teacher = load_ensemble(inputs.file("scorer.safetensors"))
    assembled = assemble(inputs, plan_of(params), teacher.fit, lambda text: None)
    task, judge = teacher.task, teacher.task.judged()
    examples = adjust(assembled.examples, task.adjusted, assembled.features)
    components, number = teacher.components, 0
    loss = unseen_loss(examples, judge, components)
    rounds = params.pseudolabel.rounds
    if rounds and any(component.given is not None for component in components):
        runtime.note("a fine-tuned encoder has no students: no rounds")
        rounds = 0
    with runtime.progress("pseudolabel", rounds * params.train.epochs) as progress:
        for candidate in range(1, rounds + 1):
            plan = schedule_of(params.train, params.seed + candidate)
            confidence = params.pseudolabel.confidence
            scorer = params.train.scorer
            new = [student(components, examples, task, scorer, confidence, plan, progress.advance)]
            logits, spread = cross_fitted(ensemble_logits(new, examples), examples)
            extra = cross_fitted_extra(ensemble_extra(new), examples)
            outputs.write("scores", score_rows(assembled.keys, candidate, task, logits, extra, spread))
            new_loss = unseen_loss(examples, judge, new)
            verdict = f"({new_loss:.4f}, before {loss:.4f})"
            unseen = "gold labels" if judged_by_gold(examples) else "responses"
            if new_loss >= loss:
                runtime.note(f"round {candidate} fits held-out {unseen} no better {verdict}: not kept")
                break
            runtime.note(f"round {candidate} fits held-out {unseen} better {verdict}: kept")
            components, loss, number = new, new_loss, candidate
    best = replace(teacher, components=components, metadata={**teacher.metadata, "round": number})
    save_ensemble(best, outputs.file("student.safetensors"))
    logits, spread = cross_fitted(ensemble_logits(components, examples), examples)
    extra = cross_fitted_extra(ensemble_extra(components), examples)
    answers = answer(task, logits, extra, assembled.supervision.as_given(examples))
    rows = pseudolabel_rows(assembled.keys, answers, spread, assembled.supervision, examples.segments, number)
    outputs.write("pseudolabels", rows)
    for piece in contribution_rows(assembled.keys, components, examples, assembled.features):
        outputs.write("contributions", piece)
