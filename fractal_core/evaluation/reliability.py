"""Reliability curves: whether sentences of a score of 0.8 are positive eight times out of ten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TENTHS = 10


@dataclass(frozen=True)
class Tenth:
    """Sentences of about equal score: their mean score and gold label, the standard error of the latter, how many."""

    score: float
    gold: float
    error: float
    rows: int


def tenths(score: NDArray[np.float64], gold: NDArray[np.float64]) -> list[Tenth]:
    """Return tenths of sentences by score, from the lowest; with fewer than ten each is one of its own.

    Sentences of one score share their gold labels evenly, so that their order does not matter.

    Args:
        score: [N], at least one.
        gold: [N], in the same unit.
    """
    value, level, size = np.unique(score, return_inverse=True, return_counts=True)
    first = np.repeat(np.bincount(level, weights=gold) / size, size)
    second = np.repeat(np.bincount(level, weights=gold**2) / size, size)
    cuts = np.array_split(np.arange(len(score)), min(_TENTHS, len(score)))
    ordered = np.repeat(value, size)
    found = []
    for cut in cuts:
        mean, variance = float(first[cut].mean()), float(second[cut].mean() - first[cut].mean() ** 2)
        found.append(Tenth(float(ordered[cut].mean()), mean, (max(variance, 0.0) / len(cut)) ** 0.5, len(cut)))
    return found
