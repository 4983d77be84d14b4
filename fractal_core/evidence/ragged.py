"""Statistics over runs of unequal length, without a loop: values of all tokens in one array, and the run each is in."""

from __future__ import annotations

import numpy as np


def run_mean(values: np.ndarray, runs: np.ndarray, count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the (weighted) mean of each run, float64 [count]; NaN for a run without weight.

    Args:
        values: float [values].
        runs: int [values], the run of each value, in [0, count).
        count: number of runs.
        weights: float [values], at least 0; all 1 if None.
    """
    weights = np.ones(len(values)) if weights is None else weights
    total = np.bincount(runs, weights=weights, minlength=count)
    summed = np.bincount(runs, weights=values * weights, minlength=count)
    mean = np.full(count, np.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean


def run_min(values: np.ndarray, runs: np.ndarray, count: int) -> np.ndarray:
    """Return the least value of each run, float64 [count]; NaN for an empty run."""
    least = np.full(count, np.inf)
    np.minimum.at(least, runs, values)
    return np.where(np.isinf(least), np.nan, least)


def run_quantile(values: np.ndarray, runs: np.ndarray, count: int, quantile: float) -> np.ndarray:
    """Return a quantile of each run: the value at rank floor(quantile * (length - 1)); NaN for an empty run."""
    order = np.lexsort((values, runs))
    lengths = np.bincount(runs, minlength=count)
    starts = np.cumsum(lengths) - lengths
    ranks = starts + np.floor(quantile * np.maximum(lengths - 1, 0)).astype(np.int64)
    found = np.full(count, np.nan)
    filled = lengths > 0
    found[filled] = values[order[ranks[filled]]]
    return found
