"""What kind of word each token of a sentence belongs to, and how rare it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.evidence.words import WORD, is_content, is_name


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
    starts, ends, kinds = [-1], [-1], [(False, False, False)]
    bases, base = [], 0
    for text in texts:
        bases.append(base)
        for number, match in enumerate(WORD.finditer(text)):
            word = match.group()
            starts.append(base + match.start())
            ends.append(base + match.end())
            kinds.append((is_content(word.lower()), any(map(str.isdigit, word)), is_name(word, number == 0)))
        base += len(text) + 1
    lengths = np.array([len(reading.token_ids) for reading in readings], dtype=np.int64)
    sentence = np.repeat(np.arange(len(texts)), lengths)
    # The last character of a token decides: some tokenizers count the space before a word as part of its first token.
    last = np.concatenate([reading.offsets[:, 1] for reading in readings]).astype(np.int64) - 1
    last += np.array(bases, dtype=np.int64)[sentence]
    within = np.searchsorted(np.array(starts), last, side="right") - 1
    inside = last < np.array(ends)[within]
    flags = np.array(kinds, dtype=bool)[within] & inside[:, None]
    ids = np.concatenate([reading.token_ids for reading in readings])
    return SentenceTokens(sentence, lengths, token_weights[ids], flags[:, 0], flags[:, 1], flags[:, 2])
