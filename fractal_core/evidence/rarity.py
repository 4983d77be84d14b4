"""How rare a word or token is, from its rank in the encoder's vocabulary: no corpus needed.

Vocabularies are written in order of frequency (WordPiece, Unigram) or of merging (BPE), and by Zipf's law the frequency
of the r-th word is about 1/r, so log(rank) stands in for inverse document frequency. Unlike a frequency counted in the
corpus it makes the features of a sentence depend on nothing but the sentence, its query, its context and the encoder:
rows can be reused when others are added, and new responses are read on the scale of the old ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np


class Rarity:
    """Weights in (0, 1]: near 0 for the commonest words, 1 for a word the vocabulary does not hold whole."""

    def __init__(self, vocabulary: Mapping[str, int], piece_ids: Callable[[Sequence[str]], list[list[int]]]) -> None:
        """Rank the vocabulary.

        Args:
            vocabulary: the tokenizer's pieces and their ids; ids grow with rarity.
            piece_ids: the ids of the pieces of each word.
        """
        self._piece_ids = piece_ids
        size = max(vocabulary.values(), default=-1) + 1
        ranked = np.zeros(size, dtype=bool)
        ranked[[index for piece, index in vocabulary.items() if sum(map(str.isalpha, piece)) > 1]] = True
        rank = np.cumsum(ranked)
        self.token_weights: np.ndarray = (np.log1p(rank) / math.log(2.0 + rank[-1] if size else 2.0)).astype(np.float32)
        # A piece of one letter or sign has no place in the order of frequency: it is taken for common.
        self.token_weights[~ranked] = np.float32(math.log(2.0) / math.log(2.0 + rank[-1])) if size else 0.0
        self._known: dict[str, float] = {}

    def learn(self, words: Iterable[str]) -> None:
        """Weigh words not met before, in one call of the tokenizer."""
        new = sorted({word for word in words if word not in self._known})
        for word, pieces in zip(new, self._piece_ids(new), strict=True):
            self._known[word] = float(self.token_weights[pieces[0]]) if len(pieces) == 1 else 1.0

    def __getitem__(self, word: str) -> float:
        """Return the weight of a word that has been learnt."""
        return self._known[word]
