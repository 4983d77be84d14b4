"""What moved the scores of listed sentences most, from table contributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.report.numbers import Numbers
    from fractal_core.results import Results

RANKS = 3
_BATCH = 65_536


@dataclass(frozen=True, eq=False)
class Reasons:
    """The strongest reasons of M sentences.

    Attributes:
        names: of the features.
        feature: [M, RANKS] int64, a place in `names`, -1 for none.
        contribution: [M, RANKS] float64, in log-odds, NaN for none.
    """

    names: list[str]
    feature: NDArray[np.int64]
    contribution: NDArray[np.float64]


def read_reasons(results: Results, numbers: Numbers, first: NDArray[np.int64], count: int) -> Reasons | None:
    """Read the reasons of some sentences; None if the run's scorer gives none.

    Args:
        results: the run.
        numbers: of the run.
        first: [B] int64, place of each response's first sentence among those that are asked for; -1 if not asked for.
        count: number of sentences asked for, M.
    """
    if not results.rows("contributions"):
        return None
    names: dict[str, int] = {}
    feature = np.full((count, RANKS), -1, dtype=np.int64)
    contribution = np.full((count, RANKS), np.nan)
    columns = ("response_id", "sentence_index", "rank", "feature", "contribution")
    for batch in results.batches("contributions", columns, _BATCH):
        batch = batch.filter(pc.less_equal(batch.column("rank"), pa.scalar(RANKS)))
        base = first[pc.index_in(batch.column("response_id"), value_set=numbers.ids).to_numpy()]
        batch, base = batch.filter(pa.array(base >= 0)), base[base >= 0]
        place = base + batch.column("sentence_index").to_numpy()
        rank = batch.column("rank").to_numpy() - 1
        codes = [names.setdefault(str(name), len(names)) for name in batch.column("feature").to_pylist()]
        feature[place, rank] = codes
        contribution[place, rank] = batch.column("contribution").to_numpy()
    return Reasons(list(names), feature, contribution)
