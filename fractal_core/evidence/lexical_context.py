"""How much of a sentence's wording its context holds: words, n-grams, numbers, names."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from fractal_core.evidence.numbers import is_given
from fractal_core.evidence.rarity import Rarity
from fractal_core.evidence.words import Words, is_content, stem

NAMES = (
    "word_cover", "content_cover", "rare_cover", "rarest_missing", "bigram_cover", "trigram_cover", "copied_run_share",
    "best_sentence_cover", "best_window_cover", "best_sentence_bm25", "best_sentence_query_cover",
    "best_sentence_used_share", "best_sentence_number_missing", "best_sentence_name_missing", "pair_cover",
    "number_missing_share", "number_any_missing", "name_missing_share", "name_any_missing", "negation_mismatch",
)  # fmt: skip
_K1, _B = 1.2, 0.75


class ContextWords:
    """The words of a context, indexed by sentence."""

    def __init__(self, sentences: Sequence[Words]) -> None:
        """Index the sentences of a context, in order; the cost is linear in their length."""
        self.sentences = sentences
        self.words = frozenset(word for sentence in sentences for word in sentence.words)
        self.bigrams = frozenset(pair for sentence in sentences for pair in sentence.bigrams)
        self.trigrams = frozenset(triple for sentence in sentences for triple in sentence.trigrams)
        self.numbers = frozenset(number for sentence in sentences for number in sentence.numbers)
        postings: dict[str, list[int]] = defaultdict(list)
        for index, sentence in enumerate(sentences):
            for each in sentence.stems:
                postings[each].append(index)
        self.postings: dict[str, list[int]] = dict(postings)
        self.holders = {root: frozenset(indices) for root, indices in postings.items()}
        lengths = [len(sentence.stems) for sentence in sentences]
        mean = sum(lengths) / max(len(lengths), 1) or 1.0
        # Every stem counts once a sentence, so BM25's saturation depends on the sentence's length alone.
        self.bm25_gain = [(_K1 + 1) / (1 + _K1 * (1 - _B + _B * length / mean)) for length in lengths]

        # BM25's inverse document frequency among the sentences of this context, by how many hold a stem.
        count = len(sentences)
        self._idf = [math.log1p((count - held + 0.5) / (held + 0.5)) for held in range(count + 1)]

    def bm25_idf(self, root: str) -> float:
        """Return BM25's inverse document frequency of a stem among the sentences of this context."""
        return self._idf[len(self.postings.get(root, ()))]


def compare_with_context(sentence: Words, context: ContextWords, query: Words | None, rarity: Rarity) -> list[float]:
    """Return the features `NAMES` of a sentence against its context; NaN where there is nothing to compare.

    Shares are in [0, 1]; a share of nothing (no numbers in the sentence) is 0 for what is missing and NaN for what is
    covered. Weighted covers use `Rarity`; `best_sentence_bm25` is divided by the score of a sentence that holds
    everything (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75), so a short sentence can exceed 1.
    """
    weights = {root: rarity[word] for root, word in sentence.stems.items()}
    held = [root for root in weights if root in context.postings]
    total = sum(weights.values())
    best, best_cover, window_cover, bm25 = _best_sentence(weights, held, context)
    numbers_missing = [number for number in sentence.numbers if not is_given(number, context.numbers)]
    names_missing = [name for name in sentence.names if name not in context.postings]
    support = context.sentences[best] if best >= 0 else None
    nan = math.nan
    return [
        _share(sum([word in context.words for word in sentence.words]), len(sentence.words)),
        _share(len(held), len(weights)),
        _share(sum([weights[root] for root in held]), total),
        max([weight for root, weight in weights.items() if root not in context.postings], default=0.0),
        _share(len(sentence.bigrams & context.bigrams), len(sentence.bigrams)),
        _share(len(sentence.trigrams & context.trigrams), len(sentence.trigrams)),
        _longest_run(sentence, context),
        _share(best_cover, total),
        _share(window_cover, total),
        bm25,
        nan if support is None or query is None else _cover(query, support, rarity),
        *_support(sentence, support),
        _pair_cover(sentence, context),
        len(numbers_missing) / max(len(sentence.numbers), 1),
        float(bool(numbers_missing)),
        len(names_missing) / max(len(sentence.names), 1),
        float(bool(names_missing)),
        nan if support is None else float(support.negated != sentence.negated),
    ]


def _best_sentence(
    weights: dict[str, float], held: list[str], context: ContextWords
) -> tuple[int, float, float, float]:
    """Return the context sentence that covers most weight, its weight, the best pair's weight, and the best BM25."""
    covers: dict[int, float] = defaultdict(float)
    windows: dict[int, float] = defaultdict(float)
    scores: dict[int, float] = defaultdict(float)
    ideal = 0.0
    for root in weights:
        ideal += context.bm25_idf(root)
    for root in held:
        weight, idf = weights[root], context.bm25_idf(root)
        previous = -1
        for index in context.postings[root]:
            covers[index] += weight
            scores[index] += idf * context.bm25_gain[index]
            windows[index] += weight  # the pair (index, index + 1)
            if previous != index - 1 and index > 0:
                windows[index - 1] += weight
            previous = index
    if not covers:
        return -1, 0.0, 0.0, 0.0 if ideal else math.nan
    best = max(covers, key=lambda index: (covers[index], -index))
    return best, covers[best], max(windows.values()), max(scores.values()) / ideal


def _support(sentence: Words, support: Words | None) -> tuple[float, float, float]:
    """Return the used share of the best context sentence, and the shares of numbers and names it lacks."""
    if support is None:
        return 0.0, float(bool(sentence.numbers)), float(bool(sentence.names))
    return (
        _share(sum([root in sentence.stems for root in support.stems]), len(support.stems)),
        sum([not is_given(number, support.numbers) for number in sentence.numbers]) / max(len(sentence.numbers), 1),
        sum([name not in support.stems for name in sentence.names]) / max(len(sentence.names), 1),
    )


def _pair_cover(sentence: Words, context: ContextWords) -> float:
    """Return the share of neighbouring content words that occur together in one context sentence."""
    pairs = [(a, b) for a, b in pairwise(stem(word) for word in sentence.words if is_content(word)) if a != b]
    none: frozenset[int] = frozenset()
    together = [not context.holders.get(a, none).isdisjoint(context.holders.get(b, none)) for a, b in pairs]
    return _share(sum(together), len(pairs))


def _longest_run(sentence: Words, context: ContextWords) -> float:
    """Return the longest run of adjacent word pairs that all occur in the context, as a share of the pairs."""
    longest = run = count = 0
    for pair in pairwise(sentence.words):
        count += 1
        run = run + 1 if pair in context.bigrams else 0
        longest = max(longest, run)
    return _share(longest, count)


def _cover(wanted: Words, given: Words, rarity: Rarity) -> float:
    """Return the share of the content of `wanted`, weighted by rarity, that `given` holds."""
    weights = {root: rarity[word] for root, word in wanted.stems.items()}
    return _share(sum([weight for root, weight in weights.items() if root in given.stems]), sum(weights.values()))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
