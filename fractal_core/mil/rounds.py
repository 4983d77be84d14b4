"""Rounds of students: a fresh scorer trained on posteriors, kept only if it fits held-out labels better."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.answers import given_label
from fractal_core.mil.calibration import calibrate
from fractal_core.mil.ensemble import Component, ensemble_extra, ensemble_logits
from fractal_core.mil.guard import on_one_scale
from fractal_core.mil.objective import PseudolabelObjective
from fractal_core.mil.starting import NO_PRIOR, start_from
from fractal_core.mil.training import fit

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task
    from fractal_core.mil.training import Schedule


def student(
    components: list[Component],
    examples: Examples,
    task: Task,
    scorer: str,
    confidence: float,
    schedule: Schedule,
    advance: Callable[[], None],
) -> Component:
    """Train a scorer on what an ensemble says of the train sentences given their labels.

    A student starts, as its teacher did, from the prior of the teacher's first trained head.

    Args:
        components: the teacher.
        examples: train units without a label are learned from too.
        task: what was learned.
        scorer: of the student, if the teacher is nothing but a prior.
        confidence: sentences below it, adapted to the class, are left out (`confident`); 0 keeps all.
        schedule: of the training.
        advance: called once an epoch.
    """
    head = next((c for c in components if c.parameters["weights"].shape[-1]), components[0])
    judge = task.judged()
    kind = head.scorer if head.parameters["weights"].shape[-1] else scorer
    targets = given_label(judge, ensemble_logits(components, examples), ensemble_extra(components), examples)
    if judge.kind == "real":  # The noise may take a value out of the range.
        targets = targets.clamp(0, 1)
    taught = torch.zeros(examples.segments.count, dtype=torch.bool)
    taught[examples.units[examples.train].flatten()] = True
    train = examples.segments.expand(taught)
    objective = PseudolabelObjective(judge, targets.float(), confident(targets, judge.kind, confidence, train))
    calibration = None
    if head.family != NO_PRIOR:
        calibration = calibrate(examples, judge, examples.priors[head.family])
    start = start_from(examples, judge, kind, head.family, calibration, schedule.seed)
    fitted = fit(examples, judge, objective, start, schedule, advance)
    raw = Component("student", kind, head.family, fitted.parameters)
    return on_one_scale([raw], examples, judge)[0]


def confident(targets: Tensor, kind: str, threshold: float, rows: Tensor) -> Tensor:
    """Say which posteriors are sure enough to learn from, bool [T, N].

    The threshold of a class is scaled by how sure the teacher is of that class on the whole, relative to the class it
    is surest of (as in FreeMatch, arXiv 2205.07246, self-adaptive class thresholds), so that a hard class is not
    starved. Real values have no classes: all are kept.

    Args:
        targets: [T, N] in [0, 1], or [T, L + 1, N].
        kind: of the labels.
        threshold: in [0, 1).
        rows: bool [N], sentences of train responses, by which sureness is measured.
    """
    if kind == "real":
        return torch.ones(targets.shape, dtype=torch.bool)
    classes = targets if kind == "ordinal" else torch.stack([1 - targets, targets], dim=1)
    sure, label = classes.max(1)
    ours = torch.nn.functional.one_hot(label, classes.shape[1]).to(sure.dtype) * rows[:, None]
    counts = ours.sum(1)
    mean = (ours * sure[..., None]).sum(1) / counts.clamp(min=1)
    relative = torch.where(counts > 0, mean, torch.ones_like(mean)) / mean.amax(1, keepdim=True).clamp(min=1e-9)
    return sure >= (threshold * relative).gather(1, label)
