"""Where training starts: the evidence prior that explains the response labels best, on their scale.

The prior, calibrated by the bag loss, becomes a fixed offset; the head learns a correction to it, and may not turn a
feature of that prior against its meaning. Response labels are a weak judge of sentences: without this, a head that fits
responses better (by their length, say) ranks sentences worse than its own prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fractal_core.mil.examples import Examples
from fractal_core.mil.linear import LinearScorer
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.training import Fitted, Schedule, Start, fit

NO_PRIOR = "none"


@dataclass(frozen=True, eq=False)
class Starting:
    """A start, the family of its prior (or "none"), and the held-out loss of each prior alone."""

    family: str
    start: Start
    losses: dict[str, float]


def folds_of(examples: Examples) -> int:
    """Return the number of folds."""
    return int(examples.fold.max()) + 1


def plain_start(examples: Examples) -> Start:
    """Return members of zeros, a fold each, without prior and without constraint."""
    folds, features = folds_of(examples), examples.features.shape[1]
    zeros = LinearScorer(torch.zeros(folds, features), torch.zeros(folds), torch.zeros(folds))
    return Start(zeros, torch.zeros(len(examples.features)), torch.zeros(features), offset=False)


def best_start(examples: Examples, kind: str, schedule: Schedule, advance: Callable[[], None]) -> Starting:
    """Calibrate each evidence prior (logit = offset * prior + bias, cross-fitted) and start from the likeliest.

    Args:
        examples: with the priors to choose from.
        kind: aggregation in training.
        schedule: of the calibration.
        advance: called once an epoch.
    """
    plain = plain_start(examples)
    found: dict[str, Fitted] = {}
    bare = replace(examples, features=examples.features[:, :0])
    for family, prior in examples.priors.items():
        if not prior.any():
            continue
        empty = LinearScorer(plain.scorer.weights[:, :0], plain.scorer.bias, torch.ones_like(plain.scorer.bias))
        start = Start(empty, prior, plain.signs[:0], offset=True)
        found[family] = fit(bare, kind, BagObjective(kind, {}), start, schedule, advance, penalties=(1.0,))
    losses = {family: fitted.held_out for family, fitted in found.items()}
    if not losses:
        return Starting(NO_PRIOR, plain, losses)
    family = min(losses, key=losses.__getitem__)
    calibrated = found[family].scorer
    scorer = LinearScorer(plain.scorer.weights, calibrated.bias, calibrated.offset)
    return Starting(family, Start(scorer, examples.priors[family], examples.families[family], offset=False), losses)
