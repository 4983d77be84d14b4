"""Figures of merit. All take gold labels first and scores second, and return NaN where a figure is undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Numbers = NDArray[np.floating | np.integer | np.bool_]
    Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def auc_roc(gold: Numbers, scores: Numbers) -> float:
    """Return the probability that a random positive scores above a random negative, ties counting one half.

    Args:
        gold: [N], 0 or 1.
        scores: [N], any finite numbers; only their order matters.

    Returns:
        A number in [0, 1]; NaN unless both classes are present. Source: the Mann-Whitney U statistic.
    """
    positive = np.asarray(gold) == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    _, level, size = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(size) - (size - 1) / 2.0
    rank_sum = float(mean_rank[level][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def auc_pr(gold: Numbers, scores: Numbers) -> float:
    """Return average precision: the sum over distinct scores, from the highest, of (recall gained) x precision.

    Sentences of equal score enter together, so their order does not matter, and nothing is interpolated.

    Args:
        gold: [N], 0 or 1.
        scores: [N], any finite numbers; only their order matters.

    Returns:
        A number in (0, 1]; 1 if there are only positives, NaN if there are none.
    """
    positive = np.asarray(gold) == 1
    positives = int(positive.sum())
    if positives == 0:
        return float("nan")
    _, level, size = np.unique(scores, return_inverse=True, return_counts=True)
    gained = np.bincount(level, weights=positive, minlength=len(size))[::-1]
    precision = np.cumsum(gained) / np.cumsum(size[::-1])
    return float((gained * precision).sum() / positives)


def accuracy(gold: Numbers, scores: Numbers, threshold: float = 0.5) -> float:
    """Return the share of rows on the right side of a threshold; a score of exactly that counts as positive.

    Args:
        gold: [N], 0 or 1.
        scores: [N], any finite numbers; at 0.5 probabilities or labels in [0, 1].
        threshold: the lowest score that counts as positive.

    Returns:
        A number in [0, 1]; NaN without rows.
    """
    if len(gold) == 0:
        return float("nan")
    return float(((np.asarray(scores) >= threshold) == (np.asarray(gold) == 1)).mean())


def f1(gold: Numbers, scores: Numbers, threshold: float) -> float:
    """Return the harmonic mean of precision and recall of taking scores from a threshold on for positive.

    Args:
        gold: [N], 0 or 1.
        scores: [N], any finite numbers.
        threshold: the lowest score that counts as positive.

    Returns:
        A number in [0, 1]; NaN if nothing is positive and nothing is taken for it.
    """
    positive, said = np.asarray(gold) == 1, np.asarray(scores) >= threshold
    below = int(positive.sum()) + int(said.sum())
    return 2.0 * int((positive & said).sum()) / below if below else float("nan")


def best_thresholds(gold: Numbers, scores: Numbers) -> dict[str, float]:
    """Return from which score on to take rows for positive so that a metric is largest; of several the highest.

    Args:
        gold: [N], 0 or 1.
        scores: [N], any finite numbers.

    Returns:
        For "accuracy" and "f1" one of the scores; nothing unless both classes are present.
    """
    positive = np.asarray(gold) == 1
    if positive.all() or not positive.any():
        return {}
    value, level, size = np.unique(scores, return_inverse=True, return_counts=True)
    hits = np.cumsum(np.bincount(level, weights=positive, minlength=len(size))[::-1])
    said = np.cumsum(size[::-1])
    measured = {"accuracy": 2.0 * hits - said, "f1": 2.0 * hits / (said + positive.sum())}
    return {name: float(value[::-1][np.argmax(values)]) for name, values in measured.items()}


def mae(gold: Numbers, scores: Numbers) -> float:
    """Return the mean absolute error.

    Args:
        gold: [N], any numbers.
        scores: [N], in the same unit.

    Returns:
        A number of at least 0 in that unit; NaN without rows.
    """
    if len(gold) == 0:
        return float("nan")
    return float(np.abs(np.asarray(gold, dtype=np.float64) - np.asarray(scores, dtype=np.float64)).mean())


def log_loss(gold: Numbers, scores: Numbers, clip: float = 1e-7) -> float:
    """Return the mean negative log-likelihood of the gold labels, in nats.

    Args:
        gold: [N], 0 or 1, or a share in [0, 1] (then the cross-entropy).
        scores: [N], probabilities in [0, 1].
        clip: probabilities are kept this far from 0 and 1, so that one sure mistake costs at most -log(clip).

    Returns:
        A number of at least 0; NaN without rows.
    """
    if len(gold) == 0:
        return float("nan")
    return float(log_losses(np.asarray(gold, dtype=np.float64), np.asarray(scores, dtype=np.float64), clip).mean())


def log_losses(gold: NDArray[np.float64], scores: NDArray[np.float64], clip: float = 1e-7) -> NDArray[np.float64]:
    """Return what each row adds to `log_loss`, [N]; arguments as there."""
    probability = np.clip(scores, clip, 1.0 - clip)
    losses: NDArray[np.float64] = -(gold * np.log(probability) + (1.0 - gold) * np.log1p(-probability))
    return losses


def ece(gold: Numbers, scores: Numbers, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal mass: the mean over rows of |mean gold - mean score|.

    Rows in order of their scores are dealt to bins that differ by one row at most; rows of one score share their gold
    labels evenly, so that their order does not matter. Source: Naeini, Cooper and Hauskrecht, "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", AAAI 2015, with bins of equal mass instead of equal width.

    Args:
        gold: [N], 0 or 1.
        scores: [N], probabilities in [0, 1].
        bins: number of bins; with fewer rows each is a bin of its own.

    Returns:
        A number in [0, 1]; NaN without rows.
    """
    rows = len(gold)
    if rows == 0:
        return float("nan")
    value, level, size = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    shared = np.bincount(level, weights=np.asarray(gold, dtype=np.float64)) / size
    excess = np.repeat(shared - value, size)
    in_bin = np.arange(rows) * bins // rows
    return float(np.abs(np.bincount(in_bin, weights=excess)).sum() / rows)
