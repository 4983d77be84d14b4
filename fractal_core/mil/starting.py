"""Where training starts: the prior that explains the response labels best, on their scale.

The prior, calibrated by the bag loss, becomes a fixed offset; the head learns a correction to it, and may not turn a
feature of that prior against its meaning. Response labels are a weak judge of sentences: without this, a head that fits
responses better (by their length, say) ranks sentences worse than its own prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fractal_core.mil.ensemble import ATTENTION, EXTRA
from fractal_core.mil.scorers.parameters import copy
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.training import Start

if TYPE_CHECKING:
    from fractal_core.mil.ensemble import Component
    from fractal_core.mil.examples import Examples
    from fractal_core.mil.scorers.parameters import Parameters
    from fractal_core.mil.task import Task

NO_PRIOR = "none"
LINEAR = "evidence"


def start_from(
    examples: Examples, task: Task, scorer: str, family: str, calibration: Parameters | None, seed: int = 0
) -> Start:
    """Return members, a dealing and fold each, with a calibrated prior as fixed offset or without prior.

    Args:
        examples: the features and priors.
        task: what is learned.
        scorer: a key of `SCORERS`.
        family: a key of `examples.priors`, or "none".
        calibration: what `calibrate` found for that prior.
        seed: of hidden layers.
    """
    teams, width = examples.dealings * examples.folds, examples.features.shape[-1]
    parameters = SCORERS[scorer].start(teams, width, torch.Generator().manual_seed(seed))
    parameters[EXTRA] = torch.zeros(teams, task.extras)
    trained = [name for name in parameters if name != "offset"]
    prior = torch.zeros(examples.segments.total)
    if calibration is not None:
        parameters.update({name: calibration[name].clone() for name in ("bias", "offset", EXTRA)})
        prior = examples.priors[family]
    if task.attentive:
        parameters[ATTENTION] = torch.zeros(teams, width)
        trained.append(ATTENTION)
    signs = examples.families.get(family) if scorer == LINEAR else None
    return Start(scorer, parameters, prior, signs, tuple(trained))


def start_where(examples: Examples, head: Component) -> Start:
    """Return members that go on where those of a head, as they came out of training, have ended.

    Args:
        examples: read and dealt as those that the head was trained on.
        head: its members, a dealing and fold each.
    """
    trained = tuple(name for name in head.parameters if name != "offset")
    prior = examples.priors.get(head.family, torch.zeros(examples.segments.total))
    signs = examples.families.get(head.family) if head.scorer == LINEAR else None
    return Start(head.scorer, copy(head.parameters), prior, signs, trained, goes_on=True)
