"""Responses with the lists of their sentences, in one pass over the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.results import Results

_RESPONSES = 1_024
_SENTENCES = 16_384
_OF_LABELS = ("score", "posterior", "pseudolabel")


def by_response(results: Results, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """Stream tables with a row a response, in order of table responses.

    Columns: response_id, those asked for of table responses, and of its sentences the lists `text`, `score`,
    `posterior` and `pseudolabel`.

    Raises:
        StoreError: if the sentences are not in the order of the responses.
    """
    sentences = _Sentences(results)
    for batch in results.batches("responses", ("response_id", *columns), _RESPONSES):
        rows, sizes = sentences.of(batch.column("response_id"))
        offsets = pa.array(np.concatenate(([0], np.cumsum(sizes))), pa.int32())
        lists = {
            name: pa.ListArray.from_arrays(offsets, rows.column(name).combine_chunks())
            for name in ("text", *_OF_LABELS)
        }
        yield pa.table({**dict(zip(batch.schema.names, batch.columns, strict=True)), **lists})
    sentences.check_all_taken()


class _Sentences:
    """Sentences with their labels, taken from the front."""

    def __init__(self, results: Results) -> None:
        texts = results.batches("sentences", ("response_id", "text"), _SENTENCES)
        labels = results.batches("pseudolabels", _OF_LABELS, _SENTENCES)
        # Stage `pseudolabel` writes a row for every sentence, in order of table sentences.
        self._blocks = (
            pa.table([*text.columns, *label.columns], names=["response_id", "text", *_OF_LABELS])
            for text, label in zip(texts, labels, strict=True)
        )
        self._waiting: list[pa.Table] = []

    def of(self, ids: pa.Array[Any]) -> tuple[pa.Table, NDArray[np.int64]]:
        """Take the sentences of these responses, which come next; return them and how many each has."""
        while not self._waiting or self._places(self._waiting[-1], ids).null_count == 0:
            block = next(self._blocks, None)
            if block is None:
                break
            self._waiting.append(block)
        rows = pa.concat_tables(self._waiting)
        places = self._places(rows, ids)
        own = places.drop_null().to_numpy()
        if places.slice(0, len(own)).null_count or (np.diff(own) < 0).any():
            raise _out_of_order()
        self._waiting = [rows.slice(len(own))]
        return rows.slice(0, len(own)), np.bincount(own, minlength=len(ids))

    def check_all_taken(self) -> None:
        """Raise a StoreError if there are sentences left."""
        if any(block.num_rows for block in self._waiting) or next(self._blocks, None) is not None:
            raise _out_of_order()

    @staticmethod
    def _places(rows: pa.Table, ids: pa.Array[Any]) -> pa.ChunkedArray[Any]:
        places: Any = pc.index_in(rows.column("response_id"), value_set=ids)
        found: pa.ChunkedArray[Any] = places
        return found


def _out_of_order() -> StoreError:
    return StoreError("Table sentences is not in the order of table responses; run again with --force segment.")
