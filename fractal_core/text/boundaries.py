"""Where the sentences of a text begin and end, as exact code-point offsets."""

from __future__ import annotations

import re

import sentencex

# sentencex reads a word without spaces (Chinese, Japanese) again at each of its sentences, so its time grows with the
# square of the text: longer texts are cut window by window.
WINDOW = 16_384

# sentencex panics on an initial before white space of more than one byte ("B\u00a0."), and cannot read surrogates.
_NOT_FOR_SENTENCEX = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]")
_PLAIN = {"\x85": "\n", "\u2028": "\n", "\u2029": "\n"}

_WORD = re.compile(r"\w")
_NEWLINE_OR_MATHS = re.compile(r"\r\n|[\n\r]|\$\$|(?<!\\)\\\[")
_CLOSES = {"$$": "$$", r"\[": r"\]"}


def sentence_spans(text: str, method: str = "sentencex", language: str = "en") -> list[tuple[int, int]]:
    r"""Cut a text into sentences.

    Sentences have no white space around them and are never empty; each character that is not white space belongs to
    exactly one sentence. A piece without a letter or digit ("...", an emoji) is no statement of its own: it joins the
    sentence before it, or the one after it at the start of the text.

    Args:
        text: any text; one of white space only has no sentences.
        method: "sentencex" for prose; "newline" cuts at line ends outside display maths ($$...$$ and \[...\]).
        language: ISO 639-1 code for sentencex; a language it does not know is cut by its general rules.

    Returns:
        [start, end) pairs in code points, in order.

    Raises:
        ValueError: if the method is neither of the two.
    """
    if method == "sentencex":
        cuts = _sentencex_cuts(text, language)
    elif method == "newline":
        cuts = _newline_cuts(text)
    else:
        raise ValueError(f"Unknown segmentation method {method!r}: choose sentencex or newline.")
    return _spans(text, cuts)


def _spans(text: str, cuts: list[int]) -> list[tuple[int, int]]:
    """Turn the first characters of the pieces (the first is 0) into stripped spans, joining those without a word."""
    spans: list[tuple[int, int]] = []
    waiting: int | None = None
    for start, stop in zip(cuts, [*cuts[1:], len(text)], strict=True):
        piece = text[start:stop]
        body = piece.lstrip()
        if not body:
            continue
        begin = stop - len(body)
        end = begin + len(body.rstrip())
        if _WORD.search(body):
            spans.append((begin if waiting is None else waiting, end))
            waiting = None
        elif spans:
            spans[-1] = (spans[-1][0], end)
        elif waiting is None:
            waiting = begin
    if waiting is not None:
        spans.append((waiting, len(text.rstrip())))
    return spans


def _sentencex_cuts(text: str, language: str) -> list[int]:
    plain = text if text.isascii() else _NOT_FOR_SENTENCEX.sub(lambda m: _PLAIN.get(m[0], " "), text)
    cuts = [0]
    start, window = 0, WINDOW
    while start < len(plain):
        stop = min(start + window, len(plain))
        pieces = _starts(plain[start:stop], language)
        if stop == len(plain):
            cuts.extend(start + piece for piece in pieces[1:])
            break
        if len(pieces) == 1:
            window *= 2
            continue
        # The window's edge cut its last piece short, so the next window begins with that piece.
        cuts.extend(start + piece for piece in pieces[1:])
        start, window = start + pieces[-1], WINDOW
    return cuts


def _starts(text: str, language: str) -> list[int]:
    """First character of each piece; offsets stay exact even if sentencex loses or changes characters."""
    pieces = sentencex.segment(language, text)
    starts = [0]
    if sum(map(len, pieces)) == len(text):
        for piece in pieces[:-1]:
            starts.append(starts[-1] + len(piece))
        return starts
    cursor = 0
    for piece in pieces:
        found = text.find(piece, cursor)
        if piece and found >= 0:
            if found > starts[-1]:
                starts.append(found)
            cursor = found + len(piece)
    return starts


def _newline_cuts(text: str) -> list[int]:
    cuts = [0]
    unclosed: set[str] = set()
    position = 0
    while (match := _NEWLINE_OR_MATHS.search(text, position)) is not None:
        position = match.end()
        closer = _CLOSES.get(match[0])
        if closer is None:
            cuts.append(position)
        elif closer not in unclosed:
            close = text.find(closer, position)
            if close < 0:
                # What is not closed is no display maths; remembering it keeps the time linear.
                unclosed.add(closer)
            else:
                position = close + len(closer)
    return cuts
