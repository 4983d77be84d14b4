"""QA-Feedback: answers to questions with passages, spans of errors marked by people (Wu et al., arXiv 2306.01693).

A record is a question: `question`, `passages` (each a title and sentences), `prediction 1` to `prediction 4`,
`feedback.errors` (of prediction 1: `start`, `end` and `error type`, in code points), and `preference`, six numbers for
the pairs 1-2, 1-3, 1-4, 2-3, 2-4 and 3-4: 1 or 2 for the better one, 0 for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from fractal_core.convert.offsets import Span, sentences, touched
from fractal_core.convert.reading import converted
from fractal_core.convert.records import Bad, OnBytes, Record, Row, field, texts
from fractal_core.text.boundaries import sentence_spans
from fractal_core.text.records import Fault, shown

_IRRELEVANT = ("Irrelevant",)
_FACTUAL = ("Wrong-Grounding", "Unverifiable")
_PREDICTIONS = (1, 2, 3, 4)


def read_relevance(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """A sentence of prediction 1 is relevant unless an irrelevant span touches it; the response has their share."""
    return converted(files, on_bytes, _relevance)


def read_factuality(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """A sentence of prediction 1 is wrong if a factual error touches it; the response is right if none is.

    Labellers marked no factual errors within text that they had marked for something else, so that other sentences with
    marks are unlabelled.
    """
    return converted(files, on_bytes, _factuality)


def read_preferences(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """The six pairs of predictions; sentences of prediction 1 have the labels of `read_relevance`."""
    return converted(files, on_bytes, _preferences)


class _Marked(NamedTuple):
    """A text of which people marked the errors, its sentences, and the marked ranges by type."""

    text: str
    spans: list[Span]
    errors: list[tuple[str, Span]]

    def touched(self, *kinds: str) -> list[bool]:
        """Tell of each sentence whether an error of these types touches it, or without types any error."""
        return touched(self.text, self.spans, [span for kind, span in self.errors if not kinds or kind in kinds])


def _relevance(record: Record) -> list[dict[str, Any]]:
    marked = _marked(record)
    labels = _relevant(marked)
    return [{**_response(record, marked), "sentence_labels": labels, "response_label": sum(labels) / len(labels)}]


def _relevant(marked: _Marked) -> list[int]:
    return [int(not irrelevant) for irrelevant in marked.touched(*_IRRELEVANT)]


def _factuality(record: Record) -> list[dict[str, Any]]:
    marked = _marked(record)
    wrong, any_error = marked.touched(*_FACTUAL), marked.touched()
    labels = [0 if false else None if error else 1 for false, error in zip(wrong, any_error, strict=True)]
    return [{**_response(record, marked), "sentence_labels": labels, "response_label": int(not any(wrong))}]


def _preferences(record: Record) -> list[dict[str, Any]]:
    given = field(record.values, "preference", list)
    pairs = list(combinations(_PREDICTIONS, 2))
    if len(given) != len(pairs) or any(type(choice) is not int or choice not in (0, 1, 2) for choice in given):
        raise Fault("preference is not six numbers, each 0, 1 or 2", f"preference = {shown(given)}")
    predictions = {number: _prediction(record, number) for number in _PREDICTIONS}
    gold: dict[str, Any] = {}
    if "feedback" in record.values:
        marked = _marked(record)
        gold = {"spans_a": [list(span) for span in marked.spans], "sentence_labels_a": _relevant(marked)}
    return [
        {
            "id": f"{record.name}-{a}v{b}", **_asked(record), "response_a": predictions[a],
            "response_b": predictions[b], "preference": choice, **(gold if a == 1 else {}),
        }
        for (a, b), choice in zip(pairs, given, strict=True)
    ]  # fmt: skip


def _response(record: Record, marked: _Marked) -> dict[str, Any]:
    return {"id": record.name, **_asked(record), "response": marked.text, **sentences(marked.text, marked.spans)}


def _asked(record: Record) -> dict[str, Any]:
    """Return the question and its passages: a line with the title, and the sentences in one."""
    context = []
    for number, passage in enumerate(field(record.values, "passages", list)):
        title, *said = texts(passage, f"passages[{number}]") or [""]
        context.append(f"{title}\n{' '.join(said)}".strip())
    return {"query": field(record.values, "question", str), "context": [text for text in context if text]}


def _prediction(record: Record, number: int) -> str:
    text: str = field(record.values, f"prediction {number}", str)
    if not text.strip():
        raise Fault("prediction has no text", f"prediction {number} = {shown(text)}")
    return text


def _marked(record: Record) -> _Marked:
    text = _prediction(record, 1)
    errors = []
    for number, error in enumerate(field(record.values, "feedback.errors", list)):
        where = f"feedback.errors[{number}] = {shown(error)}"
        try:
            kind, start, end = field(error, "error type", str), field(error, "start", int), field(error, "end", int)
        except Fault as fault:
            raise Fault(f"error span: {fault.reason}", where) from None
        if not 0 <= start < end <= len(text):
            raise Fault("error span lies outside prediction 1", f"{where}, which has {len(text)} characters")
        errors.append((kind, (start, end)))
    return _Marked(text, sentence_spans(text), errors)
