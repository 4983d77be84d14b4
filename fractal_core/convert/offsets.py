"""Exact offsets, in code points: of pieces that were put together, of sentences that marked ranges fall into."""

from __future__ import annotations

from collections.abc import Sequence

from fractal_core.text.records import Fault, shown

Span = tuple[int, int]


def joined(pieces: Sequence[str], between: str) -> tuple[str, list[Span]]:
    """Return the pieces as one text, and where each is in it, without the white space around it.

    Raises:
        Fault: if a piece has no text, or there is none.
    """
    if not pieces:
        raise Fault("there are no sentences", "the list of them is empty")
    spans, start = [], 0
    for number, piece in enumerate(pieces):
        body = piece.strip()
        if not body:
            raise Fault("sentence has no text", f"sentence {number} is {shown(piece)}")
        begin = start + piece.index(body)
        spans.append((begin, begin + len(body)))
        start += len(piece) + len(between)
    return between.join(pieces), spans


def touched(text: str, spans: Sequence[Span], ranges: Sequence[Span]) -> list[bool]:
    """Return for each span whether a range shares a letter or digit with it: blanks and full stops do not count."""
    return [
        any(any(map(str.isalnum, text[max(start, first) : min(end, last)])) for first, last in ranges)
        for start, end in spans
    ]


def code_points(text: str, units: Sequence[Span]) -> list[Span]:
    """Return ranges of UTF-16 code units, as browsers count, as ranges of code points.

    A character beyond U+FFFF is two units; a range that begins or ends inside one takes all of it.

    Raises:
        Fault: if a range is empty or lies outside the text.
    """
    place = [point for point, character in enumerate(text) for _ in range(1 + (character > "\uffff"))]
    found = []
    for first, last in units:
        if not 0 <= first < last <= len(place):
            raise Fault("range lies outside the text", f"[{first}, {last}), the text has {len(place)} UTF-16 units")
        found.append((place[first], place[last - 1] + 1))
    return found


def sentences(text: str, spans: Sequence[Span]) -> dict[str, object]:
    """Return the columns of fractal's input that say what the sentences of a response are."""
    return {"sentences": [text[start:end] for start, end in spans], "spans": [list(span) for span in spans]}
