"""Responses by the scores of their sentences: pooled, and compared with response labels and preferences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.evaluation.figures import RANKING, Figure, measured
from fractal_core.evaluation.intervals import interval, mean_of
from fractal_core.evaluation.metrics import mae

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.label_kinds import SettledKind

_SHARE = mean_of(lambda gold, values: values)


def response_figures(
    label: NDArray[np.float64],
    methods: Mapping[str, NDArray[np.float64]],
    aggregation: str,
    *,
    binary: bool,
    kind: SettledKind = "binary",
    intervals: bool = False,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
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
        at = (thresholds or {}).get(method, {}) if ranking else {}
        yield from measured("response", method, metrics, label[rows], values[rows], owner, at)


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
            low, high = interval(_SHARE, right, right, np.arange(len(right))) if intervals else (None, None)
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
