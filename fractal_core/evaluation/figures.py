"""Which figures are taken of which method, and over which rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fractal_core.evaluation.metrics import accuracy, auc_pr, auc_roc, log_loss, mae

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.evaluation.metrics import Metric

# Priors have no scale (the evidence prior is a mean of z-scores), so only their order is judged.
RANKING: dict[str, Metric] = {"auc_roc": auc_roc, "auc_pr": auc_pr}
BINARY: dict[str, dict[str, Metric]] = {
    "score": {**RANKING, "accuracy": accuracy, "log_loss": log_loss},
    "posterior": RANKING,
    "pseudolabel": {"accuracy": accuracy},
    "document_similarity": RANKING,
    "query_similarity": RANKING,
    "context_evidence": RANKING,
    "query_evidence": RANKING,
}
GRADED: dict[str, dict[str, Metric]] = {"score": {"mae": mae}, "posterior": {"mae": mae}}
NEEDS_RESPONSE_LABEL = ("posterior", "pseudolabel")


class Figure(NamedTuple):
    """One row of table `metrics`, but for the split."""

    level: str
    method: str
    metric: str
    value: float
    rows: int


def is_binary(labels: NDArray[np.float64]) -> bool:
    """Return whether every label that is not NaN is 0 or 1."""
    return bool(np.isin(labels[~np.isnan(labels)], (0.0, 1.0)).all())


def sentence_figures(
    gold: NDArray[np.float64],
    methods: Mapping[str, NDArray[np.floating | np.integer]],
    labelled: NDArray[np.bool_],
    *,
    binary: bool,
) -> Iterator[Figure]:
    """Yield the figures of every method against gold sentence labels.

    Posterior and pseudo-label have seen the label of the sentence's own response: their figures say how good the labels
    of labelled responses are, not how a new response would be scored, and rows of unlabelled responses are left out.

    Args:
        gold: [N] float64, NaN for sentences without gold.
        methods: [N] values by method, NaN where the method has none; such rows are left out.
        labelled: [N] bool, whether the sentence's response has a label.
        binary: whether the gold labels of the whole data set are 0 and 1; otherwise only `mae` is taken.
    """
    for method, metrics in (BINARY if binary else GRADED).items():
        values = methods[method].astype(np.float64)
        rows = ~np.isnan(gold) & ~np.isnan(values)
        if method in NEEDS_RESPONSE_LABEL:
            rows &= labelled
        yield from _figures("sentence", method, metrics, gold[rows], values[rows])


def response_figures(
    label: NDArray[np.float64], score: NDArray[np.float64], aggregation: str, *, binary: bool
) -> Iterator[Figure]:
    """Yield the figures of the aggregated scores against response labels.

    Args:
        label: [B] float64, NaN for responses without a label.
        score: [B] float64, NaN for responses without sentences.
        aggregation: "min", "max" or "avg"; for avg `mae` is taken.
        binary: whether the labels of the whole data set are 0 and 1; then `auc_roc` is taken.
    """
    rows = ~np.isnan(label) & ~np.isnan(score)
    metrics: dict[str, Metric] = {}
    if binary:
        metrics["auc_roc"] = auc_roc
    if aggregation == "avg":
        metrics["mae"] = mae
    yield from _figures("response", "score", metrics, label[rows], score[rows])


def aggregate(
    score: NDArray[np.float64], response: NDArray[np.int64], count: int, aggregation: str
) -> NDArray[np.float64]:
    """Return the hard minimum, maximum or mean of the sentence scores of each response.

    Args:
        score: [N] float64.
        response: [N] int64 in [0, count), in any order.
        count: number of responses.
        aggregation: "min", "max" or "avg".

    Returns:
        [count] float64, NaN for responses without sentences.
    """
    result = np.full(count, np.nan)
    if len(score) == 0:
        return result
    order = np.argsort(response, kind="stable")
    present, start, size = np.unique(response[order], return_index=True, return_counts=True)
    if aggregation == "avg":
        result[present] = np.add.reduceat(score[order], start) / size
    else:
        result[present] = {"min": np.minimum, "max": np.maximum}[aggregation].reduceat(score[order], start)
    return result


def _figures(
    level: str, method: str, metrics: Mapping[str, Metric], gold: NDArray[np.float64], values: NDArray[np.float64]
) -> Iterator[Figure]:
    both = len(gold) > 0 and gold.min() < gold.max()
    for metric, function in metrics.items():
        # Average precision over positives alone is 1 whatever the scores: no figure.
        value = function(gold, values) if both or metric not in RANKING else float("nan")
        if not np.isnan(value):
            yield Figure(level, method, metric, value, len(gold))
