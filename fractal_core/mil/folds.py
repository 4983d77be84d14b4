"""Which fold every response that was learned from is in, and that it stays there.

The member of a fold has never seen a label of that fold. Folds of a fresh training follow from the groups alone, but
they move when groups come and go; so they are kept with the scorer, and a training that goes on from it, or a use of
it, finds for every response the member that has not seen its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fractal_core.mil.examples import NO_FOLD, assign_folds, deal_order

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The file of stage train.
FOLDS = "folds.parquet"
# Between the seeds of two dealings.
_APART = 1_000_003


@dataclass(frozen=True, eq=False)
class Folds:
    """The folds of R responses that some member has learned from, in S dealings.

    Attributes:
        ids: their ids, ascending; some may not be in the input any more.
        groups: the group that each had when it was first learned from.
        fold: int64 [S, R].
    """

    ids: pa.Array[Any]
    groups: pa.Array[Any]
    fold: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of folds of a dealing, K."""
        return int(self.fold.max()) + 1

    def of(self, responses: pa.Table, taught: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the fold of each response of an input, int64 [S, B].

        A response that was learned from has its own, whatever has become of it. Another one of its group has the
        group's if there is something to learn from it now; NO_FOLD stands for all others.

        Args:
            responses: response_id and group.
            taught: bool [B], train responses that have a label, or a sentence with one.
        """
        groups = _column(responses, "group")
        at = _places(_column(responses, "response_id"), self.ids)
        own = np.where(at == NO_FOLD, NO_FOLD, self.fold[:, at])
        there = at != NO_FOLD
        # Of a group the first fold counts: those of its responses differ only if they were of several groups once.
        named = pa.concat_arrays([self.groups, groups.filter(pa.array(there))])
        folds = np.concatenate([self.fold, own[:, there]], axis=1)
        distinct, first = np.unique(np.array(named.to_pylist(), dtype=object).astype(str), return_index=True)
        of_group = _places(groups, pa.array(distinct, pa.string()))
        joins = taught & ~there & (of_group != NO_FOLD)
        return np.where(joins, folds[:, first[of_group]], own)


def deal(responses: pa.Table, taught: NDArray[np.bool_], folds: int, repeats: int, seed: int) -> Folds:
    """Deal responses into folds, whole groups together.

    Args:
        responses: response_id and group.
        taught: bool [B], those that are learned from; the others are dealt with them, and left out.
        folds: of a dealing.
        repeats: dealings.
        seed: of the first dealing.
    """
    groups = [str(group) for group in responses.column("group").to_pylist()]
    dealt = np.stack([assign_folds(groups, folds, seed + _APART * repeat) for repeat in range(repeats)])
    return _of_rows(responses, taught, dealt)


def deal_more(before: Folds, responses: pa.Table, taught: NDArray[np.bool_], seed: int) -> Folds:
    """Deal what is new into the folds there are; every other response, and every other group, stays where it is.

    New groups are dealt in the order of a hash, each to the fold that has the fewest groups of the input then.

    Args:
        before: the folds there are.
        responses: response_id and group.
        taught: bool [B], those that are learned from now.
        seed: of the first dealing.
    """
    fold = before.of(responses, taught)
    groups = [str(group) for group in responses.column("group").to_pylist()]
    new = taught & (fold[0] == NO_FOLD)
    for repeat, row in enumerate(fold):
        rank, group = deal_order(groups, seed + _APART * repeat)
        placed = np.unique(np.stack([row, group])[:, taught & ~new], axis=1)
        fresh = np.unique(group[new])
        order = fresh[np.argsort(rank[fresh])]
        where = np.full(len(rank), NO_FOLD)
        where[order] = _evenly(np.bincount(placed[0], minlength=before.count), len(order))
        row[new] = where[group[new]]
    known = _places(_column(responses, "response_id"), before.ids) != NO_FOLD
    added = _of_rows(responses, taught & ~known, fold)
    return _by_id(
        pa.concat_arrays([before.ids, added.ids]),
        pa.concat_arrays([before.groups, added.groups]),
        np.concatenate([before.fold, added.fold], axis=1),
    )


def write_folds(folds: Folds, path: Path) -> None:
    """Write a row a response and dealing: response_id, group, dealing, fold."""
    dealings, count = folds.fold.shape
    row = np.repeat(np.arange(count), dealings)
    table = {
        "response_id": folds.ids.take(row),
        "group": folds.groups.take(row),
        "dealing": pa.array(np.tile(np.arange(dealings, dtype=np.int32), count)),
        "fold": pa.array(folds.fold.T.ravel().astype(np.int32)),
    }
    pq.write_table(pa.table(table), path)


def read_folds(path: Path) -> Folds:
    """Read what `write_folds` wrote."""
    table = pq.read_table(path)
    dealings = int(pc.max(table.column("dealing")).as_py()) + 1
    fold = table.column("fold").to_numpy().astype(np.int64).reshape(-1, dealings).T
    first = table.filter(pc.equal(table.column("dealing"), pa.scalar(0, pa.int32())))
    return Folds(_column(first, "response_id"), _column(first, "group"), np.ascontiguousarray(fold))


def _of_rows(responses: pa.Table, rows: NDArray[np.bool_], fold: NDArray[np.int64]) -> Folds:
    chosen = pa.array(rows)
    ids, groups = (_column(responses, name).filter(chosen) for name in ("response_id", "group"))
    return _by_id(ids, groups, fold[:, rows])


def _by_id(ids: pa.Array[Any], groups: pa.Array[Any], fold: NDArray[np.int64]) -> Folds:
    place = pc.sort_indices(ids)
    return Folds(ids.take(place), groups.take(place), fold[:, place.to_numpy().astype(np.int64)])


def _evenly(load: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the folds of `count` groups, each in turn that with the least load [K], the first of equal ones."""
    level = (load[:, None] + np.arange(count)).ravel()
    fold = np.repeat(np.arange(len(load)), count)
    result: NDArray[np.int64] = fold[np.lexsort((fold, level))[:count]]
    return result


def _column(table: pa.Table, name: str) -> pa.Array[Any]:
    return table.column(name).cast(pa.string()).combine_chunks()


def _places(values: pa.Array[Any], among: pa.Array[Any]) -> NDArray[np.int64]:
    """Return where each value is among others, which are distinct; NO_FOLD for none."""
    place: NDArray[np.int64] = pc.index_in(values, value_set=among).fill_null(NO_FOLD).to_numpy().astype(np.int64)
    return place
