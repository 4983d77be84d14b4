"""What the charts show: how scores are distributed, and how often they are right."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.evaluation.reliability import Tenth
from fractal_core.report.gaps import leads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fractal_core.report.groups import Group
    from fractal_core.report.numbers import Numbers
    from fractal_core.results import Results

# Three bars for each of the seven shades of the page.
BINS = 21


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each of `BINS` bins of equal width from `low` to `high`, and three quantiles of them."""

    title: str
    counts: list[int]
    low: float
    high: float
    quartiles: tuple[float, float, float]

    @property
    def total(self) -> int:
        """Number of values."""
        return sum(self.counts)


@dataclass(frozen=True)
class Reliability:
    """Tenths of the sentences of a split, by score."""

    title: str
    tenths: list[Tenth]


def histogram(title: str, values: NDArray[np.float64], low: float, high: float) -> Histogram | None:
    """Return the histogram of the values that are not NaN; None if there are none. What lies outside goes to the ends.

    Args:
        title: what the values are of.
        values: [N].
        low: lower end of the first bin.
        high: upper end of the last one.
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return None
    counts, _ = np.histogram(np.clip(known, low, high), bins=BINS, range=(low, high))
    lower, middle, upper = (float(value) for value in np.quantile(known, (0.25, 0.5, 0.75)))
    return Histogram(title, [int(count) for count in counts], low, high, (lower, middle, upper))


def scores_by_split(numbers: Numbers) -> list[Histogram]:
    """Return a histogram of sentence scores for each split."""
    groups = {name: numbers.split == name for name in numbers.splits()}
    return _of_sentences(numbers, groups)


def scores_by_label(numbers: Numbers, groups: Sequence[Group]) -> list[Histogram]:
    """Return a histogram of sentence scores for each group of responses."""
    return _of_sentences(numbers, {group.title: group.responses for group in groups})


def agreement(numbers: Numbers, groups: Sequence[Group]) -> list[Histogram]:
    """Return a histogram of the scores of responses for each group of labelled ones; of pairs, one of the leads."""
    low, high = numbers.scale.low, numbers.scale.high
    if numbers.scale.kind == "preference":
        # A lead is that of both responses of a pair.
        _, first = np.unique(numbers.pair, return_index=True)
        found = [histogram("preferred less other", leads(numbers)[first], low - high, high - low)]
    else:
        labelled = ~np.isnan(numbers.label)
        found = [
            histogram(group.title, numbers.aggregated[group.responses], low, high)
            for group in groups
            if (group.responses & labelled).any()
        ]
    return [each for each in found if each is not None]


def read_reliability(results: Results, splits: Sequence[str]) -> list[Reliability]:
    """Return what table reliability has of the scores of each split, in this order; of a split without gold nothing."""
    if not results.rows("reliability"):
        return []
    names = tuple(field.name for field in fields(Tenth))
    found: dict[str, list[Tenth]] = {split: [] for split in splits}
    for row in results.table("reliability", ("split", "method", *names)).to_pylist():
        if row["method"] == "score":
            found[row["split"]].append(Tenth(*(row[name] for name in names)))
    return [Reliability(split, tenths) for split, tenths in found.items() if tenths]


def _of_sentences(numbers: Numbers, groups: dict[str, NDArray[np.bool_]]) -> list[Histogram]:
    low, high = numbers.scale.low, numbers.scale.high
    found = [histogram(name, numbers.score[chosen[numbers.response]], low, high) for name, chosen in groups.items()]
    return [each for each in found if each is not None]
