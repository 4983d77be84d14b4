"""Stage `pseudolabel`: sentence labels that agree with the response labels, and rounds of retraining on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from fractal_core.mil.assembling import assemble
from fractal_core.mil.linear import LinearScorer
from fractal_core.mil.objective import PseudolabelObjective
from fractal_core.mil.posterior import posterior, probability
from fractal_core.mil.pseudolabels import agrees, most_likely
from fractal_core.mil.saving import SavedScorer, load_scorer, save_scorer
from fractal_core.mil.starting import NO_PRIOR, plain_start
from fractal_core.mil.train_stage import schedule, score_rows, training_aggregation
from fractal_core.mil.training import Start, cross_fitted, fit, held_out_loss

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.pipeline import PseudolabelParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


def pseudolabel(inputs: Inputs, params: PseudolabelParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write table pseudolabels (of the best round), table scores (rounds from 1) and student.safetensors.

    A round trains a fresh scorer on the posteriors of the round before, each fold on those of its own teacher. It is
    kept only if it fits held-out response labels better; the first that does not ends the rounds.
    """
    teacher = load_scorer(inputs.file("scorer.safetensors"))
    assembled = assemble(inputs, params.train, params.seed, teacher.standardiser)
    examples = assembled.examples
    kind = training_aggregation(params.aggregation, params.train)
    best = teacher
    start = _start_of(teacher, examples)
    members = teacher.scorer.logits(examples.features, start.prior)
    logits, _ = cross_fitted(members, examples)
    loss, number = held_out_loss(examples, kind, logits), 0
    with runtime.progress("pseudolabel", params.pseudolabel.rounds * params.train.epochs) as progress:
        for candidate in range(1, params.pseudolabel.rounds + 1):
            targets = posterior(params.aggregation, members, examples.labels, examples.segments).float()
            plan = schedule(params.train, params.seed + candidate)
            student = fit(examples, kind, PseudolabelObjective(targets), start, plan, progress.advance)
            new_members = student.scorer.logits(examples.features, start.prior)
            new_logits, spread = cross_fitted(new_members, examples)
            outputs.write("scores", score_rows(assembled.keys, candidate, new_logits, spread))
            new_loss = held_out_loss(examples, kind, new_logits)
            if new_loss >= loss:
                runtime.note(
                    f"round {candidate} fits held-out responses no better ({new_loss:.4f}, before {loss:.4f}): not kept"
                )
                break
            runtime.note(f"round {candidate} fits held-out responses better ({new_loss:.4f}, before {loss:.4f}): kept")
            metadata = {**teacher.metadata, "round": candidate, "penalty": student.penalty, "epoch": student.epoch}
            best = replace(teacher, scorer=student.scorer, metadata=metadata)
            members, logits, loss, number = new_members, new_logits, new_loss, candidate
    save_scorer(best, outputs.file("student.safetensors"))
    outputs.write("pseudolabels", _rows(assembled.keys, params.aggregation, logits, examples, number))


def _start_of(teacher: SavedScorer, examples: Examples) -> Start:
    """Return where a student starts: a fresh head on the teacher's calibrated prior."""
    plain, family = plain_start(examples), teacher.metadata["prior"]
    if family == NO_PRIOR:
        return plain
    scorer = LinearScorer(plain.scorer.weights, teacher.scorer.bias, teacher.scorer.offset)
    return Start(scorer, examples.priors[family], examples.families[family], offset=False)


def _rows(keys: pa.Table, aggregation: str, logits: Tensor, examples: Examples, number: int) -> pa.Table:
    """Return table pseudolabels for one round's logits [N]."""
    logits = logits.double()
    labels, segments = examples.labels, examples.segments
    given = posterior(aggregation, logits, labels, segments)
    hard = most_likely(aggregation, logits, labels, segments)
    fits = segments.expand(agrees(aggregation, hard, labels, segments)).numpy()
    unlabelled = torch.isnan(segments.expand(labels)).numpy()
    confidence = torch.where(hard == 1, given, 1 - given)
    columns = {
        "score": pa.array(probability(logits).numpy()),
        "posterior": pa.array(given.numpy()),
        "pseudolabel": pa.array(hard.numpy()),
        "confidence": pa.array(confidence.numpy()),
        "round": pa.array(np.full(len(hard), number, dtype=np.int32)),
        "agrees": pa.array(fits, mask=unlabelled),
    }
    for name, values in columns.items():
        keys = keys.append_column(name, values)
    return keys
