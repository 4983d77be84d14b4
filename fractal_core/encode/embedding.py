"""Stage `embed`: one vector a distinct text, and the evidence for and against every sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fractal_core.encode.apart import ComparedApart
from fractal_core.encode.comparing import EVIDENCE_SCHEMA, ComparedHere, Comparing, Shard
from fractal_core.encode.distilling import save_static
from fractal_core.encode.opening import STATIC_FILE, open_encoder
from fractal_core.encode.reader import count_uses
from fractal_core.encode.shards import shards
from fractal_core.encode.spool import VectorSpool, text_hash
from fractal_core.errors import InputError
from fractal_core.reuse import KEYS_FILE, EarlierRows, KeyWriter, merged, unit_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fractal_core.encode.opening import Opened
    from fractal_core.encode.reader import Uses
    from fractal_core.evidence.material import Material
    from fractal_core.stage_params import EmbedParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime

SHARD_CHARACTERS = 100_000
HELD_BYTES = 2 * 1024**3


def embed(inputs: Inputs, params: EmbedParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write tables `embeddings` and `evidence`.

    A response whose sentences, query and context were compared before, in any run or data set of the workspace, is not
    compared again, and what only such responses need is not read again. Goes through the others twice: once to count
    which texts recur, once to read and compare them, a shard of responses at a time. Memory is bounded by the shard and
    by `HELD_BYTES` of token vectors that a later shard needs again.

    Args:
        inputs: `responses` (response_id, query, context), `sentences` (response_id, sentence_index, text), and the
            encoder's files as source "encoder".
        params: `model` (its name, written to `embeddings`), `kind`, `max_tokens`, `chunk_tokens`.
        outputs: `embeddings`, sorted by text_hash: sentences, queries and context chunks; `evidence`, in the order of
            `sentences`, null where there is nothing to compare with; the vectors of a static encoder, and keys.
        runtime: device, tokens a batch, progress in characters.

    Raises:
        InputError: if the encoder cannot be loaded.
        StoreError: if the two tables do not fit together.
    """
    files = inputs.sources("encoder")
    if not files:
        raise InputError(f'The encoder "{params.model}" has no files; set encoder.model to a transformers folder.')
    earlier = inputs.earlier()
    made = earlier[0].path(STATIC_FILE) if earlier else None
    opened = open_encoder(files[0].parent, params, made, runtime)
    save_static(opened.static, outputs.file(STATIC_FILE))
    spool = VectorSpool(outputs.scratch("vectors.f32"), opened.encoder.dimensions)
    known = EarlierRows(earlier, "evidence", EVIDENCE_SCHEMA.names[1:])
    keys = KeyWriter(outputs.file(KEYS_FILE))
    keys_of_shards: list[list[bytes]] = []

    def through() -> Iterator[Shard]:
        for number, materials in enumerate(shards(inputs, params.chunk_tokens, SHARD_CHARACTERS)):
            if number == len(keys_of_shards):
                keys_of_shards.append([_key(material) for material in materials])
            unit_keys = keys_of_shards[number]
            new = [material for material, key in zip(materials, unit_keys, strict=True) if key not in known]
            yield Shard(materials, unit_keys, new)

    uses = count_uses(shard.texts for shard in through())
    others: set[str] = set()
    with runtime.progress("embed", uses.characters) as progress:
        comparing = _comparing(opened, files[0].parent, params, uses, spool, outputs, runtime)
        for shard, new_rows in comparing.compare(through, progress.advance):
            rows, counts = merged(
                pa.array([material.response_id for material in shard.materials], pa.string()),
                shard.keys,
                known,
                new_rows,
                [len(material.sentences) for material in shard.new],
            )
            outputs.write("evidence", rows)
            outputs.reused(rows.num_rows - new_rows.num_rows)
            keys.add(shard.keys, counts)
            others.update(
                text_hash(text)
                for material, key in zip(shard.materials, shard.keys, strict=True)
                if key in known
                for text in material.texts
            )
    keys.close()
    outputs.reused(spool.take(earlier, others) + comparing.remembered)
    name = encoder_name(params)
    for hashes, vectors in spool.sorted_batches():
        outputs.write("embeddings", embeddings_table(hashes, name, vectors))


def _key(material: Material) -> bytes:
    return unit_key(material.sentences, material.query, [(chunk.text, chunk.sentences) for chunk in material.chunks])


def _comparing(
    opened: Opened,
    model: Path,
    params: EmbedParams,
    uses: Uses,
    spool: VectorSpool,
    outputs: Outputs,
    runtime: Runtime,
) -> Comparing:
    """Return what compares shards in this process, or in others."""
    if not runtime.engine.apart:
        return ComparedHere(opened, uses, spool, runtime, HELD_BYTES)
    static = None if opened.static is None else str(outputs.file(STATIC_FILE).resolve())
    common = {"model": str(model), "kind": params.kind, "max_tokens": params.max_tokens, "static": static}
    folder = outputs.scratch("apart")
    folder.mkdir()
    return ComparedApart(common, uses, spool, runtime, folder, SHARD_CHARACTERS)


def encoder_name(params: EmbedParams) -> str:
    """Return what table `embeddings` calls the encoder."""
    return params.model if params.kind == "transformer" else f"{params.model} ({params.kind})"


def embeddings_table(hashes: list[str], encoder: str, vectors: np.ndarray) -> pa.Table:
    """Return rows of table `embeddings`.

    Args:
        hashes: `text_hash` of T texts.
        encoder: its name.
        vectors: float32 [T, dimensions].
    """
    width = vectors.shape[1]
    schema = pa.schema(
        [
            pa.field("text_hash", pa.string(), nullable=False),
            pa.field("encoder", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), width), nullable=False),
        ]
    )
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    columns = [pa.array(hashes), pa.array([encoder] * len(hashes)), pa.FixedSizeListArray.from_arrays(flat, width)]
    return pa.Table.from_arrays(columns, schema=schema)
