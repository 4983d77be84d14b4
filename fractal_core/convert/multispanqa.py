"""MultiSpanQA: passages in which several spans answer a question (Li et al., NAACL 2022).

A record has `id`, `question` and `context` as lists of tokens, and `label`: for each token of the context B or I inside
an answer, else O. The files are objects with the records under `data`. The passage is the response, and there is no
context: a sentence is positive if it has a piece of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from fractal_core.convert.offsets import sentences
from fractal_core.convert.reading import converted
from fractal_core.convert.records import Bad, OnBytes, Record, Row, field, texts
from fractal_core.text.records import Fault, shown

_TAGS = {"B", "I", "O"}
_ENDS = {".", "!", "?"}
_CLOSES = {"''", '"', "'", ")", "]", "}", "\u201d", "\u2019", "-RRB-", "-RSB-"}


def read_whole(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """Passages as they are; nearly all have an answer, so that by themselves they teach nothing."""
    return converted(files, on_bytes, partial(_passage, crop=False))


def read_cropped(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """About half of the passages, by a hash of their id, cropped to the longest run of sentences without an answer.

    This is how the FRACTAL paper makes negative responses (arXiv 2404.04817). They are shorter than the others.
    """
    return converted(files, on_bytes, partial(_passage, crop=True))


def _passage(record: Record, crop: bool) -> list[dict[str, Any]]:
    name = field(record.values, "id", str)
    tokens = texts(record.values.get("context"), "context")
    ends = _sentence_ends(tokens)
    starts = [0, *ends]
    # Offsets of tokens in the text in which a blank is between one token and the next.
    place = [0]
    for token in tokens:
        place.append(place[-1] + len(token) + 1)
    text = " ".join(tokens)
    cut = [_stripped(text, place[first], place[last] - 1) for first, last in zip(starts, ends, strict=False)]
    kept = [number for number, (start, end) in enumerate(cut) if start < end]
    if not kept:
        raise Fault("context has no text", f"context = {shown(tokens)}")
    spans = [cut[number] for number in kept]
    row = {"id": name, "query": " ".join(texts(record.values.get("question"), "question")), "response": text}
    tags = record.values.get("label")
    if tags is None:
        return [{**row, **sentences(text, spans)}]
    if not isinstance(tags, list) or len(tags) != len(tokens) or not _TAGS.issuperset(map(str, tags)):
        raise Fault("label is not one of B, I and O for each token", f"{len(tokens)} tokens, label = {shown(tags)}")
    labels = [int(any(tag != "O" for tag in tags[starts[number] : ends[number]])) for number in kept]
    if crop and 0 in labels and 1 in labels and blake2b(name.encode("utf-8", "replace")).digest()[0] % 2:
        first, last = _longest_run(labels)
        begin = spans[first][0]
        text = text[begin : spans[last - 1][1]]
        spans = [(start - begin, end - begin) for start, end in spans[first:last]]
        row, labels = {**row, "id": f"{name}-cropped", "response": text}, labels[first:last]
    return [{**row, **sentences(text, spans), "sentence_labels": labels, "response_label": max(labels)}]


def _sentence_ends(tokens: Sequence[str]) -> list[int]:
    """Return the places behind the last token of each sentence.

    A sentence ends at a full stop, question or exclamation mark, with what closes behind it, unless the next token
    begins in lower case. The full stop of an abbreviation is no token of its own.
    """
    ends = []
    ended = False
    for number, (token, following) in enumerate(pairwise([*tokens, ""])):
        ended = token in _ENDS or (ended and token in _CLOSES)
        if number == len(tokens) - 1 or (ended and following not in _CLOSES | _ENDS and not following[:1].islower()):
            ends.append(number + 1)
            ended = False
    return ends


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    body = text[start:end]
    return start + len(body) - len(body.lstrip()), end - len(body) + len(body.rstrip())


def _longest_run(labels: Sequence[int]) -> tuple[int, int]:
    """Return [start, stop) of the longest run of zeros, the first of equally long ones."""
    best, place = (0, 0), 0
    for label, run in groupby(labels):
        size = len(list(run))
        if label == 0 and size > best[1] - best[0]:
            best = (place, place + size)
        place += size
    return best
