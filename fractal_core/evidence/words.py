"""What a text is made of, for lexical comparison: words, stems, n-grams, numbers, names. English word lists."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fractal_core.evidence.numbers import NUMBER_WORDS, numbers_in

WORD = re.compile(r"\w+(?:['’]\w+)?")
STOPWORDS = frozenset((
    "a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any", "are", "aren't", "as",
    "at", "be", "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "can't", "could",
    "couldn't", "did", "didn't", "do", "does", "doesn't", "doing", "don't", "down", "during", "each", "either", "etc",
    "few", "for", "from", "further", "had", "hadn't", "has", "hasn't", "have", "haven't", "having", "he", "her", "here",
    "hers", "herself", "him", "himself", "his", "how", "however", "i", "if", "in", "into", "is", "isn't", "it", "it's",
    "its", "itself", "just", "let", "like", "ll", "many", "may", "me", "might", "more", "most", "much", "must", "my",
    "myself", "no", "nor", "not", "now", "of", "off", "on", "once", "one", "only", "or", "other", "our", "ours", "out",
    "over", "own", "per", "rather", "re", "s", "same", "shall", "she", "should", "so", "some", "such", "t", "than",
    "that", "that's", "the", "their", "theirs", "them", "themselves", "then", "there", "these", "they", "this", "those",
    "through", "thus", "to", "too", "under", "until", "up", "upon", "us", "ve", "very", "via", "was", "wasn't", "we",
    "were", "weren't", "what", "when", "where", "whether", "which", "while", "who", "whom", "whose", "why", "will",
    "with", "within", "without", "won't", "would", "wouldn't", "you", "your", "yours", "yourself",
))  # fmt: skip
_NEGATIONS = frozenset((
    "not", "no", "never", "none", "nor", "neither", "nothing", "nobody", "nowhere", "without", "cannot",
))  # fmt: skip
_NOT = ("n't", "n’t")
_DIGIT = re.compile(r"\d")
_SUFFIXES = ("ations", "ation", "ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "ly", "s")
_STEM_LETTERS = 7


@dataclass(frozen=True)
class Words:
    """The words of one text.

    Attributes:
        words: every word in lower case, in order.
        stems: stems of the content words (no stopwords, no single letters), each with the first word it came from.
        bigrams: pairs of adjacent words.
        trigrams: triples of adjacent words.
        numbers: numbers, in one form.
        names: stems of words capitalised inside a sentence.
        negated: a negation word occurs.
    """

    words: tuple[str, ...]
    stems: Mapping[str, str]
    bigrams: frozenset[tuple[str, str]]
    trigrams: frozenset[tuple[str, str, str]]
    numbers: frozenset[float]
    names: frozenset[str]
    negated: bool


class Word(NamedTuple):
    """What can be said of a word as written, wherever it stands.

    Attributes:
        lower: in lower case.
        stem: of the word in lower case.
        content: it carries meaning of its own.
        digit: it has a digit.
        name: inside a sentence it looks like a name.
        name_first: at the start of a sentence it looks like a name.
        negation: it negates.
    """

    lower: str
    stem: str
    content: bool
    digit: bool
    name: bool
    name_first: bool
    negation: bool


@functools.lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return a rough stem of a lower-case word: a common suffix off, then the first seven letters."""
    word = word.partition("'")[0].partition("’")[0] or word
    if not word[-1:].isdigit():
        for suffix in _SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= 3:
                word = word[: -len(suffix)]
                break
        if len(word) > 3 and word[-1] in "ey":
            word = word[:-1]
    return word[:_STEM_LETTERS]


@functools.lru_cache(maxsize=200_000)
def is_content(word: str) -> bool:
    """Say whether a lower-case word carries meaning of its own: no stopword and no single letter."""
    return word not in STOPWORDS and (len(word) > 1 or word.isdigit())


def is_name(word: str, first: bool) -> bool:
    """Say whether a word as written looks like a name: capitalised inside a sentence, or an abbreviation anywhere."""
    if not word[0].isupper():
        return False
    if first:
        return len(word) > 1 and word.isupper()
    return is_content(word.lower()) or (len(word) > 1 and word.isupper())


@functools.lru_cache(maxsize=200_000)
def look_up(word: str) -> Word:
    """Return what can be said of a word as written."""
    lower = word.lower()
    return Word(
        lower=lower,
        stem=stem(lower),
        content=is_content(lower),
        digit=any(map(str.isdigit, word)),
        name=is_name(word, first=False),
        name_first=is_name(word, first=True),
        negation=lower in _NEGATIONS or lower.endswith(_NOT),
    )


def read_words(text: str) -> Words:
    """Take a text apart once; the cost is linear in its length."""
    found = list(map(look_up, WORD.findall(text)))
    words = tuple([word.lower for word in found])
    names = [word.stem for word in found[1:] if word.name]
    if found and found[0].name_first:
        names.append(found[0].stem)
    return Words(
        words=words,
        stems={word.stem: word.lower for word in reversed(found) if word.content},
        bigrams=frozenset(zip(words, words[1:], strict=False)),
        trigrams=frozenset(zip(words, words[1:], words[2:], strict=False)),
        numbers=frozenset(numbers_in(text))
        if _DIGIT.search(text) or not NUMBER_WORDS.isdisjoint(words)
        else frozenset(),
        names=frozenset(names),
        negated=any([word.negation for word in found]),
    )
