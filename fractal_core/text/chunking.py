"""Context documents cut into chunks of whole sentences."""

from __future__ import annotations

from typing import NamedTuple

from fractal_core.text.boundaries import sentence_spans

CHARACTERS_A_TOKEN = 4


class Chunk(NamedTuple):
    """A run of whole sentences: its [start, end) in the document, and theirs, in code points of the document."""

    start: int
    end: int
    sentences: tuple[tuple[int, int], ...]


def estimated_tokens(characters: int, words: int) -> int:
    """Return about how many tokens a text has: one for 4 characters or one a word, whichever is more."""
    return max(-(-characters // CHARACTERS_A_TOKEN), words)


def chunk_spans(text: str, max_tokens: int, language: str = "en") -> list[Chunk]:
    """Pack the sentences of a document into chunks, in order, each as full as fits.

    Args:
        text: the document; one of white space only has no chunks.
        max_tokens: most tokens a chunk, by `estimated_tokens`; a longer sentence is a chunk of its own.
        language: ISO 639-1 code for sentencex.

    Returns:
        Chunks in order of the document; document[chunk.start:chunk.end] has no white space around it, and every
        sentence is in exactly one chunk.

    Raises:
        ValueError: if max_tokens is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"A chunk cannot have at most {max_tokens} tokens: max_tokens must be at least 1.")
    chunks: list[Chunk] = []
    current: list[tuple[int, int]] = []
    words = 0
    for start, end in sentence_spans(text, "sentencex", language):
        more = len(text[start:end].split())
        if current and estimated_tokens(end - current[0][0], words + more) > max_tokens:
            chunks.append(Chunk(current[0][0], current[-1][1], tuple(current)))
            current, words = [], 0
        current.append((start, end))
        words += more
    if current:
        chunks.append(Chunk(current[0][0], current[-1][1], tuple(current)))
    return chunks
