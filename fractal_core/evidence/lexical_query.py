"""How a sentence's wording answers its query: cover of the query, its numbers, the kind of answer asked for."""

from __future__ import annotations

import math

from fractal_core.evidence.rarity import Rarity
from fractal_core.evidence.words import Words, is_content, stem

NAMES = (
    "query_cover", "query_bigram_cover", "query_bm25", "query_rarest_missing", "query_novelty",
    "query_lead", "query_number_cover", "number_from_query_share", "new_name_share", "new_number_share",
    "answer_type_match", "answer_type_share",
)  # fmt: skip
_K1, _B, _TYPICAL_STEMS = 1.2, 0.75, 12.0
_REASON_WORDS = frozenset((
    "because", "due", "since", "cause", "causes", "caused", "reason", "reasons", "result", "results", "therefore",
    "hence", "so",
))  # fmt: skip


def compare_with_query(sentence: Words, query: Words, kind: str, rarity: Rarity) -> list[float]:
    """Return the features `NAMES` of a sentence against its query; NaN where there is nothing to compare.

    Shares are in [0, 1]. `query_bm25` is BM25 (k1 = 1.2, b = 0.75) with rarity for idf and 12 content words for the
    mean length, divided by the sum of the query's weights.

    Args:
        sentence: the sentence's words.
        query: the query's words.
        kind: what the query asks for, from `asked_for`.
        rarity: weights of every content word of both.
    """
    weights = {root: rarity[word] for root, word in query.stems.items()}
    held = [root for root in weights if root in sentence.stems]
    total = sum(weights.values())
    held_weight = sum([weights[root] for root in held])
    new_names = [name for name in sentence.names if name not in query.stems]
    gain = (_K1 + 1) / (1 + _K1 * (1 - _B + _B * len(sentence.stems) / _TYPICAL_STEMS))
    return [
        _share(held_weight, total),
        _share(len(query.bigrams & sentence.bigrams), len(query.bigrams)),
        _share(held_weight * gain, total),
        max([weight for root, weight in weights.items() if root not in sentence.stems], default=0.0),
        _share(len(sentence.stems) - len(held), len(sentence.stems)),
        _lead(sentence, query),
        _share(len(query.numbers & sentence.numbers), len(query.numbers)),
        _share(len(query.numbers & sentence.numbers), len(sentence.numbers)),
        _share(len(new_names), len(sentence.words)),
        _share(len(sentence.numbers - query.numbers), len(sentence.words)),
        *_answer(sentence, query, kind, new_names),
    ]


def _lead(sentence: Words, query: Words) -> float:
    """Return 1 / (1 + words before the first content word of the query); 0 if it has none of them."""
    for before, word in enumerate(sentence.words):
        if is_content(word) and stem(word) in query.stems:
            return 1.0 / (1 + before)
    return 0.0


def _answer(sentence: Words, query: Words, kind: str, new_names: list[str]) -> tuple[float, float]:
    """Return whether the sentence holds what is asked for beyond the query (0 or 1), and how many such a word."""
    if kind == "number":
        found = len(sentence.numbers - query.numbers)
    elif kind == "name":
        found = len(new_names)
    elif kind == "reason":
        found = len(_REASON_WORDS.intersection(sentence.words))
    else:
        return math.nan, math.nan
    return float(found > 0), found / max(len(sentence.words), 1)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
