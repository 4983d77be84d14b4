"""Which of the responses to a query are compared with each other."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """Pairs of rows, and how many there might have been.

    Attributes:
        better: [P] int64, rows with the higher label.
        worse: [P] int64, rows with the lower label.
        ties: pairs of one group with equal labels.
        over: pairs with different labels that were left out because their group has too many.
    """

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    ties: int
    over: int


def pair_up(group: NDArray[np.int64], label: NDArray[np.float64], most: int) -> Pairs:
    """Pair rows of one group with different labels.

    If a group has more than `most` such pairs, those far apart in the order of labels come first, and rows are used
    evenly: the rows at ranks i and i + d are compared for d from half the size of the group, then nearby d, and of
    the last d evenly spaced ones.

    Args:
        group: [N], rows of one group next to each other.
        label: [N] finite, ascending within a group.
        most: at least 1.
    """
    edges = np.flatnonzero(np.diff(group, prepend=group[:1] - 1, append=group[-1:] + 1))
    chosen: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    ties = over = 0
    for start, stop in pairwise(edges):
        size = int(stop - start)
        _, alike = np.unique(label[start:stop], return_counts=True)
        tied = int((alike * (alike - 1) // 2).sum())
        different = size * (size - 1) // 2 - tied
        wanted = min(different, most)
        ties, over = ties + tied, over + different - wanted
        for distance in sorted(range(1, size), key=lambda d: abs(2 * d - size)):
            if wanted == 0:
                break
            worse = start + np.arange(size - distance)
            worse = worse[label[worse + distance] > label[worse]]
            if len(worse) > wanted:
                worse = worse[np.arange(wanted) * len(worse) // wanted]
            chosen.append((worse + distance, worse))
            wanted -= len(worse)
    none = np.empty(0, np.int64)
    better = np.concatenate([none, *(first for first, _ in chosen)])
    return Pairs(better, np.concatenate([none, *(second for _, second in chosen)]), ties, over)
