"""Responses of any number, made by a seeded generator: lengths and repeats as in real data, one row at a time.

Several responses answer one query over the same documents, which are on one of a thousand topics. Words are common and
rare as in English, numbers and names are invented. A response has five to fifteen sentences: most take up a sentence of
the documents and leave some words out, some say a number or a name that the documents do not have, some are stock
phrases that many responses share.
"""

from __future__ import annotations

import random
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

PHRASES = Path(__file__).resolve().parent.parent / "data" / "phrases"
SEED = 20_261_121
FEWEST, MOST = 5, 15
_SYLLABLES = ("bar", "den", "fel", "gor", "hal", "kir", "lum", "mor", "nev", "ost", "pra", "rith", "sel", "tum", "vor")
_STOCK = 400
_STOCK_SHARE = 0.12
_OWN_SHARE = 0.15
_WRONG_RESPONSES = 0.5
_WRONG_SHARE = 0.3
_REPEATED_QUERIES = 0.05
_TOPICS, _TOPIC_WORDS, _TOPIC_SHARE = 1_000, 30, 0.4


class Words:
    """Words as often as they come in the phrases of the sample data, and invented names."""

    def __init__(self, chance: random.Random) -> None:
        """Count the words of the phrases."""
        text = " ".join(_strings([tomllib.loads(path.read_text()) for path in sorted(PHRASES.glob("*.toml"))]))
        counts = Counter(word for word in text.lower().split() if word.isalpha())
        self._words, self._weights = list(counts), list(accumulate(counts.values()))
        self._chance = chance

    def some(self, count: int, topic: Sequence[str] = ()) -> list[str]:
        """Draw words, some of them of a topic."""
        drawn = self._chance.choices(self._words, cum_weights=self._weights, k=count)
        if not topic:
            return drawn
        return [self._chance.choice(topic) if self._chance.random() < _TOPIC_SHARE else word for word in drawn]

    def topic(self) -> list[str]:
        """Choose the words of a topic, rare ones as likely as common ones."""
        return self._chance.sample(self._words, _TOPIC_WORDS)

    def name(self) -> str:
        """Invent a name."""
        return "".join(self._chance.choices(_SYLLABLES, k=self._chance.randint(2, 3))).capitalize()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def make_rows(count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    """Yield responses, the same ones each time.

    Args:
        count: how many.
        first: number of the first one; those before it are made and left out.
    """
    chance = random.Random(SEED)
    words = Words(chance)
    stock = [_sentence(words.some(_length(chance))) for _ in range(_STOCK)]
    common = list(accumulate(1 / rank for rank in range(1, _STOCK + 1)))
    topics = [words.topic() for _ in range(_TOPICS)]
    queries: list[str] = []
    number = 0
    while number < first + count:
        topic = chance.choice(topics)
        names = [words.name() for _ in range(3)]
        facts = [_fact(chance, words, topic, names) for _ in range(chance.randint(8, 16))]
        cuts = sorted(chance.sample(range(1, len(facts)), chance.randint(0, 2)))
        context = [
            " ".join(map(_sentence, facts[low:high])) for low, high in zip([0, *cuts], [*cuts, len(facts)], strict=True)
        ]
        if queries and chance.random() < _REPEATED_QUERIES:
            query = chance.choice(queries)
        else:
            query = " ".join(["What", *words.some(chance.randint(3, 9), topic), names[0]]) + "?"
            queries = [*queries[-999:], query]
        for _ in range(min(chance.randint(1, 7), first + count - number)):
            wrong = chance.random() < _WRONG_RESPONSES
            sentences, right = [], True
            for _ in range(chance.randint(FEWEST, MOST)):
                kind = chance.random()
                if kind < _STOCK_SHARE:
                    sentences.append(chance.choices(stock, cum_weights=common)[0])
                    continue
                said = _fact(chance, words, topic, names) if kind < _STOCK_SHARE + _OWN_SHARE else chance.choice(facts)
                said = [word for word in said if word.istitle() or word.isdigit() or chance.random() < 0.85]
                if wrong and chance.random() < _WRONG_SHARE:
                    right = False
                    place = chance.randrange(len(said))
                    said[place] = words.name() if chance.random() < 0.5 else str(chance.randint(1000, 2000))
                sentences.append(_sentence(said))
            if number >= first:
                yield {
                    "id": f"r{number:08d}",
                    "query": query,
                    "context": context,
                    "response": " ".join(sentences),
                    "response_label": int(right),
                }
            number += 1


def _length(chance: random.Random) -> int:
    """Words of a sentence: log-normal, 13 in the middle, as in answers of assistants."""
    return max(4, min(60, round(chance.lognormvariate(2.55, 0.45))))


def _fact(chance: random.Random, words: Words, topic: Sequence[str], names: Sequence[str]) -> list[str]:
    said = words.some(_length(chance), topic)
    said[chance.randrange(len(said))] = chance.choice(names)
    if chance.random() < 0.4:
        said[chance.randrange(len(said))] = str(chance.randint(1000, 2000))
    return said


def _sentence(words: Sequence[str]) -> str:
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."
