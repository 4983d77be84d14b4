"""What evidence is taken from: a response's sentences, its query, and the chunks of its context."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContextChunk:
    """A piece of a context document that the encoder reads at once: its text, and its sentences' offsets in it."""

    text: str
    sentences: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Material:
    """One response, ready to be compared.

    Attributes:
        response_id: the response's own id.
        sentences: texts of its sentences, in order.
        query: the query, or None if there is none (or only white space).
        chunks: chunks of all its context documents, in order; empty without context.
    """

    response_id: str
    sentences: tuple[str, ...]
    query: str | None
    chunks: tuple[ContextChunk, ...]

    @property
    def texts(self) -> list[str]:
        """Every text the encoder must read, repetitions included."""
        return [*self.sentences, *([self.query] if self.query is not None else []), *(c.text for c in self.chunks)]
