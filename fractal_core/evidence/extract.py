"""All evidence of the sentences of many responses: the columns of table `evidence`, in the catalogue's order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.evidence import alone, lexical_context, lexical_query, similarity, token_features
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.evidence.lexical_context import ContextWords, compare_with_context
from fractal_core.evidence.lexical_query import compare_with_query
from fractal_core.evidence.material import ContextChunk, Material
from fractal_core.evidence.question import asked_for
from fractal_core.evidence.rarity import Rarity
from fractal_core.evidence.similarity import ContextVectors, compare_pooled, context_vectors
from fractal_core.evidence.words import Words, read_words
from fractal_core.threads import one_thread

_COLUMNS = (
    *similarity.NAMES, *token_features.NAMES, *lexical_context.NAMES, *lexical_query.NAMES, *alone.NAMES,
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Evidence of sentences, in order.

    Attributes:
        values: float32 [sentences, len(FEATURES)], NaN where there is nothing to compare.
        best_chunk: int32 [sentences], number of the context chunk with the largest cosine, -1 without context.
    """

    values: np.ndarray
    best_chunk: np.ndarray


@one_thread()
def extract(
    materials: Sequence[Material], readings: Mapping[str, Reading], rarity: Rarity, device: str = "cpu"
) -> Evidence:
    """Return the evidence of every sentence of the given responses.

    A sentence's features depend on itself, its query, its context and the encoder alone: not on its place in the
    response, on the sentences beside it or on other responses. Its length is one feature; in others it normalises.

    Args:
        materials: the responses.
        readings: what the encoder said of each of their texts.
        rarity: weights of words and tokens.
        device: where token vectors are multiplied.
    """
    vectors: dict[tuple[ContextChunk, ...], ContextVectors] = {}
    for material in materials:
        if material.chunks and material.chunks not in vectors:
            vectors[material.chunks] = context_vectors(material.chunks, readings)
    contexts = [vectors.get(material.chunks) for material in materials]
    pooled = [
        compare_pooled(
            np.stack([readings[text].pooled for text in material.sentences]),
            None if material.query is None else readings[material.query].pooled,
            context,
        )
        for material, context in zip(materials, contexts, strict=True)
    ]
    matrix = np.concatenate(
        [
            np.concatenate([values for values, _ in pooled]),
            token_features.compare_tokens(materials, contexts, readings, rarity.token_weights, device),
            _lexical(materials, rarity),
        ],
        axis=1,
    )
    order = [_COLUMNS.index(feature.name) for feature in FEATURES]
    return Evidence(matrix[:, order], np.concatenate([best for _, best in pooled]))


def _lexical(materials: Sequence[Material], rarity: Rarity) -> np.ndarray:
    """Return the lexical features, float32 [sentences, features]; every distinct text is taken apart once."""
    known: dict[str, Words] = {}

    def words_of(text: str) -> Words:
        if text not in known:
            known[text] = read_words(text)
        return known[text]

    contexts: dict[tuple[ContextChunk, ...], list[Words]] = {}
    for material in materials:
        if material.chunks and material.chunks not in contexts:
            contexts[material.chunks] = [
                words_of(chunk.text[start:end]) for chunk in material.chunks for start, end in chunk.sentences
            ]
        for text in (*material.sentences, *([] if material.query is None else [material.query])):
            words_of(text)
    rarity.learn(word for words in known.values() for word in words.stems.values())
    indexed = {chunks: ContextWords(sentences) for chunks, sentences in contexts.items()}
    without_context = [math.nan] * len(lexical_context.NAMES)
    without_query = [math.nan] * len(lexical_query.NAMES)
    rows = []
    for material in materials:
        context = indexed.get(material.chunks)
        query = None if material.query is None else known[material.query]
        kind = "" if material.query is None else asked_for(material.query)
        for text in material.sentences:
            words = known[text]
            rows.append(
                [
                    *(without_context if context is None else compare_with_context(words, context, query, rarity)),
                    *(without_query if query is None else compare_with_query(words, query, kind, rarity)),
                    *alone.look_alone(text, words),
                ]
            )
    return np.array(rows, dtype=np.float32)
