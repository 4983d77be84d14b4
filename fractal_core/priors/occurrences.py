"""From nearest texts to nearest sentences: where each text occurs, and which of these places may be neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Pairs of a query row (numbered within a block) and a text that may hold its neighbours, in any order.

    Attributes:
        owner: [P] int64, the query.
        text: [P] int64, the text.
        similarity: [P] float32, cosine of the two.
    """

    owner: Rows
    text: Rows
    similarity: NDArray[np.float32]

    def take(self, index: Rows | NDArray[np.bool_]) -> Candidates:
        """Return some of the pairs."""
        return Candidates(self.owner[index], self.text[index], self.similarity[index])


class Occurrences:
    """The rows at which each distinct text occurs, and which of them belong to one response.

    Attributes:
        order: [N] int64, the rows sorted by text, then by row.
        start: [T + 1] int64, where in `order` each text begins.
    """

    def __init__(self, text: Rows, response: Rows, texts: int, responses: int) -> None:
        """Index the rows.

        Args:
            text: [N] int64, the distinct text of each row.
            response: [N] int64, non-decreasing: the response of each row.
            texts: number T of distinct texts.
            responses: number of responses, those of queries included.
        """
        self.order: Rows = np.argsort(text, kind="stable")
        self.start: Rows = np.searchsorted(text[self.order], np.arange(texts + 1))
        self._responses = responses
        keys = text[self.order] * self._responses + response[self.order]
        # Rows of one text and response are neighbours in `order`, because responses do not decrease along rows.
        self._cell_start: Rows = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else keys
        self._cell_key: Rows = keys[self._cell_start]
        self._cell_end: Rows = np.append(self._cell_start[1:], len(keys))

    def within(self, text: Rows, response: Rows) -> tuple[Rows, Rows]:
        """Return the range of `order` that holds text i's rows in response i, empty if there are none."""
        if len(self._cell_key) == 0:
            return np.zeros_like(text), np.zeros_like(text)
        keys = text * self._responses + response
        cell = np.minimum(np.searchsorted(self._cell_key, keys), len(self._cell_key) - 1)
        here = self._cell_key[cell] == keys
        return np.where(here, self._cell_start[cell], 0), np.where(here, self._cell_end[cell], 0)

    def exclusive(self) -> tuple[Rows, Rows]:
        """Return the texts that occur in one response only, by response.

        Returns:
            [responses + 1] starts into the second array, and the texts.
        """
        text, response = self._cell_key // self._responses, self._cell_key % self._responses
        alone = np.flatnonzero(self._cell_end - self._cell_start == np.diff(self.start)[text])
        alone = alone[np.argsort(response[alone], kind="stable")]
        return np.searchsorted(response[alone], np.arange(self._responses + 1)), text[alone]

    def nearest(self, pairs: Candidates, own: Rows, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32], Rows]:
        """Choose each query's nearest rows outside its own response, by descending similarity, then row.

        Args:
            pairs: candidate texts; each query and text at most once.
            own: [Q] int64, the response of each query.
            count: rows wanted for each query.

        Returns:
            [Q, count] int32 rows, -1 where there are none; [Q, count] float32 similarities, NaN there; [Q] how many.
        """
        skip, resume = self.within(pairs.text, own[pairs.owner])
        valid = np.minimum(np.diff(self.start)[pairs.text] - (resume - skip), count)
        sort = np.lexsort((-pairs.similarity, pairs.owner))
        sort = sort[valid[sort] > 0]
        pairs, skip, resume, valid = pairs.take(sort), skip[sort], resume[sort], valid[sort]

        near = _rows_ahead(pairs, valid) < count
        pairs, skip, resume, valid = pairs.take(near), skip[near], resume[near], valid[near]
        pair = np.repeat(np.arange(len(valid)), valid)
        place = self.start[pairs.text][pair] + np.arange(len(pair)) - np.repeat(np.cumsum(valid) - valid, valid)
        place += np.where(place >= skip[pair], (resume - skip)[pair], 0)
        row = self.order[place]

        owner, similarity = pairs.owner[pair], pairs.similarity[pair]
        sort = np.lexsort((row, -similarity, owner))
        row, owner, similarity = row[sort], owner[sort], similarity[sort]
        first = np.searchsorted(owner, np.arange(len(own)))
        rank = np.arange(len(owner)) - first[owner]
        kept = rank < count
        rows = np.full((len(own), count), -1, dtype=np.int32)
        similarities = np.full((len(own), count), np.nan, dtype=np.float32)
        rows[owner[kept], rank[kept]] = row[kept]
        similarities[owner[kept], rank[kept]] = similarity[kept]
        return rows, similarities, (rows >= 0).sum(axis=1)


def _rows_ahead(pairs: Candidates, valid: Rows) -> Rows:
    """Rows of strictly more similar texts of the same query, for pairs sorted by query and descending similarity."""
    if len(valid) == 0:
        return valid
    owner, similarity = pairs.owner, pairs.similarity
    before = np.cumsum(valid) - valid
    new_owner = np.r_[True, owner[1:] != owner[:-1]]
    new_level = new_owner | np.r_[True, similarity[1:] != similarity[:-1]]
    number = np.arange(len(valid))
    level_start = np.maximum.accumulate(np.where(new_level, number, 0))
    owner_start = np.maximum.accumulate(np.where(new_owner, number, 0))
    ahead: Rows = before[level_start] - before[owner_start]
    return ahead
