"""Stage `export`: one Parquet file with a row a sentence: text, scores, label, and what the response says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from fractal_core.store.stage import Inputs, Outputs, Runtime

_BATCH_ROWS = 16_384


def export(inputs: Inputs, params: Any, outputs: Outputs, runtime: Runtime) -> None:
    """Write labels.parquet, streaming: the columns of sentences, priors and pseudolabels, and query, label and split.

    The sentence tables have the same rows in the same order, so they are joined by position.
    """
    responses = inputs.table("responses").rename_columns(["response_id", "query", "response_label", "split"])
    ids = responses.column("response_id").combine_chunks()
    streams = [inputs.batches(name, _BATCH_ROWS) for name in ("sentences", "priors", "pseudolabels")]
    writer: pq.ParquetWriter | None = None
    with runtime.progress("export", inputs.rows("sentences")) as progress:
        for sentences, priors, labels in zip(*streams, strict=True):
            owner = responses.take(pc.index_in(sentences.column("response_id"), value_set=ids))
            block = pa.table(
                {
                    **{name: sentences.column(name) for name in sentences.schema.names},
                    **{name: labels.column(name) for name in labels.schema.names},
                    **{name: priors.column(name) for name in priors.schema.names},
                    **{name: owner.column(name) for name in ("query", "response_label", "split")},
                }
            )
            if writer is None:
                writer = pq.ParquetWriter(outputs.file("labels.parquet"), block.schema, compression="zstd")
            writer.write_table(block)
            progress.advance(block.num_rows)
    if writer is not None:
        writer.close()
