"""What scores and labels of a run mean: their unit, their range, and from where on two of them disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fractal_core.label_kinds import PROBABILITY_KINDS, SettledKind, settled_kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEFAULT_GRADES = 2


@dataclass(frozen=True)
class Scale:
    """The scale of scores.

    Attributes:
        kind: what a response label is.
        aggregation: how sentence scores become a response's: min, max or avg.
        low: lowest score there can be, or, of real values, there is.
        high: highest one, more than `low`.
        response_apart: a response's score and label disagree if they differ by more.
        sentence_apart: likewise two values of a sentence.
    """

    kind: SettledKind
    aggregation: str
    low: float
    high: float
    response_apart: float
    sentence_apart: float

    @property
    def is_probability(self) -> bool:
        """Whether a sentence is right or wrong, and its score a probability."""
        return self.kind in PROBABILITY_KINDS


def make_scale(config: Mapping[str, Any], aggregation: str, scores: NDArray[np.float64]) -> Scale:
    """Return the scale of a run.

    Args:
        config: as a run's record has it.
        aggregation: min, max or avg.
        scores: [N], of all sentences; the range of real values is taken from them.
    """
    given = config["input"]
    kind = settled_kind(given.get("label_kind", "auto"), config.get("aggregation", "min"))
    if kind == "ordinal":
        grades = float(given.get("grades", _DEFAULT_GRADES))
        return Scale(kind, aggregation, 0.0, grades, 1.0, 1.0)
    if kind == "real":
        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return Scale(kind, aggregation, low, high, (high - low) / 4, (high - low) / 4)
    response_apart = {"preference": 0.0, "share": 0.25, "count": 0.25}.get(kind, 0.5)
    return Scale(kind, aggregation, 0.0, 1.0, response_apart, 0.5)
