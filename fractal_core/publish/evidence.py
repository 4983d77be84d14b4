"""The sentences that decide between two responses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

MOST = 3


class Rule(NamedTuple):
    """Which sentences are shown of the chosen and of the rejected response, and why, in a sentence."""

    chosen: str
    rejected: str
    words: str


_LOWEST = "the sentences with the lowest posteriors"
_HIGHEST = "the sentences with the highest posteriors"
_MIXED = Rule(
    "strongest",
    "weakest",
    f"A response is as good as its sentences on the mean, so the evidence is, of the chosen one, {_HIGHEST}, and, of "
    f"the rejected one, {_LOWEST}, at most {MOST} of each.",
)
RULES = {
    "min": Rule(
        "weakest",
        "weakest",
        f"A response is as good as its worst sentence, so the evidence is {_LOWEST} of either, at most {MOST}.",
    ),
    "max": Rule(
        "strongest",
        "strongest",
        f"A response is as good as its best sentence, so the evidence is {_HIGHEST} of either, at most {MOST}.",
    ),
    "avg": _MIXED,
    "auto": _MIXED,
}


def extremes(rows: pa.Table) -> dict[str, pa.Array[Any]]:
    """Return for each response lists of at most `MOST` sentences: `weakest` first, and `strongest` first.

    Sentences of equal posterior come in their own order.

    Args:
        rows: columns `text`, `score` and `posterior`, lists of one length, as `by_response` gives them.
    """
    lists: dict[str, Any] = {name: rows.column(name).combine_chunks() for name in ("text", "score", "posterior")}
    offsets = lists["posterior"].offsets.to_numpy()
    sizes = np.diff(offsets)
    row = np.repeat(np.arange(len(sizes)), sizes)
    index = np.arange(len(row)) - np.repeat(offsets[:-1], sizes)
    sentences = pa.StructArray.from_arrays(
        [pa.array(index, pa.int32()), *(each.values for each in lists.values())], names=["sentence_index", *lists]
    )
    taken = pa.array(np.concatenate(([0], np.cumsum(np.minimum(sizes, MOST)))), pa.int32())
    posterior = lists["posterior"].values.to_numpy()
    found: dict[str, pa.Array[Any]] = {}
    for name, sign in (("weakest", 1.0), ("strongest", -1.0)):
        # Sorted within their response, so that the rank of a place in it is the index of that place.
        order = np.lexsort((index, sign * posterior, row))[index < MOST]
        found[name] = pa.ListArray.from_arrays(taken, sentences.take(pa.array(order)))
    return found
