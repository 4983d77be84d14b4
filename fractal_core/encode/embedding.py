"""Stage `embed`: one vector a distinct text, and the evidence for and against every sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fractal_core.encode.distilling import save_static
from fractal_core.encode.opening import STATIC_FILE, open_encoder
from fractal_core.encode.reader import TextReader, count_uses
from fractal_core.encode.remembered import RememberedEncoder
from fractal_core.encode.shards import shards
from fractal_core.encode.spool import VectorSpool, text_hash
from fractal_core.encode.uncollected import uncollected
from fractal_core.errors import InputError
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.evidence.extract import Evidence, extract
from fractal_core.reuse import KEYS_FILE, EarlierRows, KeyWriter, merged, unit_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fractal_core.evidence.material import Material
    from fractal_core.stage_params import EmbedParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime

SHARD_CHARACTERS = 250_000
HELD_BYTES = 2 * 1024**3

_FIELDS: list[pa.Field[Any]] = [
    pa.field("response_id", pa.string(), nullable=False),
    pa.field("sentence_index", pa.int32(), nullable=False),
    pa.field("best_chunk", pa.int32()),
    *(pa.field(feature.name, pa.float32()) for feature in FEATURES),
]
EVIDENCE_SCHEMA = pa.schema(_FIELDS)


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
    encoder, rarity, static = open_encoder(files[0].parent, params, made, runtime)
    save_static(static, outputs.file(STATIC_FILE))
    # Static vectors are looked up as quickly as what was remembered.
    shelved = RememberedEncoder(encoder, runtime.shelf) if static is None else None
    spool = VectorSpool(outputs.scratch("vectors.f32"), encoder.dimensions)
    known = EarlierRows(earlier, "evidence", EVIDENCE_SCHEMA.names[1:])
    keys = KeyWriter(outputs.file(KEYS_FILE))

    keys_of_shards: list[list[bytes]] = []

    def texts_to_read() -> Iterator[list[str]]:
        for shard in shards(inputs, params.chunk_tokens, SHARD_CHARACTERS):
            keys_of_shards.append([_key(material) for material in shard])
            yield _texts([m for m, key in zip(shard, keys_of_shards[-1], strict=True) if key not in known])

    uses = count_uses(texts_to_read())
    reader = TextReader(shelved or encoder, uses, spool, HELD_BYTES)
    others: set[str] = set()
    with runtime.progress("embed", uses.characters) as progress:
        again = shards(inputs, params.chunk_tokens, SHARD_CHARACTERS)
        for shard, unit_keys in zip(again, keys_of_shards, strict=True):
            new = [material for material, key in zip(shard, unit_keys, strict=True) if key not in known]
            compared = None
            if new:
                with uncollected():
                    compared = extract(new, reader.read(_texts(new), progress.advance), rarity, runtime.device)
            rows, counts = merged(
                pa.array([material.response_id for material in shard], pa.string()),
                unit_keys,
                known,
                evidence_rows(new, compared),
                [len(material.sentences) for material in new],
            )
            outputs.write("evidence", rows)
            outputs.reused(rows.num_rows - sum(len(material.sentences) for material in new))
            keys.add(unit_keys, counts)
            others.update(
                text_hash(t) for m, key in zip(shard, unit_keys, strict=True) if key in known for t in m.texts
            )
    keys.close()
    if reader.read_again:
        runtime.note(f"{reader.read_again:,} texts were encoded again: their token vectors no longer fitted in memory.")
    outputs.reused(spool.take(earlier, others) + (len(shelved.remembered) if shelved else 0))
    name = encoder_name(params)
    for hashes, vectors in spool.sorted_batches():
        outputs.write("embeddings", embeddings_table(hashes, name, vectors))


def _key(material: Material) -> bytes:
    return unit_key(material.sentences, material.query, [(chunk.text, chunk.sentences) for chunk in material.chunks])


def evidence_rows(materials: Sequence[Material], evidence: Evidence | None) -> pa.Table:
    """Return the evidence of some responses as rows of table `evidence` without response_id: NaN becomes null."""
    schema = pa.schema(_FIELDS[1:])
    if evidence is None:
        return schema.empty_table()
    lengths = [len(material.sentences) for material in materials]
    columns = [
        pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        pa.array(evidence.best_chunk, mask=evidence.best_chunk < 0),
        *(pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(evidence.values.T)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _texts(materials: Sequence[Material]) -> list[str]:
    return [text for material in materials for text in material.texts]


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
