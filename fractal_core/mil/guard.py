"""The guard: a trained scorer competes with each bare prior and with their average, and the best of them is kept.

Candidates are compared by labels that the members which speak of them did not see: those of responses, or, where there
are enough to learn from, gold labels of sentences, which are what is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch

from fractal_core.mil.calibration import calibrate, rescaled
from fractal_core.mil.ensemble import EXTRA, Component, cross_fitted, ensemble_extra, ensemble_logits
from fractal_core.mil.held_out import gold_loss, held_out_loss
from fractal_core.mil.starting import LINEAR, NO_PRIOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.task import Task

# The priors of some examples, calibrated under a judge.
PriorsUnder: TypeAlias = "Callable[[Task], dict[str, Component]]"

# Gold labels of train sentences from which on candidates are compared by them and not by the labels of responses.
ENOUGH_GOLD = 100


@dataclass(frozen=True, eq=False)
class Learned:
    """A calibrated ensemble, its held-out loss in nats a unit, and what was tried.

    Attributes:
        components: the ensemble.
        held_out: its loss.
        winner: what it is made of.
        heads: name of each pooling's head -> its held-out loss, under its own pooling.
        compared: name of each candidate -> the loss by which they were compared.
        by_gold: whether that was of gold labels, in nats a sentence, or of the labels of units.
        constant: the same loss of one score for every sentence.
        history: (head, epoch, penalty, held-out loss), the loss being that of the head's own pooling.
        raw: each head as it came out of training, and what it learned.
    """

    components: list[Component]
    held_out: float
    winner: str
    heads: dict[str, float]
    compared: dict[str, float]
    by_gold: bool
    constant: float
    history: list[tuple[str, int, float, float]]
    raw: tuple[tuple[Task, Component], ...] = ()


def assess(examples: Examples, judge: Task, components: list[Component]) -> float:
    """Return the held-out loss of an ensemble, in nats a unit."""
    logits, _ = cross_fitted(ensemble_logits(components, examples), examples)
    return held_out_loss(examples, judge, logits[None], ensemble_extra(components).mean(0)[None])


def guarded(
    heads: list[Component],
    examples: Examples,
    task: Task,
    judge: Task,
    guard: bool,
    losses: dict[str, float],
    history: list[tuple[str, int, float, float]],
    priors_under: PriorsUnder,
) -> Learned:
    """Compare trained heads with each bare prior and with their average, and keep what explains unseen labels best.

    Args:
        heads: calibrated under the judge.
        examples: the labels and priors.
        task: what was learned.
        judge: by whose held-out loss candidates are compared.
        guard: whether priors compete at all.
        losses: of the single heads, to be reported.
        history: to be reported.
        priors_under: `calibrated_priors` of these examples.
    """
    by_gold = judged_by_gold(examples)
    name = " and ".join(head.name for head in heads)
    candidates = {name: heads}
    priors = priors_under(judge) if guard else {}
    if priors:
        alone = {family: unseen_loss(examples, judge, [prior]) for family, prior in priors.items()}
        best = min(alone, key=alone.__getitem__)
        candidates[f"{name} and the {best} prior"] = [
            *(replace(head, share=head.share / 2) for head in heads),
            replace(priors[best], share=0.5),
        ]
        candidates |= {f"the {family} prior": [prior] for family, prior in priors.items()}
    compared = {name: unseen_loss(examples, judge, parts) for name, parts in candidates.items()}
    winner = min(compared, key=compared.__getitem__)
    constant = calibrated(examples, judge, NO_PRIOR, torch.zeros(examples.segments.total))
    parts = on_one_scale(candidates[winner], examples, task.judged())
    return Learned(
        components=parts,
        held_out=assess(examples, task.judged(), parts),
        winner=winner,
        heads=losses,
        compared=compared,
        by_gold=by_gold,
        constant=unseen_loss(examples, judge, [constant]),
        history=history,
    )


def judged_by_gold(examples: Examples) -> bool:
    """Say whether candidates are compared by gold labels of sentences."""
    return int((~torch.isnan(examples.gold)).sum()) >= ENOUGH_GOLD


def unseen_loss(examples: Examples, judge: Task, components: list[Component]) -> float:
    """Return the loss by which candidates are compared: of gold labels in nats a sentence, or else as `assess` does."""
    if not judged_by_gold(examples):
        return assess(examples, judge, components)
    return gold_loss(examples, cross_fitted(ensemble_logits(components, examples), examples)[0])


def on_one_scale(components: list[Component], examples: Examples, judge: Task) -> list[Component]:
    """Return components whose weighted mean is calibrated, by what it says of responses that it did not see.

    The members are standardised first (no label is looked at): a member that was trained without the positive responses
    of its fold has a low bias, and to calibrate across such biases would reverse them.
    """
    logits = ensemble_logits(components, examples)
    mean, scale = logits.mean(1), logits.std(1).clamp(min=1e-6)
    score, _ = cross_fitted((logits - mean[:, None]) / scale[:, None], examples)
    by = calibrate(examples, judge, score)
    factor = by["offset"] / scale
    shift = by["bias"] - factor * mean
    return [replace(c, parameters=rescaled(c.parameters, factor, shift, by[EXTRA])) for c in components]


def calibrated_priors(examples: Examples, judge: Task) -> dict[str, Component]:
    """Return every prior that says anything, calibrated."""
    return {
        family: calibrated(examples, judge, family, prior) for family, prior in examples.priors.items() if prior.any()
    }


def calibrated(examples: Examples, judge: Task, family: str, prior: Tensor) -> Component:
    """Return a bare prior as a component."""
    return Component(family, LINEAR, family, calibrate(examples, judge, prior))
