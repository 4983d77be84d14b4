"""What kind of word each token of a sentence belongs to, and how rare it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.evidence.words import WORD, Word, look_up


@dataclass(frozen=True)
class SentenceTokens:
    """The tokens of many sentences, one after the other.

    Attributes:
        sentence: int64 [tokens], row of the sentence each token is in.
        lengths: int64 [sentences], tokens of each sentence.
        weights: float32 [tokens], rarity.
        content: bool [tokens], part of a word that carries meaning of its own.
        number: bool [tokens], part of a word with a digit.
        name: bool [tokens], part of a word capitalised inside the sentence.
    """

    sentence: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray
    content: np.ndarray
    number: np.ndarray
    name: np.ndarray


def describe_tokens(texts: Sequence[str], readings: Sequence[Reading], token_weights: np.ndarray) -> SentenceTokens:
    """Sort the tokens of sentences by the words they come from.

    Args:
        texts: the sentences, at least one.
        readings: what the encoder said of each.
        token_weights: float32 [vocabulary], rarity of each token id.
    """
    words: list[Word] = []
    places: list[int] = []
    counts, bases, base = [], [], 0
    for text in texts:
        before = len(words)
        for match in WORD.finditer(text):
            words.append(look_up(match.group()))
            places.extend(match.span())
        counts.append(len(words) - before)
        bases.append(base)
        base += len(text) + 1
    spans = np.array(places, dtype=np.int64).reshape(-1, 2) + np.repeat(bases, counts)[:, None]
    kinds = np.array([(word.content, word.digit, word.name) for word in words], dtype=bool).reshape(-1, 3)
    first = (np.cumsum(counts) - counts)[np.array(counts) > 0]
    kinds[first, 2] = [words[index].name_first for index in first]
    lengths = np.array([len(reading.token_ids) for reading in readings], dtype=np.int64)
    sentence = np.repeat(np.arange(len(texts)), lengths)
    # The last character of a token decides: some tokenizers count the space before a word as part of its first token.
    last = np.concatenate([reading.offsets[:, 1] for reading in readings]).astype(np.int64) - 1
    last += np.array(bases)[sentence]
    within = np.searchsorted(spans[:, 0], last, side="right") - 1
    # A token before the first word has the number -1, of what is put behind the last one: no word at all.
    inside = last < np.append(spans[:, 1], -1)[within]
    flags = np.append(kinds, [[False] * 3], axis=0)[within] & inside[:, None]
    ids = np.concatenate([reading.token_ids for reading in readings])
    return SentenceTokens(sentence, lengths, token_weights[ids], flags[:, 0], flags[:, 1], flags[:, 2])
