"""Tests of context chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.text.boundaries import sentence_spans
from fractal_core.text.chunking import chunk_spans, estimated_tokens

documents = st.lists(
    st.sampled_from(["Short one. ", "A somewhat longer sentence stands here. ", "😀 yes! ", "\n\n", "Nächste Frage? "])
).map("".join)


def tokens(text: str) -> int:
    """Estimate as the definition says it, without sharing code."""
    return max((len(text) + 3) // 4, len(text.split()))


@settings(max_examples=200)
@given(documents, st.integers(1, 40))
def test_chunks_partition_the_sentences(text: str, most: int) -> None:
    """Chunks hold all sentences in order; none is too long unless it is one sentence, or has room for the next."""
    chunks = chunk_spans(text, most)
    assert [span for chunk in chunks for span in chunk.sentences] == sentence_spans(text)
    for chunk in chunks:
        assert (chunk.start, chunk.end) == (chunk.sentences[0][0], chunk.sentences[-1][1])
        assert tokens(text[chunk.start : chunk.end]) <= most or len(chunk.sentences) == 1
    for chunk, following in zip(chunks, chunks[1:], strict=False):
        assert tokens(text[chunk.start : following.sentences[0][1]]) > most


@pytest.mark.parametrize(("characters", "words", "expected"), [(0, 0, 0), (1, 1, 1), (8, 1, 2), (9, 1, 3), (7, 4, 4)])
def test_estimated_tokens(characters: int, words: int, expected: int) -> None:
    """A token is 4 characters or a word, whichever makes more of them."""
    assert estimated_tokens(characters, words) == expected


def test_nothing_and_nonsense() -> None:
    """White space has no chunks, and no chunk can have less than one token."""
    assert chunk_spans(" \n ", 10) == []
    with pytest.raises(ValueError, match="at most 0 tokens"):
        chunk_spans("a", 0)
