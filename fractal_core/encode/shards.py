"""Responses and their sentences, streamed side by side and cut into shards of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from fractal_core.errors import StoreError
from fractal_core.evidence.material import ContextChunk, Material
from fractal_core.text.chunking import chunk_spans

if TYPE_CHECKING:
    from fractal_core.store.stage import Inputs

_BATCH_ROWS = 8_192
_CONTEXTS_REMEMBERED = 1_024


def shards(inputs: Inputs, chunk_tokens: int, characters: int) -> Iterator[list[Material]]:
    """Yield consecutive responses that have sentences, in shards of about `characters` characters to read.

    The cut depends on the texts alone, so going through the input twice gives the same shards.

    Args:
        inputs: tables `responses` (response_id, query, context) and `sentences` (response_id, sentence_index, text),
            both in the order of the responses.
        chunk_tokens: most tokens of a context chunk.
        characters: a shard is closed once its texts, repetitions included, have more than this.

    Raises:
        StoreError: if a sentence belongs to no response, or the two tables are not in the same order.
    """

    @lru_cache(maxsize=_CONTEXTS_REMEMBERED)
    def chunks_of(context: tuple[str, ...]) -> tuple[ContextChunk, ...]:
        return tuple(chunk for document in context for chunk in cut_document(document, chunk_tokens))

    shard: list[Material] = []
    size = 0
    for response_id, query, context, sentences in _joined(inputs):
        has_query = query is not None and bool(query.strip())
        material = Material(response_id, sentences, query if has_query else None, chunks_of(context))
        shard.append(material)
        size += sum(map(len, material.texts))
        if size > characters:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def cut_document(document: str, chunk_tokens: int) -> list[ContextChunk]:
    """Cut one document into chunks of whole sentences; one of white space only has none."""
    return [
        ContextChunk(
            text=document[chunk.start : chunk.end],
            sentences=tuple((start - chunk.start, end - chunk.start) for start, end in chunk.sentences),
        )
        for chunk in chunk_spans(document, chunk_tokens, language="en")
    ]


def _joined(inputs: Inputs) -> Iterator[tuple[str, str | None, tuple[str, ...], tuple[str, ...]]]:
    """Yield (response_id, query, context documents, sentences) of every response that has sentences."""
    responses = _responses(inputs)
    for response_id, rows in groupby(_sentences(inputs), key=itemgetter(0)):
        sentences = tuple(text for _, text in rows)
        for candidate, query, context in responses:
            if candidate == response_id:
                yield response_id, query, context, sentences
                break
        else:
            raise StoreError(
                f"Table sentences has response {response_id!r} where table responses has not, or in another order; "
                "run again with --force segment."
            )


def _responses(inputs: Inputs) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    for batch in inputs.batches("responses", _BATCH_ROWS):
        columns = (batch.column(name).to_pylist() for name in ("response_id", "query", "context"))
        for response_id, query, context in zip(*columns, strict=True):
            yield response_id, query, tuple(document for document in context or () if document)


def _sentences(inputs: Inputs) -> Iterator[tuple[str, str]]:
    for batch in inputs.batches("sentences", _BATCH_ROWS):
        yield from zip(batch.column("response_id").to_pylist(), batch.column("text").to_pylist(), strict=True)
