"""Stage `segment`: responses cut into sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fractal_core.reuse import KEYS_FILE, EarlierRows, KeyWriter, merged, unit_key
from fractal_core.text.boundaries import sentence_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fractal_core.config import SegmentConfig
    from fractal_core.engine import Advance, Do, Parcel
    from fractal_core.store.stage import Inputs, Outputs, Runtime

__all__ = ["SENTENCES_SCHEMA", "segment", "sentence_spans"]

BATCH_ROWS = 8_192

_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("response_id", pa.string(), nullable=False),
    pa.field("sentence_index", pa.int32(), nullable=False),
    pa.field("start", pa.int32(), nullable=False),
    pa.field("end", pa.int32(), nullable=False),
    pa.field("text", pa.string(), nullable=False),
    pa.field("gold", pa.float64(), nullable=True),
)
SENTENCES_SCHEMA = pa.schema(_FIELDS)


def segment(inputs: Inputs, params: SegmentConfig, outputs: Outputs, runtime: Runtime) -> None:
    """Cut every response into sentences; spans given with the input are taken as they are.

    Args:
        inputs: table `responses` with the columns response_id, response, spans and sentence_labels.
        params: `method` ("sentencex" or "newline") and `language`.
        outputs: table `sentences`, in the order of the responses; gold is null where the response has none. A response
            that was cut before, with the same spans and labels, is not cut again.
        runtime: shows the progress in responses.
    """
    known = EarlierRows(inputs.earlier(), "sentences", SENTENCES_SCHEMA.names[1:])
    keys = KeyWriter(outputs.file(KEYS_FILE))
    method = {"method": params.method, "language": params.language}

    def shards() -> Iterator[tuple[tuple[pa.RecordBatch, list[bytes]], Parcel]]:
        for batch in inputs.batches("responses", BATCH_ROWS):
            units = batch.select(list(Unit._fields))
            columns = (column.to_pylist() for column in units.columns)
            unit_keys = [unit_key(*unit) for unit in zip(*columns, strict=True)]
            new = pa.array([key not in known for key in unit_keys], pa.bool_())
            yield (batch, unit_keys), {"units": pa.Table.from_batches([units]).filter(new)}

    with runtime.progress("segment", inputs.rows("responses")) as progress:
        folder = outputs.scratch("cut")
        for (batch, unit_keys), made in runtime.engine.deal(runtime, cutting, method, shards(), folder):
            cut, sizes = made["sentences"], made["sizes"].tolist()
            rows, counts = merged(batch.column("response_id"), unit_keys, known, cut, sizes)
            outputs.write("sentences", rows)
            outputs.reused(rows.num_rows - cut.num_rows)
            keys.add(unit_keys, counts)
            progress.advance(batch.num_rows)
    keys.close()


def cutting(common: Parcel, runtime: Runtime) -> Do:
    """Return what cuts responses, table `units` of a parcel, to table `sentences` and `sizes` of each response."""
    del runtime

    def cut(shard: Parcel, advance: Advance) -> Parcel:
        columns = (shard["units"].column(name).to_pylist() for name in Unit._fields)
        units = [Unit(*unit) for unit in zip(*columns, strict=True)]
        sentences, sizes = cut_sentences(units, common["method"], common["language"])
        return {"sentences": sentences, "sizes": np.array(sizes, dtype=np.int64)}

    return cut


class Unit(NamedTuple):
    """What the sentences of a response are made from."""

    response: str
    spans: list[list[int]] | None
    sentence_labels: list[float | None] | None


def cut_sentences(units: Sequence[Unit], method: str, language: str) -> tuple[pa.Table, list[int]]:
    """Return the sentences of responses, without response_id, and how many each has.

    Args:
        units: the responses; spans that are given are taken as they are.
        method: "sentencex" or "newline".
        language: of the responses.
    """
    sizes: list[int] = []
    indices: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    texts: list[str] = []
    golds: list[float | None] = []
    for response, given, labels in units:
        spans = given or sentence_spans(response, method, language)
        for start, end in spans:
            starts.append(start)
            ends.append(end)
            texts.append(response[start:end])
        sizes.append(len(spans))
        indices.extend(range(len(spans)))
        golds.extend(labels or [None] * len(spans))
    sentences: dict[str, list[Any]] = {
        "sentence_index": indices,
        "start": starts,
        "end": ends,
        "text": texts,
        "gold": golds,
    }
    return pa.Table.from_pydict(sentences, schema=pa.schema(_FIELDS[1:])), sizes
