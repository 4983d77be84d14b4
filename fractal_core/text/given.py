"""Sentences that come with the input: their offsets and gold labels."""

from __future__ import annotations

import json

from fractal_core.text.labels import OUTSIDE, LabelRule, finite, number_of
from fractal_core.text.records import Fault, mistyped, shown

UNLABELLED = -1
OUTSIDE_SENTENCE = f"sentence {OUTSIDE}"


def given_spans(spans: object, sentences: object, response: str) -> list[list[int]] | None:
    """Return the offsets of the sentences given with a response; None if neither spans nor sentences are given.

    Spans win over sentences if there are both. Sentences are looked for in the response in order, each without the
    white space around it and after the one before.

    Args:
        spans: list of [start, end) in code points, or None.
        sentences: list of texts, or None.
        response: the text they belong to.

    Raises:
        Fault: if they are of the wrong form or do not fit the response.
    """
    if spans is not None and spans != []:
        return _checked_spans(spans, response)
    if sentences is not None and sentences != []:
        return _found_sentences(sentences, response)
    return None


def _checked_spans(spans: object, response: str) -> list[list[int]]:
    if not isinstance(spans, list):
        raise Fault("spans are not a list", mistyped(spans))
    checked: list[list[int]] = []
    previous = 0
    for index, span in enumerate(spans):
        if not (isinstance(span, list) and len(span) == 2 and all(type(offset) is int for offset in span)):
            raise _fault("span is not a pair of whole numbers", "span", index, span)
        start, end = span
        if start >= end:
            raise _fault("span ends before it begins", "span", index, span)
        if start < 0 or end > len(response):
            more = f", the response has {len(response)} characters"
            raise _fault("span lies outside the response", "span", index, span, more)
        if start < previous:
            more = f", the one before ends at {previous}"
            raise _fault("spans overlap or are out of order", "span", index, span, more)
        if response[start:end].isspace():
            raise _fault("span has no text", "span", index, span)
        checked.append([start, end])
        previous = end
    return checked


def _found_sentences(sentences: object, response: str) -> list[list[int]]:
    if not isinstance(sentences, list):
        raise Fault("sentences are not a list of text", mistyped(sentences))
    found: list[list[int]] = []
    cursor = 0
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise Fault("sentences are not a list of text", f"sentence {index} is {mistyped(sentence)}")
        text = sentence.strip()
        if not text:
            raise _fault("sentence has no text", "sentence", index, sentence)
        start = response.find(text, cursor)
        if start < 0:
            more = f", looked for from character {cursor}"
            raise _fault("sentence not found in the response", "sentence", index, sentence, more)
        cursor = start + len(text)
        found.append([start, cursor])
    return found


def given_gold(labels: object, spans: list[list[int]] | None, rule: LabelRule) -> list[float | None] | None:
    """Return the gold sentence labels, null for unlabelled (null or -1 in the input); None if there are none.

    Args:
        labels: list of numbers or None, as long as the spans; or None. Whole grades if the labels are ordinal, any
            numbers if they are real (then -1 is a label as well), else numbers in 0..1.
        spans: the sentences they belong to.
        rule: what labels may be.

    Raises:
        Fault: if they are of the wrong form, out of range, or not as many as the sentences.
    """
    if labels is None or labels == []:
        return None
    if not isinstance(labels, list):
        raise Fault("sentence labels are not a list", mistyped(labels))
    if spans is None:
        raise Fault("sentence labels without sentences", f"{len(labels)} labels, but neither spans nor sentences")
    if len(labels) != len(spans):
        raise Fault("not one label a sentence", f"{len(labels)} sentence labels for {len(spans)} sentences")
    return [_gold(label, index, rule) for index, label in enumerate(labels)]


def _gold(label: object, index: int, rule: LabelRule) -> float | None:
    if label is None:
        return None
    number = number_of(label)
    if number is None:
        raise Fault("sentence label is not a number", f"label {index} is {mistyped(label)}")
    if rule.kind == "real":
        value = finite(number)
        if value is None:
            raise _fault(OUTSIDE_SENTENCE, "label", index, label, ", not a finite number")
        return value
    if number == UNLABELLED:
        return None
    highest = rule.grades if rule.kind == "ordinal" else 1
    if not 0 <= number <= highest:
        more = f", not in 0..{highest}, null or -1"
        raise _fault(OUTSIDE_SENTENCE, "label", index, label, more)
    if rule.kind == "ordinal" and number != int(number):
        raise _fault("sentence label is not a grade", "label", index, label, ", not a whole number")
    return float(number)


def cell_list(value: object) -> object:
    """Return the list that a CSV cell holds as JSON, or the cell as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def given_prior(prior: object, spans: list[list[int]] | None) -> list[float | None] | None:
    """Return the user's belief in each sentence, null where there is none; one number alone is for all sentences.

    Args:
        prior: any finite number, or a list of them and None as long as the spans; or None.
        spans: the sentences they belong to; without them the list can hold one number only.

    Raises:
        Fault: if it is of the wrong form or not as long as the spans.
    """
    beliefs = prior if isinstance(prior, list) else [prior]
    if all(belief is None for belief in beliefs):
        return None
    checked = [_belief(belief, index) for index, belief in enumerate(beliefs)]
    if isinstance(prior, list) and len(prior) != len(spans or [None]):
        if spans is None:
            raise Fault("priors without sentences", f"{len(prior)} priors, but neither spans nor sentences")
        raise Fault("not one prior a sentence", f"{len(prior)} priors for {len(spans)} sentences")
    return checked


def _belief(belief: object, index: int) -> float | None:
    if belief is None:
        return None
    number = number_of(belief)
    if number is None:
        raise Fault("prior is not a finite number", f"prior {index} is {mistyped(belief)}")
    value = finite(number)
    if value is None:
        raise _fault("prior is not a finite number", "prior", index, belief)
    return value


def _fault(reason: str, what: str, index: int, value: object, more: str = "") -> Fault:
    return Fault(reason, f"{what} {index} is {shown(value)}{more}")
