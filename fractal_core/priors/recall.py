"""How many of the true neighbours an approximate search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fractal_core.priors.similarity import SIMILARITY_ERROR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.priors.nearest import Found, Nearest

_QUERIES_AT_ONCE = 64


class Sample:
    """Texts with their true neighbours.

    A text with as many equals as neighbours are wanted is left out: whatever is found of them is right, and how well
    others are found would be hidden by it.

    Attributes:
        rows: [S] int64, the texts.
    """

    def __init__(self, vectors: NDArray[np.float32], rows: NDArray[np.int64], depth: int, exact: Nearest) -> None:
        """Search exactly.

        Args:
            vectors: [T, D] float32 of length 1.
            rows: [S] int64, the texts to begin with.
            depth: how many neighbours of each.
            exact: a search that misses none.
        """
        depth = min(depth, len(vectors) - 1)
        found = exact(vectors[rows], depth + 1)
        others = _without(found, rows)[:, :depth]
        hard = others[:, -1] < others[:, 0] - SIMILARITY_ERROR if depth else np.zeros(len(rows), dtype=np.bool_)
        self.rows, self._queries, self._depth = rows[hard], vectors[rows[hard]], depth
        self._last = others[hard, -1:] - SIMILARITY_ERROR
        self._vectors = vectors

    def recall(self, search: Nearest) -> float:
        """Return the share of the true neighbours that a search finds, where one as similar counts as well."""
        if len(self.rows) == 0:
            return 1.0
        numbers = search(self._queries, self._depth + 1)[1]
        similarities = np.empty(numbers.shape, dtype=np.float32)
        for place in range(0, len(numbers), _QUERIES_AT_ONCE):
            part = slice(place, place + _QUERIES_AT_ONCE)
            near = self._vectors[numbers[part].clip(min=0)]
            similarities[part] = np.einsum("qd,qnd->qn", self._queries[part], near)
        hits = (_without((similarities, numbers), self.rows) >= self._last).sum(axis=1)
        return float(np.minimum(hits, self._depth).mean() / self._depth)


def _without(found: Found, own: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the similarities found, descending, -inf for the query itself and for nothing."""
    similarities, numbers = found
    return -np.sort(-np.where((numbers < 0) | (numbers == own[:, None]), np.float32(-np.inf), similarities), axis=1)
