"""Which figures are taken of which method, and over which rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fractal_core.evaluation import intervals as bootstrap
from fractal_core.evaluation.metrics import accuracy, auc_pr, auc_roc, ece, f1, log_loss, log_losses, mae
from fractal_core.label_kinds import INHERITED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.evaluation.intervals import Weighted
    from fractal_core.evaluation.metrics import Metric
    from fractal_core.label_kinds import SettledKind

# Priors have no scale (the evidence prior is a mean of z-scores), so only their order is judged. A grade is positive
# if it is more than 0.
RANKING: dict[str, Metric] = {"auc_roc": auc_roc, "auc_pr": auc_pr}
BINARY: dict[str, dict[str, Metric]] = {
    "score": {**RANKING, "accuracy": accuracy, "log_loss": log_loss, "ece": ece},
    "posterior": {**RANKING, "ece": ece},
    "pseudolabel": {"accuracy": accuracy},
}
GRADED: dict[str, dict[str, Metric]] = {"score": {"mae": mae}, "posterior": {"mae": mae}}
ORDINAL: dict[str, dict[str, Metric]] = {
    "score": {**RANKING, "mae": mae},
    "posterior": {**RANKING, "mae": mae},
    "pseudolabel": {"mae": mae},
}
REAL: dict[str, dict[str, Metric]] = {**GRADED, "pseudolabel": {"mae": mae}}
# Those that need to know from which value on a row counts as positive.
AT_THRESHOLD: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], float], float]] = {
    "accuracy": accuracy,
    "f1": f1,
}
_HALF = 0.5
NEEDS_RESPONSE_LABEL = ("posterior", "pseudolabel", INHERITED)

_INTERVALS: dict[str, Weighted] = {
    "auc_roc": bootstrap.auc_roc,
    "auc_pr": bootstrap.auc_pr,
    "ece": bootstrap.ece,
    "accuracy": bootstrap.accuracy_at(_HALF),
    "mae": bootstrap.mean_of(lambda gold, values: np.abs(gold - values)),
    "log_loss": bootstrap.mean_of(log_losses),
}
_INTERVALS_AT: dict[str, Callable[[float], Weighted]] = {"accuracy": bootstrap.accuracy_at, "f1": bootstrap.f1_at}


class Figure(NamedTuple):
    """One row of table `metrics`, but for the split."""

    level: str
    method: str
    metric: str
    value: float
    rows: int
    low: float | None = None
    high: float | None = None
    threshold: float | None = None


def is_binary(labels: NDArray[np.float64]) -> bool:
    """Return whether every label that is not NaN is 0 or 1."""
    return bool(np.isin(labels[~np.isnan(labels)], (0.0, 1.0)).all())


def sentence_figures(
    gold: NDArray[np.float64],
    methods: Mapping[str, NDArray[np.floating | np.integer]],
    labelled: NDArray[np.bool_],
    *,
    binary: bool,
    kind: SettledKind = "binary",
    owner: NDArray[np.int64] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> Iterator[Figure]:
    """Yield the figures of every method against gold sentence labels; of one that is no column of ours, its order only.

    Posterior, pseudo-label and inherited label have seen the label of the sentence's own response: their figures say
    how good the labels of labelled responses are, not how a new response would be scored, and rows of unlabelled
    responses are left out.

    Args:
        gold: [N] float64, NaN for sentences without gold.
        methods: [N] values by method, NaN where the method has none; such rows are left out.
        labelled: [N] bool, whether the sentence's response has a label.
        binary: whether the gold labels of the whole data set are 0 and 1; otherwise, unless they are grades, only `mae`
            is taken.
        kind: what the response labels are. Grades ("ordinal") are ranked by whether they are more than 0 and compared
            by `mae` with expected grades; "real" values by `mae` alone.
        owner: [N] int64, the response of each sentence, for intervals; None for none.
        thresholds: method -> metric -> value from which on a sentence is taken for positive, for those of
            `AT_THRESHOLD`; it must not have been chosen on these rows. Without one the accuracy of scores is at 0.5.
    """
    if kind == "ordinal":
        own, others = ORDINAL, RANKING
    elif kind == "real":
        own, others = REAL, {}
    else:
        own, others = (BINARY, RANKING) if binary else (GRADED, {})
    for method, given in methods.items():
        seen = method in NEEDS_RESPONSE_LABEL and method != INHERITED
        metrics = own.get(method, {} if seen else others)
        values = given.astype(np.float64)
        rows = ~np.isnan(gold) & ~np.isnan(values)
        if method in NEEDS_RESPONSE_LABEL:
            rows &= labelled
        at = (thresholds or {}).get(method, {}) if "auc_roc" in metrics else {}
        of_rows = None if owner is None else owner[rows]
        yield from measured("sentence", method, metrics, gold[rows], values[rows], of_rows, at)


def measured(
    level: str,
    method: str,
    metrics: Mapping[str, Metric],
    gold: NDArray[np.float64],
    values: NDArray[np.float64],
    owner: NDArray[np.int64] | None,
    at: Mapping[str, float],
) -> Iterator[Figure]:
    """Yield the figures of one method.

    Args:
        level: "sentence" or "response".
        method: its name.
        metrics: what to measure, by name.
        gold: float64 [N], without NaN.
        values: float64 [N], likewise.
        owner: int64 [N], what is resampled together for intervals; None for no intervals.
        at: from which value on to take a row for positive, for those of `AT_THRESHOLD` that are wanted.
    """
    positive = (gold > 0).astype(np.float64)
    both = len(gold) > 0 and positive.min() < positive.max()
    for metric, function in metrics.items():
        # Average precision over positives alone is 1 whatever the scores: no figure.
        if metric in at or (metric in RANKING and not both):
            continue
        target = positive if metric in RANKING else gold
        value = function(target, values)
        if not np.isnan(value):
            around = value if metric == "ece" else None
            low, high = (
                (None, None)
                if owner is None
                else bootstrap.interval(_INTERVALS[metric], target, values, owner, around=around)
            )
            yield Figure(level, method, metric, value, len(gold), low, high, _HALF if metric == "accuracy" else None)
    for metric, threshold in at.items():
        if len(gold) and not np.isnan(value := AT_THRESHOLD[metric](positive, values, threshold)):
            measure = _INTERVALS_AT[metric](threshold)
            low, high = (None, None) if owner is None else bootstrap.interval(measure, positive, values, owner)
            yield Figure(level, method, metric, value, len(gold), low, high, threshold)
