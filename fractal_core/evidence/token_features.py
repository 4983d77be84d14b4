"""Late-interaction features: statistics of how near a sentence's tokens come to those of its context and query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.evidence.late_interaction import TokenPair, match_tokens
from fractal_core.evidence.material import Material
from fractal_core.evidence.question import question_span
from fractal_core.evidence.ragged import run_mean, run_min, run_quantile
from fractal_core.evidence.similarity import ContextVectors
from fractal_core.evidence.tokens import SentenceTokens, describe_tokens

_CONTEXT = ("mean", "min", "low", "rare_mean", "content_min", "best_sentence")
_CONTEXT_MIDDLE = ("weak_share", "number_min", "name_min")
_QUERY = ("mean", "reverse_rare_mean", "reverse_min", "asked_best", "asked_mean")
LAYERS = ("mid", "last")
_CONTEXT_NAMES = (
    *(f"maxsim_{layer}_context_{statistic}" for layer in LAYERS for statistic in _CONTEXT),
    *(f"maxsim_mid_context_{statistic}" for statistic in _CONTEXT_MIDDLE),
)
_QUERY_NAMES = tuple(f"maxsim_{layer}_query_{statistic}" for layer in LAYERS for statistic in _QUERY)
NAMES = (*_CONTEXT_NAMES, *_QUERY_NAMES)
_LOW_QUANTILE = 0.1
_WEAK = 0.7  # below this cosine in the middle layer a token counts as unmatched


def compare_tokens(
    materials: Sequence[Material],
    contexts: Sequence[ContextVectors | None],
    readings: Mapping[str, Reading],
    token_weights: np.ndarray,
    device: str = "cpu",
) -> np.ndarray:
    """Return the features `NAMES` of every sentence of the given responses, in order.

    Args:
        materials: the responses.
        contexts: the vectors of each response's context; None without one.
        readings: what the encoder said of each sentence and query.
        token_weights: float32 [vocabulary], rarity of each token id.
        device: where to multiply.

    Returns:
        float32 [sentences, len(NAMES)], NaN where there is nothing to compare: no context or query, a sentence without
        tokens, and for the number and name statistics a sentence without any.
    """
    texts = [text for material in materials for text in material.sentences]
    described = describe_tokens(texts, [readings[text] for text in texts], token_weights)
    context_pairs = [None if c is None else (c.tokens, c.parts) for c in contexts]
    queries = [None if m.query is None else readings[m.query] for m in materials]
    query_pairs = [None if q is None else (q.tokens, np.zeros(q.tokens.shape[1], np.int64)) for q in queries]
    return np.concatenate(
        [
            _against_context(materials, context_pairs, readings, described, device),
            _against_query(materials, query_pairs, queries, readings, described, token_weights, device),
        ],
        axis=1,
    ).astype(np.float32)


Side = Sequence[tuple[np.ndarray, np.ndarray] | None]


def _pairs(
    materials: Sequence[Material], side: Side, readings: Mapping[str, Reading]
) -> tuple[list[TokenPair], list[int], np.ndarray]:
    """Return what can be compared, its materials, and which of all sentences that covers (bool)."""
    pairs, rows = [], []
    for row, (material, other) in enumerate(zip(materials, side, strict=True)):
        lengths = np.array([len(readings[text].token_ids) for text in material.sentences], dtype=np.int64)
        if other is not None and other[0].shape[1] and lengths.sum():
            tokens = np.concatenate([readings[text].tokens for text in material.sentences], axis=1)
            pairs.append(TokenPair(tokens, lengths, *other))
            rows.append(row)
    chosen = np.zeros(len(materials), dtype=bool)
    chosen[rows] = True
    return pairs, rows, np.repeat(chosen, [len(m.sentences) for m in materials])


def _against_context(
    materials: Sequence[Material], side: Side, readings: Mapping[str, Reading], described: SentenceTokens, device: str
) -> np.ndarray:
    count = len(described.lengths)
    pairs, _, covered = _pairs(materials, side, readings)
    if not pairs:
        return np.full((count, len(_CONTEXT_NAMES)), np.nan)
    matches = match_tokens(pairs, device)
    kept = covered[described.sentence]
    runs, weights = described.sentence[kept], described.weights[kept]
    content, number, name = described.content[kept], described.number[kept], described.name[kept]
    columns = []
    nearest = [np.concatenate([match.nearest[layer] for match in matches]) for layer in range(len(LAYERS))]
    for layer, values in enumerate(nearest):
        best = np.full(count, np.nan)
        best[covered] = np.concatenate([match.best_part[layer] for match in matches])
        best[described.lengths == 0] = np.nan
        columns += [
            run_mean(values, runs, count),
            run_min(values, runs, count),
            run_quantile(values, runs, count, _LOW_QUANTILE),
            run_mean(values, runs, count, weights),
            run_min(values[content], runs[content], count),
            best,
        ]
    middle = nearest[0]
    columns += [
        run_mean((middle < _WEAK).astype(np.float64), runs, count),
        run_min(middle[number], runs[number], count),
        run_min(middle[name], runs[name], count),
    ]
    return np.stack(columns, axis=1)


def _against_query(
    materials: Sequence[Material],
    side: Side,
    queries: Sequence[Reading | None],
    readings: Mapping[str, Reading],
    described: SentenceTokens,
    token_weights: np.ndarray,
    device: str,
) -> np.ndarray:
    count = len(described.lengths)
    pairs, rows, covered = _pairs(materials, side, readings)
    if not pairs:
        return np.full((count, len(_QUERY_NAMES)), np.nan)
    matches = match_tokens(pairs, device, reverse=True)
    runs = described.sentence[covered[described.sentence]]
    looking = [
        _QueryTokens.of(materials[row].query or "", query, token_weights) for row in rows if (query := queries[row])
    ]
    columns = []
    for layer in range(len(LAYERS)):
        values = np.concatenate([match.nearest[layer] for match in matches])
        backward = np.full((count, len(_QUERY) - 1), np.nan)
        backward[covered] = np.concatenate(
            [
                _look_back(match.reverse[layer], match.average[layer], query)
                for match, query in zip(matches, looking, strict=True)
                if match.reverse is not None and match.average is not None
            ]
        )
        backward[described.lengths == 0] = np.nan
        columns += [run_mean(values, runs, count), *backward.T]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class _QueryTokens:
    """Rarity of a query's tokens, and which of them are its question word."""

    weights: np.ndarray
    asked: np.ndarray

    @classmethod
    def of(cls, text: str, query: Reading, token_weights: np.ndarray) -> _QueryTokens:
        start, end = question_span(text) or (0, 0)
        asked = (query.offsets[:, 1] > start) & (query.offsets[:, 0] < end)
        return cls(token_weights[query.token_ids], np.flatnonzero(asked))


def _look_back(reverse: np.ndarray, average: np.ndarray, query: _QueryTokens) -> np.ndarray:
    """Return all of `_QUERY` but the first from [query tokens, sentences], float64 [sentences, 4]."""
    reverse = reverse.astype(np.float64)
    nothing = np.full(reverse.shape[1], np.nan)
    return np.stack(
        [
            np.average(reverse, axis=0, weights=query.weights),
            reverse.min(axis=0),
            reverse[query.asked].mean(axis=0) if len(query.asked) else nothing,
            average[query.asked].mean(axis=0) if len(query.asked) else nothing,
        ],
        axis=1,
    )
