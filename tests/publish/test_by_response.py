"""Responses with their sentences, and the sentences that decide, against slow references."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from made_results import MadeResults, one

from fractal_core.errors import StoreError
from fractal_core.publish.by_response import by_response
from fractal_core.publish.evidence import MOST, extremes


def _responses(count=23):
    chance = random.Random(1)
    return [
        {
            "sentences": [
                (f"s{n}.{i}", chance.random(), chance.choice((0.1, 0.5, 0.9))) for i in range(chance.randrange(1, 8))
            ]
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("sizes", [(1, 1), (3, 7), (5, 2), (100, 100)])
def test_lists_of_sentences(sizes):
    """However tables come in batches, each response has its own sentences, in order."""
    given = _responses()
    blocks = list(by_response(MadeResults(given, sizes=sizes), ("split",)))
    rows = pa.concat_tables(blocks).to_pylist()
    assert [row["response_id"] for row in rows] == [f"r{n:02d}" for n in range(len(given))]
    assert [list(zip(row["text"], row["score"], row["posterior"], strict=True)) for row in rows] == [
        response["sentences"] for response in given
    ]
    assert {len(block) for block in blocks[:-1]} <= {sizes[0]}


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (100, 100)])
def test_other_order_is_an_error(sizes):
    """Sentences in another order than their responses are not dealt to the wrong ones."""
    results = MadeResults(_responses(4), sizes=sizes)
    table = results._tables["responses"]
    results._tables["responses"] = table.take(pa.array([1, 0, 2, 3]))
    with pytest.raises(StoreError, match="not in the order"):
        list(by_response(results, ()))


def test_sentences_of_no_response_are_an_error():
    """Sentences behind those of the last response are noticed."""
    results = MadeResults([{"sentences": one(0.5)}, {"sentences": one(0.5)}])
    results._tables["responses"] = results._tables["responses"].slice(0, 1)
    with pytest.raises(StoreError, match="not in the order"):
        list(by_response(results, ()))


def test_extremes():
    """The weakest and the strongest sentences are those of a plain sort, ties in order of the response."""
    (block,) = by_response(MadeResults(_responses()), ())
    found = {name: lists.to_pylist() for name, lists in extremes(block).items()}
    for row, weakest, strongest in zip(block.to_pylist(), found["weakest"], found["strongest"], strict=True):
        sentences = [
            {"sentence_index": n, "text": text, "score": score, "posterior": posterior}
            for n, (text, score, posterior) in enumerate(zip(row["text"], row["score"], row["posterior"], strict=True))
        ]
        assert weakest == sorted(sentences, key=lambda s: s["posterior"])[:MOST]
        assert strongest == sorted(sentences, key=lambda s: -s["posterior"])[:MOST]
