"""Which figures are taken of which method, and over which rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
NEEDS_RESPONSE_LABEL = ("posterior", "pseudolabel", INHERITED)

_INTERVALS: dict[str, Weighted] = {
    "auc_roc": bootstrap.auc_roc,
    "auc_pr": bootstrap.auc_pr,
    "ece": bootstrap.ece,
    "accuracy": bootstrap.mean_of(lambda gold, values: ((values >= 0.5) == (gold == 1)).astype(np.float64)),
    "mae": bootstrap.mean_of(lambda gold, values: np.abs(gold - values)),
    "log_loss": bootstrap.mean_of(log_losses),
}
_SHARE = bootstrap.mean_of(lambda gold, values: values)


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
    thresholds: Mapping[str, float] | None = None,
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
        thresholds: method -> value from which on a sentence is taken for positive, for `f1`; it must not have been
            chosen on these rows.
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
        threshold = (thresholds or {}).get(method) if "auc_roc" in metrics else None
        of_rows = None if owner is None else owner[rows]
        yield from _figures("sentence", method, metrics, gold[rows], values[rows], of_rows, threshold)


def response_figures(
    label: NDArray[np.float64],
    methods: Mapping[str, NDArray[np.float64]],
    aggregation: str,
    *,
    binary: bool,
    kind: SettledKind = "binary",
    intervals: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> Iterator[Figure]:
    """Yield the figures of aggregated scores and priors against response labels.

    Args:
        label: [B] float64, NaN for responses without a label; counts as shares of their sentences.
        methods: [B] float64 by method, aggregated; NaN for responses without sentences. Of "score" `mae` is taken too.
        aggregation: "min", "max" or "avg"; for avg `mae` is taken.
        binary: whether the labels of the whole data set are 0 and 1; then responses are ranked.
        kind: what the labels are; for grades ("ordinal") and "real" values `mae` is taken.
        intervals: whether intervals are wanted.
        thresholds: as in `sentence_figures`.
    """
    graded = kind in ("ordinal", "real")
    ranking = RANKING if binary and not graded else {}
    for method, values in methods.items():
        rows = ~np.isnan(label) & ~np.isnan(values)
        metrics = dict(ranking)
        if method == "score" and (aggregation == "avg" or graded):
            metrics["mae"] = mae
        owner = np.flatnonzero(rows) if intervals else None
        threshold = (thresholds or {}).get(method) if ranking else None
        yield from _figures("response", method, metrics, label[rows], values[rows], owner, threshold)


def preference_figures(
    pair: NDArray[np.int64],
    preferred: NDArray[np.float64],
    methods: Mapping[str, NDArray[np.float64]],
    *,
    intervals: bool = False,
) -> Iterator[Figure]:
    """Yield the accuracy of the preferences that aggregated scores and priors predict; a tie counts one half.

    Args:
        pair: [B] int64, equal for the two responses of a pair.
        preferred: [B] float64, 1 for the better one, 0 for the other; pairs with 0.5 (a tie) or NaN are left out.
        methods: [B] float64 by method, aggregated; NaN for responses without sentences, whose pairs are left out.
        intervals: whether intervals are wanted.

    Yields:
        At most one figure a method; its `rows` is the number of pairs.
    """
    decided = np.isin(preferred, (0.0, 1.0))
    _, number = np.unique(pair[decided], return_inverse=True)
    for method, values in methods.items():
        margin = np.bincount(number, weights=np.where(preferred[decided] == 1.0, values[decided], -values[decided]))
        margin = margin[~np.isnan(margin)]
        if len(margin):
            right = (margin > 0) + 0.5 * (margin == 0)
            low, high = bootstrap.interval(_SHARE, right, right, np.arange(len(right))) if intervals else (None, None)
            yield Figure("response", method, "accuracy", float(right.mean()), len(right), low, high)


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
    level: str,
    method: str,
    metrics: Mapping[str, Metric],
    gold: NDArray[np.float64],
    values: NDArray[np.float64],
    owner: NDArray[np.int64] | None,
    threshold: float | None,
) -> Iterator[Figure]:
    positive = (gold > 0).astype(np.float64)
    both = len(gold) > 0 and positive.min() < positive.max()
    for metric, function in metrics.items():
        # Average precision over positives alone is 1 whatever the scores: no figure.
        if metric in RANKING and not both:
            continue
        target = positive if metric in RANKING else gold
        value = function(target, values)
        if not np.isnan(value):
            low, high = (None, None) if owner is None else bootstrap.interval(_INTERVALS[metric], target, values, owner)
            yield Figure(level, method, metric, value, len(gold), low, high, 0.5 if metric == "accuracy" else None)
    if threshold is not None and len(gold) and not np.isnan(value := f1(positive, values, threshold)):
        measure = bootstrap.f1_at(threshold)
        low, high = (None, None) if owner is None else bootstrap.interval(measure, positive, values, owner)
        yield Figure(level, method, "f1", value, len(gold), low, high, threshold)
