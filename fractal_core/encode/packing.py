"""Texts laid end to end in strips of one length: nothing is padded but the last strip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple


class Strip(NamedTuple):
    """Texts that are read at once, one after the other, longest first.

    Attributes:
        indices: of the texts.
        tokens: of the strip, those that are left over included.
    """

    indices: list[int]
    tokens: int


class Run(NamedTuple):
    """Neighbours of one length in a strip: so many texts of `length` tokens each, from token `start` on."""

    start: int
    texts: int
    length: int


def strips(lengths: Sequence[int], tokens: int) -> Iterator[Strip]:
    """Yield strips with every text once, long texts first.

    How long the strip of a text is follows from the text alone: `tokens`, or its own length if it is longer. A matrix
    product rounds by its shape, so a text always gets the same vector, whatever is read beside it.

    Args:
        lengths: tokens of each text, special tokens included.
        tokens: of a strip.
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    present = sorted(by_length)
    while present and present[-1] > tokens:
        longest = present.pop()
        yield from (Strip([index], longest) for index in by_length[longest])
    while present:
        left, chosen = tokens, []
        while fitting := bisect_right(present, left):
            length = present[fitting - 1]
            chosen.append(by_length[length].pop())
            left -= length
            if not by_length[length]:
                del present[fitting - 1]
        yield Strip(chosen, tokens)


def runs(lengths: Sequence[int]) -> list[Run]:
    """Return the runs of neighbours of equal length in a strip of texts of these lengths."""
    found, start = [], 0
    for length, equal in groupby(lengths):
        count = len(list(equal))
        found.append(Run(start, count, length))
        start += count * length
    return found
