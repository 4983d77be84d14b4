"""Cosines of a sentence's pooled vector with its query, the chunks of its context and single context sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.evidence.material import ContextChunk

NAMES = (
    "cos_query", "cos_chunk_best", "cos_chunk_mean", "cos_context_sentence_best", "cos_context_sentence_gap",
    "cos_support_query",
)  # fmt: skip
_LAST = 1


@dataclass(frozen=True)
class ContextVectors:
    """The vectors of one context.

    Attributes:
        chunks: float32 [chunks, dimensions], pooled.
        sentences: float32 [context sentences, dimensions], weighted mean of last-layer token vectors, of length 1.
        tokens: float16 [2, tokens, dimensions], all chunks one after the other.
        parts: int64 [tokens], the row of `sentences` each token belongs to.
    """

    chunks: np.ndarray
    sentences: np.ndarray
    tokens: np.ndarray
    parts: np.ndarray


def context_vectors(chunks: Sequence[ContextChunk], readings: Mapping[str, Reading]) -> ContextVectors:
    """Gather the vectors of a context; its sentences are cut out of their chunk's tokens, so nothing is read twice.

    Sentences without a token (cut off by the encoder's limit) have no row.

    Args:
        chunks: at least one.
        readings: what the encoder said of each chunk's text.
    """
    read = [readings[chunk.text] for chunk in chunks]
    owners, before = [], 0
    for chunk, reading in zip(chunks, read, strict=True):
        starts = np.array([start for start, _ in chunk.sentences] or [0])
        owners.append(before + np.maximum(np.searchsorted(starts, reading.offsets[:, 1] - 1, side="right") - 1, 0))
        before += len(starts)
    tokens = np.concatenate([reading.tokens for reading in read], axis=1)
    _, first, parts = np.unique(np.concatenate(owners), return_index=True, return_inverse=True)
    summed = tokens[_LAST] * np.concatenate([reading.weights for reading in read])[:, None]
    if len(first):
        summed = np.add.reduceat(summed, first, axis=0)
    norms = np.linalg.norm(summed, axis=1, keepdims=True)
    return ContextVectors(
        chunks=np.stack([reading.pooled for reading in read]),
        sentences=summed / np.maximum(norms, 1e-12),
        tokens=tokens,
        parts=parts.reshape(-1),
    )


def compare_pooled(
    sentences: np.ndarray, query: np.ndarray | None, context: ContextVectors | None
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the sentences of one response with its query and context.

    `cos_context_sentence_gap` is the best cosine less the second best: large if one place alone supports the sentence.
    `cos_support_query` is the cosine of the query with the context sentence nearest to the sentence.

    Args:
        sentences: float32 [sentences, dimensions], L2-normalised.
        query: float32 [dimensions], or None.
        context: None without context.

    Returns:
        float32 [sentences, len(NAMES)] with NaN where there is nothing to compare, and int32 [sentences], the chunk
        with the largest cosine, -1 without context.
    """
    found = np.full((len(sentences), len(NAMES)), np.nan, dtype=np.float32)
    best_chunk = np.full(len(sentences), -1, dtype=np.int32)
    if query is not None:
        found[:, 0] = sentences @ query
    if context is None:
        return found, best_chunk
    by_chunk = sentences @ context.chunks.T
    best_chunk[:] = by_chunk.argmax(axis=1)
    found[:, 1], found[:, 2] = by_chunk.max(axis=1), by_chunk.mean(axis=1)
    if len(context.sentences):
        by_sentence = sentences @ context.sentences.T
        nearest = by_sentence.argmax(axis=1)
        found[:, 3] = by_sentence.max(axis=1)
        if len(context.sentences) > 1:
            found[:, 4] = found[:, 3] - np.partition(by_sentence, -2, axis=1)[:, -2]
        if query is not None:
            found[:, 5] = (context.sentences @ query)[nearest]
    return found, best_chunk
