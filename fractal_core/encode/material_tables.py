"""Responses and their contexts as Arrow tables, for other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fractal_core.evidence.material import ContextChunk, Material

if TYPE_CHECKING:
    from fractal_core.engine import Parcel

_CHUNKS: Any = pa.list_(pa.struct([("text", pa.string()), ("sentences", pa.list_(pa.list_(pa.int32())))]))


def material_tables(materials: Sequence[Material]) -> dict[str, pa.Table]:
    """Return responses as tables `responses` and `contexts`; contexts, which are often shared, are there once each."""
    contexts: dict[tuple[ContextChunk, ...], int] = {}
    number = [contexts.setdefault(material.chunks, len(contexts)) for material in materials]
    chunks = [[{"text": c.text, "sentences": c.sentences} for c in context] for context in contexts]
    responses = {
        "response_id": pa.array([material.response_id for material in materials], pa.string()),
        "sentences": pa.array([material.sentences for material in materials], pa.list_(pa.string())),
        "query": pa.array([material.query for material in materials], pa.string()),
        "context": pa.array(number, pa.int32()),
    }
    return {"responses": pa.table(responses), "contexts": pa.table({"chunks": pa.array(chunks, _CHUNKS)})}


def materials_of(shard: Parcel) -> list[Material]:
    """Return what `material_tables` was given."""
    contexts = [
        tuple(ContextChunk(c["text"], tuple((start, end) for start, end in c["sentences"])) for c in context)
        for context in shard["contexts"].column("chunks").to_pylist()
    ]
    return [
        Material(row["response_id"], tuple(row["sentences"]), row["query"], contexts[row["context"]])
        for row in shard["responses"].to_pylist()
    ]
